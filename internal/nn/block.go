package nn

// Block is a part of a model with one input and one output. Forward must give
// the same result each time and must not use any other Var that takes a gradient.
type Block interface {
	Forward(t *Tape, x *Var) *Var
	// BeginBackward is called before the backward pass comes to the block.
	BeginBackward(t *Tape)
}

// Block runs b on x. With recompute, nothing of what b computes in between is
// kept, and the backward pass runs b again; without, it is kept. Either way the
// gradients inside a block take memory only while its backward pass runs.
func (t *Tape) Block(x *Var, b Block, recompute bool) *Var {
	switch {
	case !t.recording:
		return b.Forward(t, x)
	case recompute:
		return t.forget(x, b)
	}
	first := len(t.ops)
	y := b.Forward(t, x)
	if len(t.ops) > first {
		o := newOp[blockOp](t)
		*o = blockOp{x: x, first: first, block: b}
		t.ops = append(t.ops, o)
	}
	return y
}

// blockOp follows the operators of a block, which begin at index first.
type blockOp struct {
	x     *Var
	first int
	block Block
}

func (o *blockOp) backward(t *Tape) {
	o.block.BeginBackward(t)
	t.gradOf(o.x) // outlives the block
	m := t.floats.at
	t.backwardTo(o.first)
	t.floats.release(m)
}

// forget computes b's output and gives back the memory of all else.
func (t *Tape) forget(x *Var, b Block) *Var {
	m := t.floats.at
	t.recording = false
	y := b.Forward(t, x)
	t.recording = true
	t.floats.release(m)
	// y lies in the memory that was given back, not before the place where it is moved to.
	out := t.newVar(y.Rows, y.Cols, y.needs) // as y
	copy(out.Data, y.Data)
	o := newOp[recomputeOp](t)
	*o = recomputeOp{x: x, out: out, block: b}
	t.record(out, o)
	return out
}

type recomputeOp struct {
	x, out *Var
	block  Block
}

func (o *recomputeOp) backward(t *Tape) {
	if o.out.grad == nil {
		return
	}
	o.block.BeginBackward(t)
	t.gradOf(o.x)
	m, first := t.floats.at, len(t.ops)
	y := o.block.Forward(t, o.x)
	y.grad = o.out.grad
	t.backwardTo(first)
	t.floats.release(m)
}
