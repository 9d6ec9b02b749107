package model

import (
	"qtool/internal/arch"
	"qtool/internal/nn"
)

// groupedAttention is attention whose query heads share key heads, with separate
// or fused projections.
type groupedAttention struct {
	q, k, v      *nn.Linear // nil if fused
	qkv          *nn.Linear // rows: all q heads, all k heads, all v heads
	qNorm, kNorm *nn.Param  // over a head, or all of them; nil if there are none
	output       *nn.Linear
	inputs       []*nn.Linear // of the projections
	rope         *nn.Rope     // nil: positions are not encoded
	epsilon      float32
	spec         nn.AttentionSpec // without what depends on the batch
}

func (a *groupedAttention) forward(t *nn.Tape, x *nn.Var, b *Batch, state layerState) *nn.Var {
	q, k, v := a.project(t, x)
	q = a.position(t, q, a.qNorm, b) // [tokens, heads·headDim]
	k = a.position(t, k, a.kNorm, b) // [tokens, key heads·headDim]
	spec := a.spec
	spec.Roundable = a.output.Expert[0].Encoded()
	return t.Linear(attend(t, q, k, v, spec, b, state), a.output) // [tokens, embedding]
}

func (a *groupedAttention) readers() []*nn.Linear { return a.inputs }

func (a *groupedAttention) newState(c *Cache) layerState { return &keyValues{cache: c} }

// project gives q [tokens, heads·headDim], k [tokens, key heads·headDim] and v [tokens, key
// heads·valueDim].
func (a *groupedAttention) project(t *nn.Tape, x *nn.Var) (q, k, v *nn.Var) {
	if a.qkv == nil {
		y := t.Linears(x, a.q, a.k, a.v)
		return y[0], y[1], y[2]
	}
	all := t.Linear(x, a.qkv) // [tokens, all three side by side]
	endQ := a.spec.Heads * a.spec.HeadDim
	endK := endQ + a.spec.KVHeads*a.spec.HeadDim
	return t.Columns(all, 0, endQ), t.Columns(all, endQ, endK), t.Columns(all, endK, all.Cols)
}

// position norms and rotates queries or keys.
func (a *groupedAttention) position(t *nn.Tape, x *nn.Var, norm *nn.Param, b *Batch) *nn.Var {
	if norm != nil {
		x = t.RMSNorm(x, norm, a.epsilon)
	}
	if a.rope != nil {
		x = t.Rope(x, a.rope, a.spec.HeadDim, b.Positions)
	}
	return x
}

func bindAttention(b *layerBinder) mixer {
	d := b.d
	heads, kvHeads := b.heads()
	a := &groupedAttention{rope: b.rope, epsilon: d.NormEpsilon, spec: nn.AttentionSpec{
		Heads: heads, KVHeads: kvHeads, HeadDim: d.HeadDim, ValueDim: d.ValueDim,
		Scale: d.AttentionScale, Softcap: d.AttentionSoftcap,
	}}
	if b.config().Windowed {
		a.spec.Window = d.Window
	}
	q, k, v := heads*d.HeadDim, kvHeads*d.HeadDim, kvHeads*d.ValueDim
	if b.has("attn_qkv.weight") {
		a.qkv = b.linear("attn_qkv", d.Embedding, q+k+v)
		a.inputs = []*nn.Linear{a.qkv}
	} else {
		a.q = b.linear("attn_q", d.Embedding, q)
		a.k = b.linear("attn_k", d.Embedding, k)
		a.v = b.linear("attn_v", d.Embedding, v)
		a.inputs = []*nn.Linear{a.q, a.k, a.v}
	}
	a.qNorm, a.kNorm = b.queryKeyNorms(q, k)
	if b.arch.Sinks {
		a.spec.Sinks = b.vector("attn_sinks.weight", heads)
	}
	a.output = b.linear("attn_output", heads*d.ValueDim, d.Embedding)
	return a
}

// heads are the numbers of query heads and of key heads of a layer with attention.
func (b *layerBinder) heads() (heads, kvHeads int) {
	heads, kvHeads = b.config().Heads, b.config().KVHeads
	if heads <= 0 || kvHeads <= 0 || heads%kvHeads != 0 {
		refuseAs(ErrInvalid, "layer %d has %d attention heads over %d key heads", b.number, heads, kvHeads)
	}
	return heads, kvHeads
}

// queryKeyNorms binds the norms over queries and keys, q and k elements wide.
func (b *layerBinder) queryKeyNorms(q, k int) (qNorm, kNorm *nn.Param) {
	kind := b.arch.QKNorm
	if kind == arch.NoQKNorm || kind == arch.OptionalQKNorm && !b.has("attn_q_norm.weight") {
		return nil, nil
	}
	if kind != arch.WideQKNorm {
		q, k = b.d.HeadDim, b.d.HeadDim
	}
	return b.vector("attn_q_norm.weight", q), b.vector("attn_k_norm.weight", k)
}
