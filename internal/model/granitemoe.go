package model

import (
	"slices"

	"qtool/internal/nn"
)

var granitemoe = architecture{
	name:    "granitemoe",
	models:  "Granite 3 MoE",
	pairing: nn.RopeNorm,
	configure: func(k *keys, c *Config) {
		configureGranite(k, c)
		k.needInt("expert_count")
		c.SharedWidth = k.int("expert_shared_feed_forward_length", 0)
		k.routing(c, nn.RouterSpec{Normalize: true})
	},
	norms:       preNorms,
	experts:     true,
	ropeFactors: true,
	biases:      []string{"attn_output"},
	targets:     slices.Concat(endTargets, attentionTargets, expertTargets, sharedTargets),
}
