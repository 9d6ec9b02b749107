package convert

import (
	"slices"

	"qtool/internal/arch"
)

var deepseek2 = family{
	arch:  "deepseek2",
	names: []string{"DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM"},
	check: func(c *config) {
		if c.integer(1, "moe_layer_freq") != 1 {
			c.refuse("layers without experts between those with them (moe_layer_freq) are not handled")
		}
		if c.boolean("attention_bias", false) {
			c.refuse("the deepseek2 architecture has no attention_bias")
		}
	},
	metadata: func(w *metadataWriter, c *config, d *dims) {
		w.uint(arch.KeyVocabSize, d.vocab)
		latentKeys(w, c, d)
		if d.experts == 0 {
			d.leadingDense = d.blocks
		}
		routing(w, c, d)
		if d.experts > 0 {
			gating(w, c, usualGating(c))
		}
		if m := d.rope.magnitude; m != nil { // GGUF has a tenth of it
			w.float(arch.KeyRopeScalingYarnLogMultiplier, 0.1*(*m))
		}
	},
	yarnMultiplier: true,
	experts: &expertLayout{
		shared: "mlp.shared_experts.", choiceBias: "mlp.gate.e_score_correction_bias", choiceMayGo: true,
	},
}

// usualGating is the gating of models whose config.json does not say it.
func usualGating(c *config) string {
	if slices.Contains(c.strings("architectures"), "DeepseekV2ForCausalLM") {
		return "softmax"
	}
	return "sigmoid"
}

// glm4moeLite is DeepSeek-V3 with the vocabulary of GLM-4.5.
var glm4moeLite = func() family {
	f := deepseek2
	f.names, f.words = []string{"Glm4MoeLiteForCausalLM"}, glm4moe.words
	return f
}()
