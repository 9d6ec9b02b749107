package model

import "qtool/internal/nn"

// block is the layers that a pass goes through at once, and computes again with
// checkpointing: one, or two where something is computed aside of the first.
type block struct{ layers []*layer }

func (blk *block) forward(t *nn.Tape, x *nn.Var, b *Batch) *nn.Var {
	var aside *nn.Var // [tokens, embedding]
	for _, l := range blk.layers {
		var y *nn.Var // [tokens, embedding]
		if x, y = l.forward(t, x, b); y != nil {
			aside = y
		}
	}
	if aside == nil {
		return x
	}
	return t.Add(x, aside)
}

// open reports whether a further layer belongs to the block.
func (blk *block) open() bool { return len(blk.layers) == 1 && blk.layers[0].aside != nil }

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
