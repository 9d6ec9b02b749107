package model

import (
	"qtool/internal/arch"
	"qtool/internal/nn"
)

func configureGraniteMoE(k *keys, c *Config) {
	configureGranite(k, c)
	k.needInt(arch.KeyExpertCount)
	c.SharedWidth = k.int(arch.KeyExpertSharedFeedForwardLength, 0)
	k.routing(c, nn.RouterSpec{Normalize: true})
}
