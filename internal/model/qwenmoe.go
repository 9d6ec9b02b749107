package model

import (
	"qtool/internal/arch"
	"qtool/internal/nn"
)

func configureQwen2MoE(k *keys, c *Config) {
	k.qwenExperts(c)
	c.SharedWidth = k.int(arch.KeyExpertSharedFeedForwardLength, 0)
	if c.SharedWidth == 0 {
		c.SharedWidth = c.Layers[0].FeedForwardWidth
	}
	k.routing(c, nn.RouterSpec{})
}

func configureQwen3MoE(k *keys, c *Config) {
	k.qwenExperts(c)
	k.routing(c, nn.RouterSpec{Normalize: true})
}

// qwenExperts reads the width of an expert, which shares out that of a dense block
// where the file does not say.
func (k *keys) qwenExperts(c *Config) {
	k.needInt(arch.KeyExpertCount)
	c.ExpertWidth = k.int(arch.KeyExpertFeedForwardLength, 0)
	if c.ExpertWidth == 0 {
		c.ExpertWidth = c.Layers[0].FeedForwardWidth / max(c.ExpertsUsed, 1)
	}
}
