package model

import (
	"fmt"

	"qtool/internal/nn"
)

// llama is Llama 1 to 3, Mistral, Mixtral, TinyLlama and SmolLM2.
var llama = architecture{
	name:    "llama",
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
	biases: []string{"attn_q", "attn_k", "attn_v", "attn_qkv", "attn_output", "ffn_gate", "ffn_up", "ffn_down"},
	targets: []string{
		"token_embd", "output",
		"attn_q", "attn_k", "attn_v", "attn_qkv", "attn_output",
		"ffn_gate", "ffn_up", "ffn_down",
		"ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps",
	},
}
