package convert

import "qtool/internal/arch"

// expertLayout says where the experts of a family are, whose weights are one
// tensor each: mlp.experts.N.gate_proj and so on.
type expertLayout struct {
	shared       string // prefix of the shared expert; "" if there is none
	sharedGate   string // the linear layer that weighs it; "" if it counts in full
	choiceBias   string // takes part in the choice; "" if there is none
	choiceMayGo  bool   // which some models do not have
	routerSource string // "mlp.gate" if empty
}

// expertFFN adds the experts of a layer, and the one that all tokens share.
func (f *family) expertFFN(b *block, d *dims) {
	e := f.experts
	router := e.routerSource
	if router == "" {
		router = "mlp.gate"
	}
	b.linear("ffn_gate_inp", router, d.embed, d.experts+d.identity, noBias)
	if e.choiceBias != "" {
		b.add(&recipe{
			name: b.name + "exp_probs_b.bias", shape: []int{d.experts + d.identity}, sources: []string{b.from(e.choiceBias)}, optional: e.choiceMayGo,
		})
	}
	const expert = "mlp.experts.%d."
	if d.fused {
		b.fusedExperts(d, d.expertFF, cut{groupRows: 2 * d.expertFF, step: 1}, d.expertFF)
		b.sharedExpert(e, d)
		return
	}
	b.padded(b.experts("ffn_gate_exps", expert+"gate_proj", d.experts, d.embed, d.expertFF), d)
	b.padded(b.experts("ffn_down_exps", expert+"down_proj", d.experts, d.expertFF, d.embed), d)
	b.padded(b.experts("ffn_up_exps", expert+"up_proj", d.experts, d.embed, d.expertFF), d)
	b.sharedExpert(e, d)
}

// sharedExpert adds what all tokens go through.
func (b *block) sharedExpert(e *expertLayout, d *dims) {
	if e.shared == "" || d.sharedFF == 0 {
		return
	}
	b.linear("ffn_gate_shexp", e.shared+"gate_proj", d.embed, d.sharedFF, noBias)
	b.linear("ffn_down_shexp", e.shared+"down_proj", d.sharedFF, d.embed, noBias)
	b.linear("ffn_up_shexp", e.shared+"up_proj", d.embed, d.sharedFF, noBias)
	if e.sharedGate != "" {
		b.linear("ffn_gate_inp_shexp", e.sharedGate, d.embed, 1, noBias)
	}
}

// padded adds an expert of zeros, which stands for all that compute nothing.
func (b *block) padded(x *recipe, d *dims) {
	if d.identity > 0 {
		x.shape[2]++
		x.zeros = 1
	}
}

// readExperts reads the sizes of experts and which layers have none.
func (d *dims) readExperts(c *config) {
	d.expertFF = c.integer(d.ff, "moe_intermediate_size", "expert_ffn_hidden_size")
	d.sharedCount = c.count("n_shared_experts", "num_shared_experts")
	d.sharedFF = d.sharedCount * d.expertFF
	if widths := []string{"shared_expert_intermediate_size", "shared_intermediate_size", "moe_shared_expert_intermediate_size"}; c.has(widths...) {
		d.sharedFF = c.count(widths...)
	}
	d.identity = c.count("zero_expert_num")
	d.leadingDense = c.count("first_k_dense_replace")
}

// routing adds the keys of families that store how experts are chosen.
func routing(w *metadataWriter, c *config, d *dims) {
	w.uint(arch.KeyLeadingDenseBlockCount, d.leadingDense)
	w.uint(arch.KeyExpertFeedForwardLength, d.expertFF)
	w.uint(arch.KeyExpertSharedCount, d.sharedCount)
	if c.has("routed_scaling_factor") {
		w.float(arch.KeyExpertWeightsScale, c.float(1, "routed_scaling_factor"))
	}
	if c.boolean("norm_topk_prob", false) {
		w.md.Set(w.arch+"."+arch.KeyExpertWeightsNorm, true)
	}
	if c.has("n_group") {
		groups, used := c.required("n_group"), c.required("topk_group")
		if used >= groups { // there is no choice, which llama.cpp calls one group
			groups, used = 1, 1
		}
		w.uint(arch.KeyExpertGroupCount, groups)
		w.uint(arch.KeyExpertGroupUsedCount, used)
	}
}

// normalized adds whether the weights of the chosen experts are normed where it is said
// in any case.
func normalized(w *metadataWriter, c *config) {
	if c.has("norm_topk_prob") {
		w.md.Set(w.arch+"."+arch.KeyExpertWeightsNorm, c.boolean("norm_topk_prob", false))
	}
}

// gating adds the kind of gating that config.json names, def if it names none.
func gating(w *metadataWriter, c *config, def string) {
	switch kind := c.str("scoring_func", c.str("score_function", def)); kind {
	case "softmax":
		w.uint(arch.KeyExpertGatingFunc, arch.GatingSoftmax)
	case "sigmoid":
		w.uint(arch.KeyExpertGatingFunc, arch.GatingSigmoid)
	default:
		c.refuse("experts that are chosen by %q are not handled; by softmax and sigmoid are", kind)
	}
}

// checkNormalized refuses weights of experts that are normed otherwise than the architecture does.
func checkNormalized(c *config, want bool) {
	if found := c.boolean("norm_topk_prob", false); found != want {
		c.refuse("the architecture has norm_topk_prob %t, config.json has %t", want, found)
	}
}
