package nn

import "qtool/internal/kernel/product"

// FeedForward computes down·a(gate·x, up·x) for x [tokens, n]: [tokens, n].
func (t *Tape) FeedForward(x *Var, gate, up, down *Linear, a Activation) *Var {
	return t.ExpertFeedForward(x, t.oneGroup(x), gate, up, down, a)
}

// ExpertFeedForward is FeedForward with rows grouped by expert; see [Tape.ExpertLinears].
//
// Where the products round their factors to bfloat16, what they make of x is
// not kept: the activation's result is rounded at once, and so are, for the backward
// pass, gate·x and up·x, and their gradients there. In float32 only these are kept, and
// the activation's result, which down's pair needs once more, is computed again.
func (t *Tape) ExpertFeedForward(x *Var, groups []int32, gate, up, down *Linear, a Activation) *Var {
	if x.Rows > 1 && !x.oneToken && gate.Rows%2 == 0 && t.rounds(gate) && t.rounds(up) && t.rounds(down) {
		h := t.roundedGated(x, groups, gate, up, a)
		return t.ExpertLinears(h, groups, down)[0]
	}
	y := t.ExpertLinears(x, groups, gate, up)
	if t.recording && t.Observe == nil {
		return t.gatedDown(y[0], y[1], groups, down, a)
	}
	return t.ExpertLinears(t.Gated(y[0], y[1], a), groups, down)[0]
}

// gatedDown is down·a(gate, up), of which only the result is kept.
func (t *Tape) gatedDown(gate, up *Var, groups []int32, down *Linear, a Activation) *Var {
	h := t.vars.take() // [rows, width]
	*h = Var{Rows: gate.Rows, Cols: gate.Cols, needs: gate.needs || up.needs, oneToken: gate.oneToken}
	o := newOp[gatedDownOp](t)
	o.gated, o.down = gatedOp{t: t, gate: gate, up: up, y: h, activation: a}, newOp[linearOp](t)
	o.down.begin(t, h, groups, down)
	needs := o.down.makeResults(t)
	m := t.floats.at
	h.Data = t.floats.take(h.Rows * h.Cols)
	o.activate(t)
	o.down.forward(t)
	t.floats.release(m)
	h.Data = nil
	if needs {
		t.ops = append(t.ops, o)
	}
	return o.down.y[0]
}

// gatedDownOp is [gatedOp] and the projection of its result, which is not kept.
type gatedDownOp struct {
	gated gatedOp
	down  *linearOp
}

// activate computes the result of gated.
func (o *gatedDownOp) activate(t *Tape) {
	t.Pool.Do(rowParts(o.gated.y.Rows), (*gatedForward)(&o.gated))
}

func (o *gatedDownOp) backward(t *Tape) {
	if o.down.y[0].grad == nil {
		return
	}
	h := o.gated.y
	if h.needs {
		o.gated.takeGradients(t)
	}
	m := t.floats.at
	h.Data = t.floats.take(h.Rows * h.Cols)
	if o.down.projections[0].l.trainable() { // else nothing is made of it
		o.activate(t)
	}
	o.down.backward(t)
	if h.needs {
		o.gated.passBack(t)
	}
	t.floats.release(m)
	h.Data, h.grad = nil, nil
}

// rounds reports whether all that l multiplies is rounded to bfloat16.
func (t *Tape) rounds(l *Linear) bool {
	return t.Pool.Rounds() && t.Observe == nil && l.Expert[0].Encoded() && !l.Bias.Trainable()
}

// keepsRounded reports whether what all readers multiply may be kept rounded.
func (t *Tape) keepsRounded(readers []*Linear, rows, cols int) bool {
	rounded := len(readers) > 0 && rows > 1 && cols%2 == 0
	for _, l := range readers {
		rounded = rounded && t.rounds(l)
	}
	return rounded
}

func (t *Tape) roundedGated(x *Var, groups []int32, gate, up *Linear, a Activation) *Var {
	rows, n := x.Rows, gate.Rows
	needs := x.needs || gate.trainable() || up.trainable()
	y := t.roundedVar(rows, n, needs) // [rows, width], as gate and up
	o, l := newOp[roundedGatedOp](t), newOp[linearOp](t)
	*o = roundedGatedOp{t: t, linear: l, y: y, activation: a}
	recorded := t.recording && needs
	if recorded {
		o.gate, o.up = t.roundedVar(rows, n, needs), t.roundedVar(rows, n, needs) // [rows, width]
	}
	l.begin(t, x, groups, gate, up)
	m := t.floats.at
	l.makeResults(t)
	l.forward(t)
	t.Pool.Do(rowParts(rows), (*roundedGatedForward)(o))
	t.floats.release(m)
	if recorded {
		l.projections[0].y, l.projections[1].y = o.gate, o.up
		t.ops = append(t.ops, l, o)
	}
	return y
}

// roundedGatedOp is [gatedOp] over the projections of linear, of which only what is
// rounded is kept.
type roundedGatedOp struct {
	t           *Tape
	linear      *linearOp
	gate, up, y *Var // gate and up are nil in a pass that is not recorded
	activation  Activation
}

// roundedColumns is how many columns are worked on at once, so that they stay in the L1
// cache in between.
const roundedColumns = 1024

// columns yields the parts of the rows of one task, as ranges of elements.
func (o *roundedGatedOp) columns(part int) func(yield func(from, to int) bool) {
	first, last := rowsOf(part, o.y.Rows)
	n := o.y.Cols
	return func(yield func(from, to int) bool) {
		for at := first * n; at < last*n; at += n {
			for c := 0; c < n; c += roundedColumns {
				if !yield(at+c, at+min(c+roundedColumns, n)) {
					return
				}
			}
		}
	}
}

type roundedGatedForward roundedGatedOp

func (f *roundedGatedForward) Do(worker, part int) {
	o := (*roundedGatedOp)(f)
	gate, up := o.linear.projections[0].y.Data, o.linear.projections[1].y.Data
	s, forward := o.t.workerScratch(worker, roundedColumns), o.t.forwardOf(&o.activation)
	for from, to := range o.columns(part) {
		y := s[:to-from]
		forward(y, gate[from:to], up[from:to])
		product.Round(o.y.Data[from/2:to/2], y)
		if o.gate != nil {
			product.Round(o.gate.Data[from/2:to/2], gate[from:to])
			product.Round(o.up.Data[from/2:to/2], up[from:to])
		}
	}
}

func (o *roundedGatedOp) backward(t *Tape) {
	if o.y.grad == nil {
		return
	}
	o.gate.grad = t.floats.take(len(o.gate.Data))
	o.up.grad = t.floats.take(len(o.up.Data))
	t.Pool.Do(rowParts(o.y.Rows), (*roundedGatedBackward)(o))
}

type roundedGatedBackward roundedGatedOp

func (b *roundedGatedBackward) Do(worker, part int) {
	o := (*roundedGatedOp)(b)
	s := o.t.workerScratch(worker, 4*roundedColumns)
	for from, to := range o.columns(part) {
		var v [4][]float32 // gate, up and their gradients
		for i := range v {
			v[i] = s[i*roundedColumns:][:to-from]
		}
		product.Unround(v[0], o.gate.Data[from/2:to/2])
		product.Unround(v[1], o.up.Data[from/2:to/2])
		o.activation.Backward(v[2], v[3], v[0], v[1], o.y.grad[from:to])
		product.Round(o.gate.grad[from/2:to/2], v[2])
		product.Round(o.up.grad[from/2:to/2], v[3])
	}
}
