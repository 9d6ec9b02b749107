package model

import (
	"slices"

	"qtool/internal/nn"
)

var olmoe = architecture{
	name:    "olmoe",
	models:  "OLMoE",
	pairing: nn.RopeNeox,
	configure: func(k *keys, c *Config) {
		k.needInt("expert_count")
		k.routing(c, nn.RouterSpec{})
	},
	norms:   preNorms,
	qkNorm:  wideQKNorm,
	experts: true,
	head:    ownHead,
	targets: slices.Concat(endTargets, []string{"attn_q", "attn_k", "attn_v", "attn_output"}, expertTargets),
}
