package convert

import "qtool/internal/arch"

// gptoss has the rows of gate and up of an expert alternately.
var gptoss = family{
	arch:  "gpt-oss",
	names: []string{"GptOssForCausalLM"},
	check: func(c *config) {
		if !c.has("layer_types") {
			return
		}
		for i, kind := range c.strings("layer_types") {
			if windowed := kind == "sliding_attention"; windowed != (i%2 == 0) {
				c.refuse("the gpt-oss architecture has a window in every other layer, config.json says that layer %d is %q (layer_types)", i, kind)
			}
		}
	},
	metadata: func(w *metadataWriter, c *config, d *dims) {
		w.uint(arch.KeyAttentionSlidingWindow, c.required("sliding_window"))
		w.uint(arch.KeyExpertFeedForwardLength, d.ff)
	},
	stacked:    true,
	addExperts: addGPTOSSExperts,
}

// addGPTOSSExperts takes matrices in MXFP4, as published, or in whole numbers with rows and
// columns exchanged, as after training.
func addGPTOSSExperts(b *block, d *dims) {
	b.linear("ffn_gate_inp", "mlp.router", d.embed, d.experts, requiredBias)
	const both, down = fusedGateUp, fusedDown
	if !d.packed {
		turned := *d
		turned.columns = true
		b.fusedExperts(&turned, d.ff, cut{groupRows: 2 * d.ff, step: 2}, 1)
	}
	for first, name := range []string{"ffn_gate_exps", "ffn_up_exps"} {
		if d.packed {
			b.packed(name, both, d.embed, d.ff, d.experts, cut{groupRows: 2 * d.ff, first: first, step: 2})
		}
		b.add(&recipe{
			name: b.name + name + ".bias", shape: []int{d.ff, d.experts},
			sources: []string{b.source + both + "_bias"}, sourceShape: []int{d.experts, 2 * d.ff}, everyOther: first + 1,
		})
	}
	if d.packed {
		b.packed("ffn_down_exps", down, d.ff, d.embed, d.experts, cut{groupRows: d.embed, step: 1})
	}
	b.add(&recipe{name: b.name + "ffn_down_exps.bias", shape: []int{d.embed, d.experts}, sources: []string{b.source + down + "_bias"}})
}
