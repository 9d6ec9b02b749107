package model

import (
	"fmt"
	"math"
	"slices"

	"qtool/internal/nn"
)

// Decoder is a model ready to run: weights bound to operators. Its methods run
// on a tape; a Decoder may be shared by tapes that do not record at once.
type Decoder struct {
	Config

	embed      *nn.Linear
	blocks     []*block
	outputNorm *nn.Param
	head       *nn.Linear // shares embed's weight where the head is tied
	rope       *nn.Rope

	targets []Target
	params  []*nn.Param // while full weights are trained
	source  source
}

// Target is a weight that a LoRA pair may be bound to.
type Target struct {
	Tensor string // such as "blk.0.attn_q.weight"
	Linear *nn.Linear
	// Transposed marks the embedding, whose A half is indexed by token.
	Transposed bool
}

// Shape is the extent of the target's LoRA halves besides the rank: A is
// [in, rank, experts] and B is [rank, out, experts]. For a transposed target A is
// [rank, in] and in is the vocabulary.
func (t Target) Shape() (in, out, experts int) {
	if t.Transposed {
		return t.Linear.Rows, t.Linear.Cols, 1
	}
	return t.Linear.Cols, t.Linear.Rows, t.Linear.Experts
}

// Targets lists the weights whose pairs llama.cpp honours, in file order of the
// decoder's parts.
func (d *Decoder) Targets() []Target { return d.targets }

// Lookup is the embedding as the first layer takes it. Where the head is tied, a pair
// bound to it does not touch the head; llama.cpp knows no such pairs.
func (d *Decoder) Lookup() Target {
	return Target{Tensor: "token_embd.weight", Linear: d.embed, Transposed: true}
}

// Params lists the parameters that are trained with full weights; it is empty
// unless the decoder was loaded for that.
func (d *Decoder) Params() []*nn.Param { return d.params }

// Batch is the input of a forward pass: one row per token.
type Batch struct {
	Tokens    []int32
	Positions []int32 // position of each token in its document
	First     []int32 // first row of each token's document

	cache *Cache
	rope  *nn.Rope
	runs  []blockRun
}

// NewBatch is a batch of documents; see [Batch.Set].
func NewBatch(tokens []int32, starts []int) *Batch {
	b := &Batch{}
	b.Set(tokens, starts)
	return b
}

// Set lays documents out one after the other; starts are the offsets of their
// first tokens, ascending from 0. It keeps tokens and reuses b's memory.
func (b *Batch) Set(tokens []int32, starts []int) {
	b.Tokens = tokens
	b.Positions = slices.Grow(b.Positions[:0], len(tokens))[:len(tokens)]
	b.First = slices.Grow(b.First[:0], len(tokens))[:len(tokens)]
	for d, start := range starts {
		end := len(tokens)
		if d+1 < len(starts) {
			end = starts[d+1]
		}
		for r := start; r < end; r++ {
			b.Positions[r], b.First[r] = int32(r-start), int32(start)
		}
	}
}

// follow makes the batch continue the document in c.
func (b *Batch) follow(c *Cache) {
	b.cache = c
	if c == nil {
		return
	}
	for r := range b.Tokens {
		b.Positions[r], b.First[r] = int32(c.length+r), 0
	}
}

// CheckTokens reports the first id that the vocabulary does not have.
func (d *Decoder) CheckTokens(tokens []int32) error {
	for i, id := range tokens {
		if id < 0 || int(id) >= d.Vocabulary {
			return fmt.Errorf("token %d at position %d is outside the vocabulary of %d tokens", id, i, d.Vocabulary)
		}
	}
	return nil
}

// Hidden runs the decoder up to the output norm: [tokens, embedding]. Token ids
// must have been checked. With checkpoint, blocks are computed again in the
// backward pass instead of kept. With a cache, the batch continues the cached
// document, must be one document, and is added to the cache.
func (d *Decoder) Hidden(t *nn.Tape, b *Batch, cache *Cache, checkpoint bool) *nn.Var {
	b.follow(cache)
	last := int32(0)
	for _, p := range b.Positions {
		last = max(last, p)
	}
	d.rope.Reserve(int(last) + 1)
	b.rope = d.rope
	b.runs = slices.Grow(b.runs[:0], len(d.blocks))[:len(d.blocks)]
	x := t.Embed(b.Tokens, d.embed)
	for l, blk := range d.blocks {
		b.runs[l] = blockRun{blk, b}
		x = t.Block(x, &b.runs[l], checkpoint)
	}
	if cache != nil {
		cache.length += len(b.Tokens)
	}
	return t.RMSNorm(x, d.outputNorm, d.NormEpsilon)
}

