package convert

import (
	"encoding/json"
	"slices"

	"qtool/internal/arch"
)

// gemmaNorms are before and after attention and feed-forward.
var gemmaNorms = []string{"input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"}

// The norms of Gemma multiply by 1 + weight; those of GGUF by the weight.
var gemma2 = family{
	arch:  "gemma2",
	names: []string{"Gemma2ForCausalLM"},
	defaults: map[string]any{
		"head_dim": json.Number("256"), "sliding_window": json.Number("4096"), "tie_word_embeddings": true,
		"attn_logit_softcapping": json.Number("50"), "final_logit_softcapping": json.Number("30"),
	},
	check: func(c *config) {
		checkGemmaScale(c, arch.Gemma2Layers27B)
	},
	words: gemmaWords,
	metadata: func(w *metadataWriter, c *config, d *dims) {
		w.float(arch.KeyAttnLogitSoftcapping, c.float(0, "attn_logit_softcapping"))
		w.float(arch.KeyFinalLogitSoftcapping, c.float(0, "final_logit_softcapping"))
		w.uint(arch.KeyAttentionSlidingWindow, c.required("sliding_window"))
	},
	norms:     gemmaNorms,
	normShift: 1,
}

var gemma3 = family{
	arch:  "gemma3",
	names: []string{"Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"},
	defaults: map[string]any{
		"head_dim": json.Number("256"), "num_attention_heads": json.Number("8"), "num_key_value_heads": json.Number("4"),
		"max_position_embeddings": json.Number("131072"), "vocab_size": json.Number("262208"),
		"rope_theta": json.Number("1e6"), "sliding_window": json.Number("4096"), "tie_word_embeddings": true,
	},
	check: func(c *config) {
		checkGemmaScale(c, arch.Gemma3Layers27B)
		checkGemma3Layers(c)
		if c.has("attn_logit_softcapping") {
			c.refuse("the gemma3 architecture does not bound the scores of attention (attn_logit_softcapping)")
		}
	},
	words: gemmaWords,
	metadata: func(w *metadataWriter, c *config, d *dims) {
		if gemma3Period(c) > 1 {
			w.uint(arch.KeyAttentionSlidingWindow, c.required("sliding_window"))
		}
		w.float(arch.KeyRopeFreqBaseSWA, windowBase(c, 10000))
		if c.has("final_logit_softcapping") {
			w.float(arch.KeyFinalLogitSoftcapping, c.float(0, "final_logit_softcapping"))
		}
	},
	norms:     gemmaNorms,
	normShift: 1,
}

// checkGemmaScale checks the divisor of scores, which GGUF does not store: it is
// the size of a head, in the model of 27B the embedding shared out to the heads.
func checkGemmaScale(c *config, layers27B int) {
	want := c.integer(1, "head_dim")
	if c.integer(1, "num_hidden_layers") == layers27B {
		want = c.required("hidden_size") / c.required("num_attention_heads")
	}
	if found := c.float(float64(want), "query_pre_attn_scalar"); found != float64(want) {
		c.refuse("the architecture divides scores by the root of %d, config.json by that of %v (query_pre_attn_scalar)", want, found)
	}
}

// gemma3Period is the number of layers of which the last has no window: 1 if none has one.
func gemma3Period(c *config) int {
	usual := arch.Find("gemma3").Period
	period := c.integer(usual, "sliding_window_pattern")
	if c.has("layer_types") && !slices.Contains(c.strings("layer_types"), "sliding_attention") {
		period = 1
	}
	if period != usual && period != 1 {
		c.refuse("the gemma3 architecture has a window in all but every %dth layer or in none, config.json in all but every %dth (sliding_window_pattern)", usual, period)
	}
	return period
}

// checkGemma3Layers checks that the layers have a window where the architecture has.
func checkGemma3Layers(c *config) {
	period := gemma3Period(c)
	if !c.has("layer_types") {
		return
	}
	for i, kind := range c.strings("layer_types") {
		if windowed := kind == "sliding_attention"; windowed == ((i+1)%period == 0) {
			c.refuse("the gemma3 architecture has a window in all but every %dth layer, config.json says that layer %d is %q (layer_types)", period, i, kind)
		}
	}
}
