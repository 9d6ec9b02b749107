package convert

import "qtool/internal/arch"

// glm4 rotates neighbours in its folder as well: nothing is reordered.
var glm4 = family{
	arch:     "glm4",
	names:    []string{"Glm4ForCausalLM"},
	words:    glmWords("<|endoftext|>", ""),
	metadata: rotation,
	norms:    []string{"input_layernorm", "post_self_attn_layernorm", "post_attention_layernorm", "post_mlp_layernorm"},
	rotated:  0.5,
}

func rotation(w *metadataWriter, _ *config, d *dims) { w.uint(arch.KeyRopeDimensionCount, d.rotated) }

var glm4moe = family{
	arch:  "glm4moe",
	names: []string{"Glm4MoeForCausalLM"},
	words: glmWords("[gMASK]", "<|observation|>"),
	metadata: func(w *metadataWriter, c *config, d *dims) {
		rotation(w, c, d)
		routing(w, c, d)
		normalized(w, c)
		gating(w, c, "sigmoid")
	},
	rotated: 0.5,
	experts: &expertLayout{shared: "mlp.shared_experts.", choiceBias: "mlp.gate.e_score_correction_bias"},
}
