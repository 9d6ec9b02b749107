package convert

import (
	"slices"

	"qtool/gguf"
	"qtool/internal/arch"
	"qtool/safetensors"
)

// usualNorms are the sources of the norms before attention and feed-forward.
var usualNorms = []string{"input_layernorm", "post_attention_layernorm"}

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
	r.ignoredPrefixes = append(r.ignoredPrefixes, "model.mtp.")
	r.ignoreNextTokens(c, d)
	r.norm("output_norm", "model.norm", d.embed, f.normShift)
	f.headRecipe(r, c, d)
}

func (f *family) headRecipe(r *recipes, c *config, d *dims) {
	row := f.row()
	if row.Head == arch.TiedHead {
		r.ignore(headTensor)
		return
	}
	if row.Head == arch.OwnHead && c.boolean("tie_word_embeddings", false) {
		r.ignore(headTensor)
		r.add(&recipe{
			name: arch.Output, shape: []int{d.embed, d.vocab},
			sources: []string{f.source("token_embd", embedding) + ".weight"}, instead: headTensor,
		})
		return
	}
	r.head(c, d)
	if slices.Contains(row.Biases, "output") {
		r.add(&recipe{name: "output.bias", shape: []int{d.vocab}, sources: []string{"lm_head.bias"}, optional: true})
	}
}

func (f *family) block(b *block, c *config, d *dims, i int) {
	row := f.row()
	layer, sources := row.Layer(d.layerSizes(), i), f.norms
	if sources == nil {
		sources = usualNorms
	}
	for n, name := range row.Norms.Names() {
		b.norm(name, sources[n], d.embed, f.normShift)
	}
	switch layer.Mixer {
	case arch.Attention:
		f.attention(b, c, d)
	case arch.LatentAttention:
		f.latentAttention(b, d)
	}
	if layer.HasDense() {
		f.denseFFN(b, c, d)
	}
	switch {
	case !layer.HasExperts():
	case f.addExperts != nil:
		f.addExperts(b, d)
	default:
		f.expertFFN(b, d)
	}
}

// layerSizes are what decides of what a layer is made.
func (d *dims) layerSizes() *arch.Sizes {
	return &arch.Sizes{Experts: d.experts, LeadingDense: d.leadingDense}
}

// source is where the tensor comes from: usual in most families.
func (f *family) source(name, usual string) string {
	if s, ok := f.sources[name]; ok {
		return s
	}
	return usual
}

func (f *family) attention(b *block, c *config, d *dims) {
	row, bias := f.row(), biasRule(c, "attention_bias")
	q, kv := d.heads*d.headDim, d.headsKV*d.headDim
	if row.FusedQKV {
		b.linear("attn_qkv", f.source("attn_qkv", "self_attn.qkv_proj"), d.embed, q+2*kv, bias)
	} else {
		query := b.linear("attn_q", "self_attn.q_proj", d.embed, q, bias)
		key := b.linear("attn_k", "self_attn.k_proj", d.embed, kv, bias)
		b.linear("attn_v", "self_attn.v_proj", d.embed, kv, bias)
		if f.rotaryPairs {
			query.rotaryPairs(d.heads)
			key.rotaryPairs(d.headsKV)
		}
	}
	if row.QKNorm != arch.WideQKNorm {
		q, kv = d.headDim, d.headDim
	}
	if row.QKNorm != arch.NoQKNorm && (row.QKNorm != arch.OptionalQKNorm || c.boolean("use_qk_norm", false)) {
		b.norm("attn_q_norm", f.source("attn_q_norm", "self_attn.q_norm"), q, f.normShift)
		b.norm("attn_k_norm", f.source("attn_k_norm", "self_attn.k_norm"), kv, f.normShift)
	}
	b.linear("attn_output", f.source("attn_output", "self_attn.o_proj"), d.heads*d.headDim, d.embed, f.biasOf(c, "attn_output", "attention_bias"))
	if row.Sinks {
		b.add(&recipe{name: b.name + "attn_sinks.weight", shape: []int{d.heads}, sources: []string{b.from("self_attn.sinks")}})
	}
}

// biasOf is the rule of a weight's bias, which the field key tells of where the architecture
// may have one.
func (f *family) biasOf(c *config, weight, key string) bias {
	if !slices.Contains(f.row().Biases, weight) {
		return noBias
	}
	return biasRule(c, key)
}

func (f *family) denseFFN(b *block, c *config, d *dims) {
	bias := f.biasOf(c, "ffn_gate", "mlp_bias")
	if f.row().FusedGateUp {
		b.linear("ffn_up", "mlp.gate_up_proj", d.embed, 2*d.ff, bias)
	} else {
		b.linear("ffn_gate", "mlp.gate_proj", d.embed, d.ff, bias)
		b.linear("ffn_up", "mlp.up_proj", d.embed, d.ff, bias)
	}
	b.linear("ffn_down", "mlp.down_proj", d.ff, d.embed, bias)
}

// Floats are the values of a tensor of the folder; ok is false if it is not stored as
// floating-point numbers of at least 16 bits.
func Floats(t *safetensors.Tensor) (values []float32, ok bool, err error) {
	switch t.DType {
	case safetensors.F32, safetensors.F16, safetensors.BF16, safetensors.F64:
	default:
		return nil, false, nil
	}
	raw, err := t.Bytes()
	if err != nil {
		return nil, true, err
	}
	if t.DType == safetensors.F32 {
		return gguf.DecodeFloat32(raw), true, nil
	}
	decoded := make([]byte, 4*len(raw)/(t.DType.Bits()/8))
	decoder(t.DType, gguf.F32)(decoded, raw)
	return gguf.DecodeFloat32(decoded), true, nil
}
