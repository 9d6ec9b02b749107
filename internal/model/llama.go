package model

import (
	"slices"

	"qtool/internal/nn"
)

var llama = architecture{
	name:    "llama",
	models:  "Llama 1 to 3, Mistral, Mixtral, TinyLlama, SmolLM2",
	pairing: nn.RopeNorm,
	configure: func(k *keys, c *Config) {
		if c.Rope.Dims != c.HeadDim {
			refuseAs(ErrInvalid, "llama.rope.dimension_count is %d, but heads have %d dimensions", c.Rope.Dims, c.HeadDim)
		}
		k.routing(c, nn.RouterSpec{Normalize: true})
	},
	norms:       preNorms,
	experts:     true,
	ropeFactors: true,
	biases:      []string{"attn_output", "ffn_gate", "ffn_up", "ffn_down"},
	targets:     slices.Concat(endTargets, attentionTargets, ffnTargets, expertTargets),
}
