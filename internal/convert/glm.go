package convert

// glm4 rotates neighbours in its folder as well: nothing is reordered.
var glm4 = family{
	arch:     "glm4",
	names:    []string{"Glm4ForCausalLM"},
	metadata: rotation,
	norms: []normName{
		{"attn_norm", "input_layernorm"}, {"post_attention_norm", "post_self_attn_layernorm"},
		{"ffn_norm", "post_attention_layernorm"}, {"post_ffw_norm", "post_mlp_layernorm"},
	},
	fusedGateUp: "mlp.gate_up_proj",
	rotated:     0.5,
}

func rotation(w *metadataWriter, _ *config, d *dims) { w.uint("rope.dimension_count", d.rotated) }
