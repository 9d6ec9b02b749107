package convert

// olmo3Period is the number of layers of which the last has no window.
const olmo3Period = 4

// olmo2 norms the branches behind.
var olmo2 = family{
	arch:     "olmo2",
	names:    []string{"Olmo2ForCausalLM", "Olmo3ForCausalLM"},
	metadata: olmo2Metadata,
	ownHead:  true,
	norms:    []normName{{"post_attention_norm", "post_attention_layernorm"}, {"post_ffw_norm", "post_feedforward_layernorm"}},
	qkNorm:   wideQKNorm,
	check: func(c *config) {
		if !c.has("layer_types") {
			return
		}
		for i, kind := range c.strings("layer_types") {
			if windowed := kind == "sliding_attention"; windowed && !c.has("sliding_window") || c.has("sliding_window") && windowed == ((i+1)%olmo3Period == 0) {
				c.refuse("a window in all but every %dth layer is handled, config.json says that layer %d is %q (layer_types)", olmo3Period, i, kind)
			}
		}
	},
}

// olmo2Metadata adds the window of OLMo 3, which all but every fourth layer have.
func olmo2Metadata(w *metadataWriter, c *config, d *dims) {
	if !c.has("sliding_window") {
		return
	}
	w.uint("attention.sliding_window", c.required("sliding_window"))
	windowed := make([]bool, d.blocks)
	for i := range windowed {
		windowed[i] = (i+1)%olmo3Period != 0
	}
	w.md.Set(w.arch+".attention.sliding_window_pattern", windowed)
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
	ownHead: true,
	norms:   preNorms,
	qkNorm:  wideQKNorm,
	experts: &expertLayout{},
}
