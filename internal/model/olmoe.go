package model

import (
	"qtool/internal/arch"
	"qtool/internal/nn"
)

func configureOLMoE(k *keys, c *Config) {
	k.needInt(arch.KeyExpertCount)
	k.routing(c, nn.RouterSpec{})
}
