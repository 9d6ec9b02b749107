package convert

// qkNorm says over what queries and keys are normed.
type qkNorm int

const (
	noQKNorm       qkNorm = iota
	headQKNorm            // each head
	wideQKNorm            // all heads of a token together
	optionalQKNorm        // each head, if config.json says use_qk_norm
)

// normName is a norm of a block, in GGUF and in the folder.
type normName struct{ name, source string }

var (
	preNorms = []normName{{"attn_norm", "input_layernorm"}, {"ffn_norm", "post_attention_layernorm"}}
	// preNormsRenamed are pre-norms of which GGUF names the second after its source.
	preNormsRenamed = []normName{{"attn_norm", "input_layernorm"}, {"post_attention_norm", "post_attention_layernorm"}}
)

// recipes lists every tensor of the model.
func (f *family) recipes(r *recipes, c *config, d *dims) {
	r.embedding(c, d, f.source("token_embd", embedding))
	for i := range d.blocks {
		b := r.block(i)
		if f.rename != nil {
			b.rename = func(source string) string { return f.rename(i, source) }
		}
		f.block(b, c, d, i)
	}
	r.behind = append(r.behind, "model.mtp.")
	r.ignoreNextTokens(c, d)
	r.norm("output_norm", "model.norm", d.embed, f.normShift)
	f.headRecipe(r, c, d)
}

func (f *family) headRecipe(r *recipes, c *config, d *dims) {
	if f.alwaysTied {
		r.ignore(headTensor)
		return
	}
	if f.ownHead && c.boolean("tie_word_embeddings", false) {
		r.ignore(headTensor)
		r.add(&recipe{
			name: "output.weight", shape: []int{d.embed, d.vocab},
			sources: []string{f.source("token_embd", embedding) + ".weight"}, instead: headTensor,
		})
		return
	}
	r.head(c, d)
	if f.headBias {
		r.add(&recipe{name: "output.bias", shape: []int{d.vocab}, sources: []string{"lm_head.bias"}, optional: true})
	}
}

func (f *family) block(b *block, c *config, d *dims, i int) {
	for _, n := range f.norms {
		b.norm(n.name, n.source, d.embed, f.normShift)
	}
	if f.latent {
		f.latentAttention(b, d)
	} else {
		f.attention(b, c, d)
	}
	if f.ffn != nil {
		f.ffn(f, b, c, d, i)
		return
	}
	if f.experts != nil {
		f.expertFFN(b, c, d, i)
		return
	}
	f.denseFFN(b, c, d)
}

// source is where the tensor comes from: usual in most families.
func (f *family) source(name, usual string) string {
	if s, ok := f.sources[name]; ok {
		return s
	}
	return usual
}

func (f *family) attention(b *block, c *config, d *dims) {
	bias := biasRule(c, "attention_bias")
	q, kv := d.heads*d.headDim, d.headsKV*d.headDim
	if f.fusedQKV != "" {
		b.linear("attn_qkv", f.fusedQKV, d.embed, q+2*kv, bias)
	} else {
		query := b.linear("attn_q", "self_attn.q_proj", d.embed, q, bias)
		key := b.linear("attn_k", "self_attn.k_proj", d.embed, kv, bias)
		b.linear("attn_v", "self_attn.v_proj", d.embed, kv, bias)
		if f.rotaryPairs {
			query.rotaryPairs(d.heads)
			key.rotaryPairs(d.headsKV)
		}
	}
	if f.qkNorm == headQKNorm || f.qkNorm == optionalQKNorm {
		q, kv = d.headDim, d.headDim
	}
	if f.qkNorm != noQKNorm && (f.qkNorm != optionalQKNorm || c.boolean("use_qk_norm", false)) {
		b.norm("attn_q_norm", f.source("attn_q_norm", "self_attn.q_norm"), q, f.normShift)
		b.norm("attn_k_norm", f.source("attn_k_norm", "self_attn.k_norm"), kv, f.normShift)
	}
	b.linear("attn_output", f.source("attn_output", "self_attn.o_proj"), d.heads*d.headDim, d.embed, f.biasOf(c, f.outputBias))
}

// biasOf is the rule of a bias that key tells of; without a key there is none.
func (f *family) biasOf(c *config, key string) bias {
	if key == "" {
		return noBias
	}
	return biasRule(c, key)
}

func (f *family) denseFFN(b *block, c *config, d *dims) {
	bias := f.biasOf(c, f.ffnBias)
	if f.fusedGateUp != "" {
		b.linear("ffn_up", f.fusedGateUp, d.embed, 2*d.ff, bias)
	} else {
		b.linear("ffn_gate", "mlp.gate_proj", d.embed, d.ff, bias)
		b.linear("ffn_up", "mlp.up_proj", d.embed, d.ff, bias)
	}
	b.linear("ffn_down", "mlp.down_proj", d.ff, d.embed, bias)
}
