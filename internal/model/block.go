package model

import (
	"qtool/internal/arch"
	"qtool/internal/nn"
)

// block is one decoder layer: attention, then feed-forward, each a branch off
// the residual stream.
type block struct {
	layer     int
	attention attention
	ffn       feedForward
	// Of layers in pairs: what starts beside ffn and ends behind second.
	aside  feedForward
	second *block

	attentionNorms, ffnNorms branchNorms
	epsilon                  float32
	residualScale            float32
}

// branchNorms are the norms at both ends of a branch, each nil if there is none.
type branchNorms struct{ in, out *nn.Param }

// attention mixes the tokens of a document.
type attention interface {
	forward(t *nn.Tape, x *nn.Var, b *Batch, layer int) *nn.Var
	// readers are all that x is multiplied with; none if it is used otherwise too.
	readers() []*nn.Linear
}

// feedForward works on each token by itself.
type feedForward interface {
	forward(t *nn.Tape, x *nn.Var) *nn.Var
	readers() []*nn.Linear // as those of attention
}

// blockRun is a block at work on a batch.
type blockRun struct {
	*block
	batch   *Batch
	decoder *Decoder
	number  int
}

// Forward implements [nn.Block].
func (r *blockRun) Forward(t *nn.Tape, x *nn.Var) *nn.Var {
	r.decoder.enter(t.Pool.Rehearsing(), r.number, r.number+1)
	return r.block.forward(t, x, r.batch)
}

// BeginBackward implements [nn.Block].
func (r *blockRun) BeginBackward(t *nn.Tape) {
	r.decoder.enterBack(t.Pool.Rehearsing(), r.number)
}

func (blk *block) forward(t *nn.Tape, x *nn.Var, b *Batch) *nn.Var {
	y := blk.attention.forward(t, blk.norm(t, x, blk.attentionNorms.in, blk.attention.readers()), b, blk.layer)
	x = blk.join(t, x, y, blk.attentionNorms.out)
	if blk.second == nil {
		in := blk.norm(t, x, blk.ffnNorms.in, blk.ffn.readers())
		return blk.join(t, x, blk.ffn.forward(t, in), blk.ffnNorms.out)
	}
	in := blk.norm(t, x, blk.ffnNorms.in, nil)
	aside := blk.aside.forward(t, in)
	x = blk.join(t, x, blk.ffn.forward(t, in), blk.ffnNorms.out)
	return t.Add(blk.second.forward(t, x, b), aside)
}

func (blk *block) norm(t *nn.Tape, x *nn.Var, weight *nn.Param, readers []*nn.Linear) *nn.Var {
	if weight == nil {
		return x
	}
	return t.RMSNormFor(readers, x, weight, blk.epsilon)
}

// join adds the end y of a branch to the residual stream x.
func (blk *block) join(t *nn.Tape, x, y *nn.Var, weight *nn.Param) *nn.Var {
	return t.Add(x, scaled(t, blk.norm(t, y, weight, nil), blk.residualScale))
}

// block binds layer l, which rotates by rope.
func (b *binder) block(l int, rope *nn.Rope) *block {
	d, n := b.d, b.arch.Norms
	prefix := arch.InLayer(l, "")
	norm := func(name string) *nn.Param {
		if name == "" {
			return nil
		}
		return b.vector(prefix+name+".weight", d.Embedding)
	}
	blk := &block{
		layer:          l,
		attentionNorms: branchNorms{norm(n.Mixer), norm(n.MixerOut)},
		ffnNorms:       branchNorms{norm(n.FeedForward), norm(n.FeedForwardOut)},
		epsilon:        d.NormEpsilon,
		residualScale:  d.ResidualScale,
		attention:      b.attention(prefix, l, rope),
		ffn:            b.feedForward(prefix, l),
	}
	if d.Kinds[l].FeedForward == arch.DenseBesideExperts {
		blk.aside = b.expertFFN(prefix, l)
	}
	return blk
}
