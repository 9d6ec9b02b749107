package model

import (
	"slices"

	"qtool/internal/nn"
)

var qwen2moe = architecture{
	name:    "qwen2moe",
	models:  "Qwen1.5-MoE, Qwen2-57B-A14B",
	pairing: nn.RopeNeox,
	configure: func(k *keys, c *Config) {
		k.qwenExperts(c)
		c.SharedWidth = k.int("expert_shared_feed_forward_length", 0)
		if c.SharedWidth == 0 {
			c.SharedWidth = c.FeedForward[0]
		}
		k.routing(c, nn.RouterSpec{})
	},
	norms:      preNorms,
	experts:    true,
	sharedGate: true,
	head:       ownHead,
	targets:    slices.Concat(endTargets, attentionTargets, expertTargets, sharedTargets, []string{"ffn_gate_inp_shexp"}),
}

var qwen3moe = architecture{
	name:    "qwen3moe",
	models:  "Qwen3-30B-A3B, Qwen3-235B-A22B",
	pairing: nn.RopeNeox,
	configure: func(k *keys, c *Config) {
		k.qwenExperts(c)
		k.routing(c, nn.RouterSpec{Normalize: true})
	},
	norms:   preNorms,
	qkNorm:  headQKNorm,
	experts: true,
	targets: slices.Concat(endTargets, attentionTargets, expertTargets),
}

// qwenExperts reads the width of an expert, which shares out that of a dense block
// where the file does not say.
func (k *keys) qwenExperts(c *Config) {
	k.needInt("expert_count")
	c.ExpertWidth = k.int("expert_feed_forward_length", 0)
	if c.ExpertWidth == 0 {
		c.ExpertWidth = c.FeedForward[0] / max(c.ExpertsUsed, 1)
	}
}
