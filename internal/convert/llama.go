package convert

// llama is Llama 1 to 3, Mistral and Mixtral. The sliding window of the first
// Mistral has no place in the architecture, which attends to the whole context.
var llama = family{
	arch:     "llama",
	check:    checkLlama,
	metadata: llamaMetadata,
	recipes:  llamaRecipes,
}

func checkLlama(c *config) error {
	if act := c.str("hidden_act", "silu"); c.err == nil && act != "silu" && act != "swish" {
		return refuse("the activation %q is not handled, the llama architecture has silu", act)
	}
	return c.err
}

func llamaMetadata(w *metadataWriter, d *dims) {
	w.uint("vocab_size", d.vocab)
	w.uint("rope.dimension_count", d.headDim)
}

func llamaRecipes(r *recipes, c *config, d *dims) {
	r.embedding(c, d)
	attnBias := biasRule(c, "attention_bias")
	mlpBias := biasRule(c, "mlp_bias")
	q, kv := d.heads*d.headDim, d.headsKV*d.headDim
	for i := range d.blocks {
		b := r.block(i)
		b.vector("attn_norm", "input_layernorm", d.embed)
		b.linear("attn_q", "self_attn.q_proj", d.embed, q, attnBias).rotaryPairs(d.heads)
		b.linear("attn_k", "self_attn.k_proj", d.embed, kv, attnBias).rotaryPairs(d.headsKV)
		b.linear("attn_v", "self_attn.v_proj", d.embed, kv, attnBias)
		b.linear("attn_output", "self_attn.o_proj", q, d.embed, attnBias)
		b.vector("ffn_norm", "post_attention_layernorm", d.embed)
		if d.experts > 0 {
			const expert = "block_sparse_moe.experts.%d."
			b.linear("ffn_gate_inp", "block_sparse_moe.gate", d.embed, d.experts, noBias)
			b.experts("ffn_gate_exps", expert+"w1", d.experts, d.embed, d.ff)
			b.experts("ffn_down_exps", expert+"w2", d.experts, d.ff, d.embed)
			b.experts("ffn_up_exps", expert+"w3", d.experts, d.embed, d.ff)
			continue
		}
		b.linear("ffn_gate", "mlp.gate_proj", d.embed, d.ff, mlpBias)
		b.linear("ffn_down", "mlp.down_proj", d.ff, d.embed, mlpBias)
		b.linear("ffn_up", "mlp.up_proj", d.embed, d.ff, mlpBias)
	}
	r.vector("output_norm", "model.norm", d.embed)
	r.head(c, d)
}
