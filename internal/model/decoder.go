package model

import (
	"fmt"
	"slices"

	"qtool/internal/arch"
	"qtool/internal/nn"
)

// Decoder is a model ready to run: weights bound to operators. Its methods run
// on a tape; a Decoder may be shared by tapes that do not record at once.
type Decoder struct {
	Config

	embed      *nn.Linear
	blocks     []*block
	blockOf    []int // by layer
	outputNorm *nn.Param
	head       *nn.Head // shares embed's weight where the head is tied
	ropes      []*nn.Rope
	routers    []Router

	targets   []Target
	noTargets map[string]string // the weights, by short name, that take no pairs, and why
	dropped   map[string]bool   // tensors of the source that trained weights hold
	params    []*nn.Param       // while full weights are trained
	source    source

	residency *residency
}

// Target is a weight that a LoRA pair may be bound to.
type Target struct {
	Tensor string // such as "blk.0.attn_q.weight"
	Linear *nn.Linear
	// Transposed marks the embedding, whose A is indexed by token.
	Transposed bool
	// Refused is why llama.cpp does not apply a pair here; "" if it does. Such a
	// pair can only be merged.
	Refused string
	// Scaled says that Refused is for this base alone, whose weight has a separate scale.
	Scaled bool
}

// Shape is the extent of A and B of the target's LoRA pair, without the rank: A is
// [in, rank, experts] and B is [rank, out, experts]. For a transposed target A is
// [rank, in] and in is the vocabulary.
func (t Target) Shape() (in, out, experts int) {
	if t.Transposed {
		return t.Linear.Rows, t.Linear.Cols, 1
	}
	return t.Linear.Cols, t.Linear.Rows, t.Linear.Experts
}

// Targets lists the weights that a pair may be bound to, in file order of the
// decoder's layers, those too where llama.cpp does not honour it.
func (d *Decoder) Targets() []Target { return d.targets }

// Blocks is the number of blocks that a pass goes through.
func (d *Decoder) Blocks() int { return len(d.blocks) }

// Excerpt is d with only the given blocks between embedding and head, to measure what they
// take.
func (d *Decoder) Excerpt(blocks ...int) *Decoder {
	e := *d
	e.blocks, e.residency = nil, nil
	for _, b := range blocks {
		e.blocks = append(e.blocks, d.blocks[b])
	}
	return &e
}

// EmbeddingTarget is the embedding as the first layer takes it. Where the head is tied, a pair
// bound to it does not touch the head; llama.cpp knows no such pairs.
func (d *Decoder) EmbeddingTarget() Target {
	return Target{Tensor: arch.TokenEmbedding, Linear: d.embed, Transposed: true}
}

// NoTarget is why no pair can be bound to the weight of a short name, not even to
// be merged; "" if there is no such reason.
func (d *Decoder) NoTarget(name string) string { return d.noTargets[name] }

// Params lists the parameters that are trained with full weights; it is empty
// unless the decoder was loaded for that.
func (d *Decoder) Params() []*nn.Param { return d.params }

// PositionBytes is the memory of what a pass over documents of n tokens keeps of their positions.
func (d *Decoder) PositionBytes(n int) (bytes int64) {
	for _, r := range d.ropes {
		bytes += r.Bytes(n)
	}
	return bytes
}

// Batch is the input of a forward pass: one row per token.
type Batch struct {
	Tokens    []int32
	Positions []int32 // position of each token in its document
	First     []int32 // first row of each token's document
	// Noise is added to the embeddings of the tokens, before they are scaled; nil is none.
	Noise *nn.Noise

	cache        *Cache
	runs         []blockRun
	temperatures []float32 // [tokens], by position; where scores have a temperature
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

// state is what a layer remembers of the document that the batch continues; nil if it
// continues none.
func (b *Batch) state(layer int) layerState {
	if b.cache == nil {
		return nil
	}
	return b.cache.layers[layer]
}

// CheckTokens reports the first id that the vocabulary does not have.
func (d *Decoder) CheckTokens(tokens []int32) error {
	for i, id := range tokens {
		if id < 0 || int(id) >= d.Vocabulary {
			return fmt.Errorf("%w: token %d at position %d is outside the vocabulary of %d tokens", ErrInvalid, id, i, d.Vocabulary)
		}
	}
	return nil
}

// Hidden runs the decoder up to what the head takes, the output norm times the
// logit scale: [tokens, embedding]. Token ids
// must have been checked. With checkpoint, blocks are computed again in the
// backward pass instead of kept. With a cache, the batch continues the cached
// document, must be one document, and is added to the cache.
func (d *Decoder) Hidden(t *nn.Tape, b *Batch, cache *Cache, checkpoint bool) *nn.Var {
	b.follow(cache)
	last := int32(0)
	for _, p := range b.Positions {
		last = max(last, p)
	}
	for _, r := range d.ropes {
		r.Reserve(int(last) + 1)
	}
	if d.Temperature.Scale != 0 {
		b.temperatures = d.Temperature.at(b.Positions, b.temperatures)
	}
	b.runs = slices.Grow(b.runs[:0], len(d.blocks))[:len(d.blocks)]
	d.enter(t.Pool.Rehearsing(), len(d.blocks), 0)
	x := t.Embed(b.Tokens, d.embed) // [tokens, embedding]
	if b.Noise != nil {
		t.AddNoise(x, b.Noise)
	}
	x = scaled(t, x, d.EmbeddingScale)
	for l, blk := range d.blocks {
		b.runs[l] = blockRun{blk, b, d, l}
		x = t.Block(x, &b.runs[l], checkpoint)
	}
	if cache != nil {
		cache.length += len(b.Tokens)
	}
	return scaled(t, t.RMSNorm(x, d.outputNorm, d.NormEpsilon), d.LogitScale)
}

// scaled multiplies x, in place, by s where that is not 0.
func scaled(t *nn.Tape, x *nn.Var, s float32) *nn.Var {
	if s == 0 || s == 1 {
		return x
	}
	return t.Scale(x, s)
}

// Logits is the head over hidden rows: [rows, vocabulary].
func (d *Decoder) Logits(t *nn.Tape, hidden *nn.Var) *nn.Var {
	d.enterHead(t)
	return t.Logits(hidden, d.head)
}

func (d *Decoder) enterHead(t *nn.Tape) {
	d.enter(t.Pool.Rehearsing(), len(d.blocks), len(d.blocks)-1)
}

// Loss is the summed cross entropy of the scored rows, in nats, and the sum of their
// weights; see [nn.Tape.CrossEntropy].
func (d *Decoder) Loss(t *nn.Tape, hidden *nn.Var, targets nn.Targets, scale float32) (sum, weight float64) {
	d.enterHead(t)
	return t.CrossEntropy(hidden, d.head, targets, scale)
}
