package convert

import "qtool/internal/arch"

// olmo2 norms what its branches give, not what they take.
var olmo2 = family{
	arch:     "olmo2",
	names:    []string{"Olmo2ForCausalLM", "Olmo3ForCausalLM"},
	metadata: olmo2Metadata,
	norms:    []string{"post_attention_layernorm", "post_feedforward_layernorm"},
	check: func(c *config) {
		if !c.has("layer_types") {
			return
		}
		for i, kind := range c.strings("layer_types") {
			if windowed := kind == "sliding_attention"; windowed && !c.has("sliding_window") || c.has("sliding_window") && windowed == ((i+1)%arch.OLMo3Period == 0) {
				c.refuse("a window in all but every %dth layer is handled, config.json says that layer %d is %q (layer_types)", arch.OLMo3Period, i, kind)
			}
		}
	},
}

// olmo2Metadata adds the window of OLMo 3, which all but every fourth layer have.
func olmo2Metadata(w *metadataWriter, c *config, d *dims) {
	if !c.has("sliding_window") {
		return
	}
	w.uint(arch.KeyAttentionSlidingWindow, c.required("sliding_window"))
	windowed := make([]bool, d.blocks)
	for i := range windowed {
		windowed[i] = (i+1)%arch.OLMo3Period != 0
	}
	w.md.Set(w.arch+"."+arch.KeyAttentionSlidingWindowPattern, windowed)
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
	experts: &expertLayout{},
}
