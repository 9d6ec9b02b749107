package model

import (
	"qtool/internal/arch"
	"qtool/internal/nn"
)

// layer is one decoder layer: a mixer, then a feed-forward, each a branch off the residual
// stream.
type layer struct {
	number      int
	mixer       mixer
	feedForward feedForward
	// aside has the input of feedForward; its result is added after the next layer. Nil in
	// nearly all layers.
	aside feedForward

	mixerNorms, ffnNorms branchNorms
	epsilon              float32
	residualScale        float32
}

// mixer mixes the tokens of each document of a batch. A kind of mixers is one file, which
// binds it too, and a row of [mixers].
type mixer interface {
	// forward gives [tokens, embedding] for x [tokens, embedding]. state is that of the cache
	// that b continues; nil if b continues none.
	forward(t *nn.Tape, x *nn.Var, b *Batch, state layerState) *nn.Var
	// readers are all that x is multiplied with; nil if it is used otherwise too.
	readers() []*nn.Linear
	// newState is what c has of the layer; nil if the mixer remembers nothing.
	newState(c *Cache) layerState
}

// mixers bind the mixer of a layer, by kind.
var mixers = map[arch.Mixer]func(*layerBinder) mixer{
	arch.Attention:       bindAttention,
	arch.LatentAttention: bindLatentAttention,
}

// feedForward works on each token by itself.
type feedForward interface {
	forward(t *nn.Tape, x *nn.Var) *nn.Var // [tokens, embedding], as x is
	readers() []*nn.Linear                 // as those of a mixer
}

// branchNorms are the norms at both ends of a branch, each nil if there is none.
type branchNorms struct{ in, out *nn.Param }

// forward gives x [tokens, embedding] with what the branches add, and the result of aside;
// nil where there is none.
func (l *layer) forward(t *nn.Tape, x *nn.Var, b *Batch) (y, aside *nn.Var) {
	mixed := l.mixer.forward(t, l.norm(t, x, l.mixerNorms.in, l.mixer.readers()), b, b.state(l.number))
	x = l.join(t, x, mixed, l.mixerNorms.out)
	readers := l.feedForward.readers()
	if l.aside != nil {
		readers = nil
	}
	in := l.norm(t, x, l.ffnNorms.in, readers) // [tokens, embedding]
	if l.aside != nil {
		aside = l.aside.forward(t, in)
	}
	return l.join(t, x, l.feedForward.forward(t, in), l.ffnNorms.out), aside
}

func (l *layer) norm(t *nn.Tape, x *nn.Var, weight *nn.Param, readers []*nn.Linear) *nn.Var {
	if weight == nil {
		return x
	}
	return t.RMSNormFor(readers, x, weight, l.epsilon)
}

// join adds the end y of a branch to the residual stream x, both [tokens, embedding].
func (l *layer) join(t *nn.Tape, x, y *nn.Var, weight *nn.Param) *nn.Var {
	return t.Add(x, scaled(t, l.norm(t, y, weight, nil), l.residualScale))
}

// layerBinder binds the tensors of one layer, whose names it takes without "blk.N.".
type layerBinder struct {
	*binder
	number int
	rope   *nn.Rope // nil: positions are not encoded
}

func (b *layerBinder) config() LayerConfig { return b.d.Layers[b.number] }

func (b *layerBinder) has(name string) bool { return b.binder.has(arch.InLayer(b.number, name)) }

// vector binds a norm or another list of numbers by its whole name in the layer.
func (b *layerBinder) vector(name string, shape ...int) *nn.Param {
	return b.binder.vector(arch.InLayer(b.number, name), shape...)
}

// weight binds a matrix, or a stack of them, that no LoRA pair may be bound to.
func (b *layerBinder) weight(name string, in, out, count int) *nn.Weight {
	return b.binder.weight(arch.InLayer(b.number, name), in, out, count)
}

// linear binds name.weight [in, out], and name.bias where there is one, and offers it as a
// LoRA target.
func (b *layerBinder) linear(name string, in, out int) *nn.Linear {
	return b.targetLinear(arch.InLayer(b.number, name), in, out, 1)
}

// experts is linear for a stack of matrices.
func (b *layerBinder) experts(name string, in, out, count int) *nn.Linear {
	return b.targetLinear(arch.InLayer(b.number, name), in, out, count)
}

// norm binds a norm as wide as the residual stream; nil for no name.
func (b *layerBinder) norm(name string) *nn.Param {
	if name == "" {
		return nil
	}
	return b.vector(name+".weight", b.d.Embedding)
}

// layer binds all of layer l, which rotates by rope.
func (b *binder) layer(l int, rope *nn.Rope) *layer {
	lb := &layerBinder{b, l, rope}
	kind, n := lb.config().Kind, b.arch.Norms
	out := &layer{
		number:        l,
		mixerNorms:    branchNorms{lb.norm(n.Mixer), lb.norm(n.MixerOut)},
		ffnNorms:      branchNorms{lb.norm(n.FeedForward), lb.norm(n.FeedForwardOut)},
		epsilon:       b.d.NormEpsilon,
		residualScale: b.d.ResidualScale,
		mixer:         mixers[kind.Mixer](lb),
	}
	switch kind.FeedForward {
	case arch.Dense:
		out.feedForward = lb.dense()
	case arch.Experts:
		out.feedForward = lb.expertFFN()
	case arch.DenseBesideExperts:
		out.feedForward, out.aside = lb.dense(), lb.expertFFN()
	}
	return out
}
