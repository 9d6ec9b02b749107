package convert

// olmo2 norms the branches behind.
var olmo2 = family{
	arch:     "olmo2",
	names:    []string{"Olmo2ForCausalLM", "Olmo3ForCausalLM"},
	metadata: olmo2Metadata,
	norms:    []normName{{"post_attention_norm", "post_attention_layernorm"}, {"post_ffw_norm", "post_feedforward_layernorm"}},
	qkNorm:   wideQKNorm,
	check: func(c *config) {
		if !c.has("layer_types") {
			return
		}
		const period = 4
		for i, kind := range c.strings("layer_types") {
			if windowed := kind == "sliding_attention"; windowed && !c.has("sliding_window") || c.has("sliding_window") && windowed == ((i+1)%period == 0) {
				c.refuse("a window in all but every %dth layer is handled, config.json says that layer %d is %s (layer_types)", period, i, kind)
			}
		}
	},
}

// olmo2Metadata adds the window of OLMo 3, which all but every fourth layer have.
func olmo2Metadata(w *metadataWriter, c *config, _ *dims) {
	if !c.has("sliding_window") {
		return
	}
	w.uint("attention.sliding_window", c.required("sliding_window"))
}

var olmoe = family{
	arch:  "olmoe",
	names: []string{"OlmoeForCausalLM"},
	check: func(c *config) {
		checkNormalized(c, false)
		if c.has("clip_qkv") {
			c.refuse("clip_qkv is not handled, the olmoe architecture does not clip")
		}
	},
	norms:   preNorms,
	qkNorm:  wideQKNorm,
	experts: &expertLayout{},
}
