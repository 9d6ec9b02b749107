package model

import (
	"slices"

	"qtool/internal/nn"
)

var bailingmoe2 = architecture{
	name:    "bailingmoe2",
	models:  "Ling 2, Ring 2",
	pairing: nn.RopeNeox,
	configure: func(k *keys, c *Config) {
		k.nextTokens(c)
		k.sharedExperts(c)
		if width := k.int("expert_shared_feed_forward_length", 0); width > 0 { // of each of them
			c.SharedWidth = width * k.int("expert_shared_count", 0)
		}
		k.needInt("expert_gating_func")
		k.storedRouting(c, 0, nn.GateSoftmax)
	},
	norms:      preNorms,
	qkNorm:     headQKNorm,
	experts:    true,
	choiceBias: true,
	head:       ownHead,
	targets:    slices.Concat(endTargets, attentionTargets, ffnTargets, expertTargets, sharedTargets),
}
