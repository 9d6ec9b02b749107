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
	spec         nn.AttentionSpec // but for what depends on the batch
}

func (a *groupedAttention) forward(t *nn.Tape, x *nn.Var, b *Batch, layer int) *nn.Var {
	q, k, v := a.project(t, x)
	q = a.position(t, q, a.qNorm, b)
	k = a.position(t, k, a.kNorm, b)
	spec := a.spec
	spec.First, spec.Roundable = b.First, a.output.Expert[0].Encoded()
	if b.cache != nil {
		spec.Offset = b.cache.length
		k, v = b.cache.extend(t, layer, k, v)
	}
	return t.Linear(t.Attention(q, k, v, spec), a.output)
}

func (a *groupedAttention) readers() []*nn.Linear { return a.inputs }

func (a *groupedAttention) project(t *nn.Tape, x *nn.Var) (q, k, v *nn.Var) {
	if a.qkv == nil {
		y := t.Linears(x, a.q, a.k, a.v)
		return y[0], y[1], y[2]
	}
	all := t.Linear(x, a.qkv)
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

func (b *binder) attention(prefix string, l int, rope *nn.Rope) attention {
	d := b.d
	if d.Kinds[l].Mixer == arch.LatentAttention {
		return b.latentAttention(prefix, l, rope)
	}
	heads, kvHeads := d.Heads[l], d.KVHeads[l]
	a := &groupedAttention{rope: rope, epsilon: d.NormEpsilon, spec: nn.AttentionSpec{
		Heads: heads, KVHeads: kvHeads, HeadDim: d.HeadDim, ValueDim: d.ValueDim,
		Scale: d.AttentionScale, Softcap: d.AttentionSoftcap,
	}}
	if d.windowed(l) {
		a.spec.Window = d.Window
	}
	q, k, v := heads*d.HeadDim, kvHeads*d.HeadDim, kvHeads*d.ValueDim
	if b.has(prefix + "attn_qkv.weight") {
		a.qkv = b.targetLinear(prefix+"attn_qkv", d.Embedding, q+k+v, 1)
		a.inputs = []*nn.Linear{a.qkv}
	} else {
		a.q = b.targetLinear(prefix+"attn_q", d.Embedding, q, 1)
		a.k = b.targetLinear(prefix+"attn_k", d.Embedding, k, 1)
		a.v = b.targetLinear(prefix+"attn_v", d.Embedding, v, 1)
		a.inputs = []*nn.Linear{a.q, a.k, a.v}
	}
	a.qNorm, a.kNorm = b.queryKeyNorms(prefix, q, k)
	if b.arch.Sinks {
		a.spec.Sinks = b.vector(prefix+"attn_sinks.weight", heads)
	}
	a.output = b.targetLinear(prefix+"attn_output", heads*d.ValueDim, d.Embedding, 1)
	return a
}

// queryKeyNorms binds the norms over queries and keys, q and k elements wide.
func (b *binder) queryKeyNorms(prefix string, q, k int) (qNorm, kNorm *nn.Param) {
	kind := b.arch.QKNorm
	if kind == arch.NoQKNorm || kind == arch.OptionalQKNorm && !b.has(prefix+"attn_q_norm.weight") {
		return nil, nil
	}
	if kind != arch.WideQKNorm {
		q, k = b.d.HeadDim, b.d.HeadDim
	}
	return b.vector(prefix+"attn_q_norm.weight", q), b.vector(prefix+"attn_k_norm.weight", k)
}
