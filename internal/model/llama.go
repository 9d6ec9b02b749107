package model

import (
	"fmt"
	"slices"

	"qtool/internal/nn"
)

var llama = architecture{
	name:    "llama",
	models:  "Llama 1 to 3, Mistral, Mixtral, TinyLlama, SmolLM2",
	pairing: nn.RopeNorm,
	configure: func(k *keys, c *Config) {
		if c.Rope.Dims != c.HeadDim {
			k.fail(fmt.Errorf("%w: llama.rope.dimension_count is %d, but heads have %d dimensions", ErrInvalid, c.Rope.Dims, c.HeadDim))
		}
		if groups := k.int("expert_group_count", 0); groups > 1 {
			k.fail(fmt.Errorf("%w: llama with %d expert groups", ErrUnsupported, groups))
		}
		c.Router = nn.RouterSpec{Used: c.ExpertsUsed, Normalize: true}
	},
	norms:       preNorms,
	experts:     true,
	ropeFactors: true,
	biases:      []string{"attn_output", "ffn_gate", "ffn_up", "ffn_down"},
	targets: slices.Concat(endTargets, attentionTargets, ffnTargets,
		[]string{"ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"}),
}