// Logits is the head over hidden rows: [rows, vocabulary].
func (d *Decoder) Logits(t *nn.Tape, hidden *nn.Var) *nn.Var { return t.Linear(hidden, d.head) }

// Loss is the summed cross entropy of the scored rows, in nats, and their number;
// see [nn.Tape.CrossEntropy].
func (d *Decoder) Loss(t *nn.Tape, hidden *nn.Var, targets []int32, weight float32) (sum float64, scored int) {
	return t.CrossEntropy(hidden, d.head, targets, weight)
}

// blockRun is a block at work on a batch.
type blockRun struct {
	*block
	batch *Batch
}

// Forward implements [nn.Block].
func (r *blockRun) Forward(t *nn.Tape, x *nn.Var) *nn.Var { return r.block.forward(t, x, r.batch) }

// block is one decoder layer: x += attention(norm(x)), x += ffn(norm(x)).
type block struct {
	layer             int
	attnNorm, ffnNorm *nn.Param
	epsilon           float32
	attention         attention
	ffn               feedForward
}

func (blk *block) forward(t *nn.Tape, x *nn.Var, b *Batch) *nn.Var {
	x = t.Add(x, blk.attention.forward(t, t.RMSNorm(x, blk.attnNorm, blk.epsilon), b, blk.layer))
	return t.Add(x, blk.ffn.forward(t, t.RMSNorm(x, blk.ffnNorm, blk.epsilon)))
}

// attention is grouped-query attention with separate or fused projections.
type attention struct {
	q, k, v           *nn.Linear // nil if fused
	qkv               *nn.Linear // rows: all q heads, all k heads, all v heads
	output            *nn.Linear
	heads, kvHeads    int
	headDim, valueDim int
}

func (a *attention) forward(t *nn.Tape, x *nn.Var, b *Batch, layer int) *nn.Var {
	q, k, v := a.project(t, x)
	q = t.Rope(q, b.rope, a.headDim, b.Positions)
	k = t.Rope(k, b.rope, a.headDim, b.Positions)
	spec := nn.AttentionSpec{
		Heads: a.heads, KVHeads: a.kvHeads, HeadDim: a.headDim, ValueDim: a.valueDim,
		Scale: float32(1 / math.Sqrt(float64(a.headDim))), First: b.First,
	}
	if b.cache != nil {
		spec.Offset = b.cache.length
		k, v = b.cache.extend(layer, k, v)
	}
	return t.Linear(t.Attention(q, k, v, spec), a.output)
}

func (a *attention) project(t *nn.Tape, x *nn.Var) (q, k, v *nn.Var) {
	if a.qkv == nil {
		y := t.Linears(x, a.q, a.k, a.v)
		return y[0], y[1], y[2]
	}
	all := t.Linear(x, a.qkv)
	endQ := a.heads * a.headDim
	endK := endQ + a.kvHeads*a.headDim
	return t.Columns(all, 0, endQ), t.Columns(all, endQ, endK), t.Columns(all, endK, all.Cols)
}

// feedForward is a dense block or a mixture of experts.
type feedForward interface {
	forward(t *nn.Tape, x *nn.Var) *nn.Var
}

type denseFFN struct{ gate, up, down *nn.Linear }

func (f *denseFFN) forward(t *nn.Tape, x *nn.Var) *nn.Var {
	h := t.Linears(x, f.gate, f.up)
	return t.Linear(t.SwiGLU(h[0], h[1]), f.down)
}

// expertFFN routes every token to some of the experts.
type expertFFN struct {
	router         *nn.Linear
	spec           nn.RouterSpec
	gate, up, down *nn.Linear
}

func (f *expertFFN) forward(t *nn.Tape, x *nn.Var) *nn.Var {
	r := t.Route(t.Linear(x, f.router), f.spec)
	g := t.Gather(x, r)
	h := t.ExpertLinears(g, r.Groups, f.gate, f.up)
	y := t.ExpertLinears(t.SwiGLU(h[0], h[1]), r.Groups, f.down)
	return t.Combine(y[0], x, r)
}
