package model

import (
	"slices"

	"qtool/internal/nn"
)

var glm4moe = architecture{
	name:    "glm4moe",
	models:  "GLM-4.5, GLM-4.5-Air, GLM-4.6, Solar-Open",
	pairing: nn.RopeNeox,
	configure: func(k *keys, c *Config) {
		refuseImages(k)
		k.nextTokens(c)
		k.sharedExperts(c)
		k.storedRouting(c, 0, nn.GateSigmoid)
	},
	norms:      preNormsRenamed,
	qkNorm:     optionalQKNorm,
	experts:    true,
	choiceBias: true,
	targets: slices.Concat(endTargets, []string{"attn_q", "attn_k", "attn_v", "attn_qkv", "ffn_gate", "ffn_up"},
		expertTargets, []string{"ffn_gate_shexp", "ffn_up_shexp"}),
	refused: refuse(glmCrash, "attn_output", "ffn_down", "ffn_down_shexp"),
}
