package convert

import "qtool/internal/arch"

var qwen2moe = family{
	arch:  "qwen2moe",
	names: []string{"Qwen2MoeForCausalLM"},
	check: func(c *config) {
		checkQwenExperts(c)
		checkNormalized(c, false)
	},
	metadata: func(w *metadataWriter, _ *config, d *dims) {
		w.uint(arch.KeyExpertFeedForwardLength, d.expertFF)
		w.uint(arch.KeyExpertSharedFeedForwardLength, d.sharedFF)
	},
	experts: &expertLayout{shared: "mlp.shared_expert.", sharedGate: "mlp.shared_expert_gate"},
}

var qwen3moe = family{
	arch:  "qwen3moe",
	names: []string{"Qwen3MoeForCausalLM"},
	check: func(c *config) {
		checkQwenExperts(c)
		checkNormalized(c, true)
	},
	metadata: func(w *metadataWriter, _ *config, d *dims) { w.uint(arch.KeyExpertFeedForwardLength, d.expertFF) },
	experts:  &expertLayout{},
}

// checkQwenExperts checks that every layer has experts.
func checkQwenExperts(c *config) {
	checkWindow(c)
	dense, _ := c.fields["mlp_only_layers"].([]any)
	if c.integer(1, "decoder_sparse_step") != 1 || len(dense) > 0 {
		c.refuse("layers without experts (decoder_sparse_step, mlp_only_layers) are not handled, the architecture has them in all")
	}
}
