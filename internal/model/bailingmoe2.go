package model

import (
	"qtool/internal/arch"
	"qtool/internal/nn"
)

func configureBailingMoE2(k *keys, c *Config) {
	k.nextTokens(c)
	k.sharedExperts(c)
	if width := k.int(arch.KeyExpertSharedFeedForwardLength, 0); width > 0 { // of each of them
		c.SharedWidth = width * k.int(arch.KeyExpertSharedCount, 0)
	}
	k.needInt(arch.KeyExpertGatingFunc)
	k.storedRouting(c, 0, nn.GateSoftmax)
}
