package convert

import "qtool/internal/arch"

var bailingmoe2 = family{
	arch:  "bailingmoe2",
	names: []string{"BailingMoeV2ForCausalLM"},
	check: func(c *config) {
		if c.boolean("use_bias", false) || c.boolean("use_qkv_bias", false) {
			c.refuse("the bailingmoe2 architecture has no use_bias and no use_qkv_bias")
		}
		if !c.boolean("use_qk_norm", true) {
			c.refuse("the bailingmoe2 architecture norms queries and keys, config.json does not (use_qk_norm)")
		}
	},
	metadata: func(w *metadataWriter, c *config, d *dims) {
		vocabAndRotation(w, c, d)
		routing(w, c, d)
		normalized(w, c)
		if d.sharedCount > 0 { // of each of them
			w.uint(arch.KeyExpertSharedFeedForwardLength, d.sharedFF/d.sharedCount)
		}
		gating(w, c, "sigmoid")
	},
	sources: map[string]string{
		"token_embd": "model.word_embeddings", "attn_qkv": "attention.query_key_value", "attn_output": "attention.dense",
		"attn_q_norm": "attention.query_layernorm", "attn_k_norm": "attention.key_layernorm",
	},
	rotated: 0.5,
	experts: &expertLayout{shared: "mlp.shared_experts.", choiceBias: "mlp.gate.expert_bias"},
}
