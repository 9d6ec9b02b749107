package convert

import "qtool/internal/arch"

var granite = family{
	arch:        "granite",
	names:       []string{"GraniteForCausalLM"},
	words:       llamaWords,
	metadata:    graniteMetadata,
	rotaryPairs: true,
	rope:        ropeLlama3,
}

// graniteMetadata adds the four multipliers.
func graniteMetadata(w *metadataWriter, c *config, d *dims) {
	vocabAndRotation(w, c, d)
	for _, m := range []struct{ field, key string }{
		{"attention_multiplier", arch.KeyAttentionScale}, {"embedding_multiplier", arch.KeyEmbeddingScale}, {"residual_multiplier", arch.KeyResidualScale},
	} {
		if c.has(m.field) {
			w.float(m.key, c.float(0, m.field))
		}
	}
	w.float(arch.KeyLogitScale, c.float(1, "logits_scaling"))
}

// granitemoe has all experts in one tensor, the rows of each one's gate before those of its up.
var granitemoe = family{
	arch:  "granitemoe",
	names: []string{"GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM"},
	check: func(c *config) {
		if !c.has("num_local_experts") {
			c.refuse("a model without experts (num_local_experts) is not handled under this architecture")
		}
	},
	words: llamaWords,
	metadata: func(w *metadataWriter, c *config, d *dims) {
		graniteMetadata(w, c, d)
		if d.sharedFF > 0 {
			w.uint(arch.KeyExpertSharedFeedForwardLength, d.sharedFF)
		}
	},
	rotaryPairs: true,
	rope:        ropeLlama3,
	stacked:     true,
	addExperts:  addGraniteExperts,
}

func addGraniteExperts(b *block, d *dims) {
	b.linear("ffn_gate_inp", "block_sparse_moe.router.layer", d.embed, d.experts, noBias)
	gateOrUp := func(name, source string, first, width, experts int) {
		x := &recipe{
			name: b.name + name + ".weight", shape: []int{d.embed, width}, sources: []string{b.source + source + ".weight"},
			sourceShape: []int{2 * width, d.embed}, cut: cut{groupRows: 2 * width, first: first, step: 1},
		}
		if experts > 0 {
			x.shape, x.sourceShape = append(x.shape, experts), append([]int{experts}, x.sourceShape...)
		}
		b.add(x)
	}
	gateOrUp("ffn_gate_exps", "block_sparse_moe.input_linear", 0, d.ff, d.experts)
	b.add(&recipe{
		name: b.name + "ffn_down_exps.weight", shape: []int{d.ff, d.embed, d.experts},
		sources: []string{b.source + "block_sparse_moe.output_linear.weight"}, sourceShape: []int{d.experts, d.embed, d.ff},
		cut: cut{groupRows: d.embed, step: 1},
	})
	gateOrUp("ffn_up_exps", "block_sparse_moe.input_linear", d.ff, d.ff, d.experts)
	if d.sharedFF > 0 {
		gateOrUp("ffn_gate_shexp", "shared_mlp.input_linear", 0, d.sharedFF, 0)
		b.linear("ffn_down_shexp", "shared_mlp.output_linear", d.sharedFF, d.embed, noBias)
		gateOrUp("ffn_up_shexp", "shared_mlp.input_linear", d.sharedFF, d.sharedFF, 0)
	}
}
