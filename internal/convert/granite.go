package convert

var granite = family{
	arch:        "granite",
	names:       []string{"GraniteForCausalLM"},
	metadata:    graniteMetadata,
	norms:       preNorms,
	outputBias:  "attention_bias",
	ffnBias:     "mlp_bias",
	rotaryPairs: true,
	rope:        ropeLlama3,
}

// graniteMetadata adds the four multipliers.
func graniteMetadata(w *metadataWriter, c *config, d *dims) {
	vocabAndRotation(w, c, d)
	for _, m := range []struct{ field, key string }{
		{"attention_multiplier", "attention.scale"}, {"embedding_multiplier", "embedding_scale"}, {"residual_multiplier", "residual_scale"},
	} {
		if c.has(m.field) {
			w.float(m.key, c.float(0, m.field))
		}
	}
	w.float("logit_scale", c.float(1, "logits_scaling"))
}
