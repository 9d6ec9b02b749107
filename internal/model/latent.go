package model

import (
	"math"

	"qtool/internal/arch"
	"qtool/internal/nn"
)

// LatentSpec describes attention whose keys and values are made of a latent of
// each token (MLA).
type LatentSpec struct {
	KVRank           int // width of the latent
	QRank            int // of that of the queries; 0: they are made of the token itself
	KeyDim, ValueDim int // of a head
	// Scale multiplies the latent; 0 means 1.
	Scale float32
}

// latentAttention is attention whose keys and values are made of a latent. The first
// elements of a head's query and key are plain, the last ones are rotated; the rotated ones
// of a key are the same for all heads.
type latentAttention struct {
	q          *nn.Linear // nil where queries have a latent too
	qDown, qUp *nn.Linear
	qNorm      *nn.Param
	kvDown     *nn.Linear // to the latent and the rotated elements of the keys
	kvNorm     *nn.Param
	kvUp       *nn.Linear // nil where it is split; rows: each head's key, then its value
	keyUp      *nn.Weight // of each head, from the key to the latent
	valueUp    *nn.Weight // of each head, from the latent to the value
	output     *nn.Linear
	inputs     []*nn.Linear // of the projections of x
	rope       *nn.Rope
	rotated    int // how many elements rotate
	heads      int
	epsilon    float32
	scoreScale float32
	// temperature says that scores are multiplied by what the batch has for each position.
	temperature bool
	LatentSpec
}

func (a *latentAttention) forward(t *nn.Tape, x *nn.Var, b *Batch, state layerState) *nn.Var {
	q, kv := a.project(t, x) // [tokens, heads·keyDim] and [tokens, kvRank+rotated]
	q = t.Rope(q, a.rope, a.KeyDim, b.Positions)
	if a.temperature {
		q = t.ScaleEach(q, b.temperatures)
	}
	kv = t.Rope(kv, a.rope, a.KVRank+a.rotated, b.Positions)
	latent := scaled(t, t.RMSNorm(t.Columns(kv, 0, a.KVRank), a.kvNorm, a.epsilon), a.Scale) // [tokens, kvRank]
	position := t.Columns(kv, a.KVRank, kv.Cols)                                             // [tokens, rotated]
	// Scores against the latents are cheaper to keep than keys, and what an
	// importance matrix is about; scores against keys are cheaper to compute.
	if a.keyUp != nil && (state != nil || t.Observe != nil) {
		return t.Linear(a.absorbed(t, q, latent, position, b, state), a.output)
	}
	return t.Linear(a.expanded(t, q, latent, position, b, state), a.output)
}

// project gives q [tokens, heads·keyDim] and kv [tokens, kvRank+rotated].
func (a *latentAttention) project(t *nn.Tape, x *nn.Var) (q, kv *nn.Var) {
	if a.q != nil {
		y := t.Linears(x, a.q, a.kvDown)
		return y[0], y[1]
	}
	y := t.Linears(x, a.qDown, a.kvDown)
	q, kv = y[0], y[1]
	return t.Linear(t.RMSNorm(q, a.qNorm, a.epsilon), a.qUp), kv
}

// expanded makes the keys and values of all heads: [tokens, heads·valueDim].
func (a *latentAttention) expanded(t *nn.Tape, q, latent, position *nn.Var, b *Batch, state layerState) *nn.Var {
	var k, v *nn.Var // [tokens, heads·plain] and [tokens, heads·valueDim]
	if plain := a.KeyDim - a.rotated; a.kvUp != nil {
		up := t.Linear(latent, a.kvUp) // [tokens, heads·(plain+valueDim)]
		k = t.HeadColumns(up, a.heads, 0, plain)
		v = t.HeadColumns(up, a.heads, plain, plain+a.ValueDim)
	} else {
		k, v = t.HeadLinear(latent, a.keyUp, true), t.HeadLinear(latent, a.valueUp, false)
	}
	k = t.JoinHeads(k, position, a.heads, a.rotated) // [tokens, heads·keyDim]
	return a.attend(t, q, k, v, b, state, nn.AttentionSpec{KVHeads: a.heads, HeadDim: a.KeyDim, ValueDim: a.ValueDim})
}

// absorbed takes the queries to the latents, which all heads share: [tokens,
// heads·valueDim].
func (a *latentAttention) absorbed(t *nn.Tape, q, latent, position *nn.Var, b *Batch, state layerState) *nn.Var {
	plain := t.HeadColumns(q, a.heads, 0, a.KeyDim-a.rotated)                                                                 // [tokens, heads·plain]
	rotated := t.HeadColumns(q, a.heads, a.KeyDim-a.rotated, a.KeyDim)                                                        // [tokens, heads·rotated]
	q = t.JoinHeads(t.HeadLinear(plain, a.keyUp, false), rotated, a.heads, a.rotated)                                         // [tokens, heads·(kvRank+rotated)]
	k := t.JoinHeads(latent, position, 1, a.rotated)                                                                          // [tokens, kvRank+rotated]
	y := a.attend(t, q, k, latent, b, state, nn.AttentionSpec{KVHeads: 1, HeadDim: a.KVRank + a.rotated, ValueDim: a.KVRank}) // [tokens, heads·kvRank]
	return t.HeadLinear(y, a.valueUp, false)
}

func (a *latentAttention) readers() []*nn.Linear { return a.inputs }

func (a *latentAttention) newState(c *Cache) layerState { return &keyValues{cache: c} }

func (a *latentAttention) attend(t *nn.Tape, q, k, v *nn.Var, b *Batch, state layerState, spec nn.AttentionSpec) *nn.Var {
	spec.Heads, spec.Scale = a.heads, a.scoreScale
	spec.Roundable = a.output.Expert[0].Encoded()
	return attend(t, q, k, v, spec, b, state)
}

func bindLatentAttention(b *layerBinder) mixer {
	d := b.d
	heads, _ := b.heads()
	s, n, rotated := d.Latent, d.Embedding, d.Rope.Dims
	a := &latentAttention{
		rope: b.rope, rotated: rotated, heads: heads, epsilon: d.NormEpsilon, scoreScale: d.AttentionScale,
		temperature: d.Temperature.Scale != 0, LatentSpec: s,
		kvDown: b.linear("attn_kv_a_mqa", n, s.KVRank+rotated),
		kvNorm: b.vector("attn_kv_a_norm.weight", s.KVRank),
		output: b.linear("attn_output", heads*s.ValueDim, n),
	}
	if b.has("attn_q.weight") {
		a.q = b.linear("attn_q", n, heads*s.KeyDim)
		a.inputs = []*nn.Linear{a.q, a.kvDown}
	} else {
		a.qDown = b.linear("attn_q_a", n, s.QRank)
		a.qNorm = b.vector("attn_q_a_norm.weight", s.QRank)
		a.qUp = b.linear("attn_q_b", s.QRank, heads*s.KeyDim)
		a.inputs = []*nn.Linear{a.qDown, a.kvDown}
	}
	if plain := s.KeyDim - rotated; b.has("attn_kv_b.weight") {
		a.kvUp = b.linear("attn_kv_b", s.KVRank, heads*(plain+s.ValueDim))
	} else {
		a.keyUp = b.weight("attn_k_b.weight", plain, s.KVRank, heads)
		a.valueUp = b.weight("attn_v_b.weight", s.KVRank, s.ValueDim, heads)
		b.noTarget(headMatrices, "attn_k_b", "attn_v_b")
	}
	return a
}

// headMatrices is why no pair can be bound to the weights between heads and latents.
const headMatrices = "it holds a matrix for each head, which llama.cpp multiplies without looking for adapters, and pairs of heads are not computed here"

// latents reads the widths of attention over latents. Files from before
// key_length_mla have the dimensions of the heads themselves in its place.
func (k *keys) latents(c *Config) {
	c.Latent = LatentSpec{
		KVRank: k.needInt(arch.KeyAttentionKVLoraRank), QRank: k.int(arch.KeyAttentionQLoraRank, 0),
		KeyDim: k.int(arch.KeyAttentionKeyLengthMLA, c.HeadDim), ValueDim: k.int(arch.KeyAttentionValueLengthMLA, c.ValueDim),
	}
	if s := c.Latent; s.KeyDim <= c.Rope.Dims || s.ValueDim < 1 {
		refuseAs(ErrInvalid, "keys of %d dimensions, of which %d rotate, and values of %d", s.KeyDim, c.Rope.Dims, s.ValueDim)
	}
	c.Rope.Last = true
	c.AttentionScale = float32(1 / math.Sqrt(float64(c.Latent.KeyDim)))
}
