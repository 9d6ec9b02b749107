package nn

import "qtool/internal/kernel"

// Linear computes y = x·Wᵀ + bias + scale·(x·Aᵀ)·Bᵀ for x [tokens, in],
// giving [tokens, out].
func (t *Tape) Linear(x *Var, l *Linear) *Var {
	groups := t.ints.take(2)
	groups[0], groups[1] = 0, int32(x.Rows)
	return t.ExpertLinear(x, l, groups)
}

// ExpertLinear is Linear with rows grouped by expert: rows groups[e] to
// groups[e+1]-1 are multiplied with expert e. Experts without rows are not touched.
func (t *Tape) ExpertLinear(x *Var, l *Linear, groups []int32) *Var {
	y := t.zeroVar(x.Rows, l.Rows, x.needs || l.trainable())
	o := t.steps.linear.take()
	*o = linearOp{x: x, y: y, l: l, groups: groups}
	if b := l.Bias; b != nil {
		for e := range len(groups) - 1 {
			for r := int(groups[e]); r < int(groups[e+1]); r++ {
				copy(y.Row(r), half(b.Data, e, 1, l.Rows))
			}
		}
	}
	if x.Rows == 1 && l.Experts == 1 && !t.recording {
		kernel.MatVec(t.Pool, y.Data, x.Data, l.Expert[0])
	} else {
		kernel.ForwardGroups(t.Pool, y.Data, x.Data, groups, l.Expert)
	}
	if p := l.Pair; p != nil {
		p.view(l.Weight)
		o.h = t.floats.zeros(x.Rows * p.Rank)
		kernel.ForwardGroups(t.Pool, o.h, x.Data, groups, p.a)
		scale(o.h, p.Scale)
		kernel.ForwardGroups(t.Pool, y.Data, o.h, groups, p.b)
	}
	t.record(y, o)
	return y
}

type linearOp struct {
	x, y   *Var
	l      *Linear
	groups []int32
	h      []float32 // scale·x·Aᵀ, [tokens, rank]
}

func (o *linearOp) backward(t *Tape) {
	if o.y.grad == nil {
		return
	}
	l, x, dy, dx := o.l, o.x.Data, o.y.grad, t.gradOf(o.x)
	if l.Bias.Trainable() {
		for e := range len(o.groups) - 1 {
			for r := int(o.groups[e]); r < int(o.groups[e+1]); r++ {
				add(half(l.Bias.Grad, e, 1, l.Rows), dy[r*l.Rows:(r+1)*l.Rows])
			}
		}
	}
	if l.Weight.trainable() {
		kernel.AddOuterGroups(t.Pool, l.Param.Grad, dy, x, o.groups, l.Rows, l.Cols)
	}
	if dx != nil {
		kernel.BackwardGroups(t.Pool, dx, dy, o.groups, l.Expert)
	}
	if p := l.Pair; p != nil {
		m := t.floats.at
		dh := t.floats.zeros(len(o.h))
		if p.B.Trainable() {
			kernel.AddOuterGroups(t.Pool, p.B.Grad, dy, o.h, o.groups, l.Rows, p.Rank)
		}
		kernel.BackwardGroups(t.Pool, dh, dy, o.groups, p.b)
		p.backwardA(t, dx, x, dh, o.groups, l.Cols)
		t.floats.release(m)
	}
}

// backwardA finishes the pair's backward pass once dh = dy·B is known. dx may be
// nil.
func (p *Pair) backwardA(t *Tape, dx, x, dh []float32, groups []int32, in int) {
	scale(dh, p.Scale)
	if p.A.Trainable() {
		kernel.AddOuterGroups(t.Pool, p.A.Grad, dh, x, groups, p.Rank, in)
	}
	if dx != nil {
		kernel.BackwardGroups(t.Pool, dx, dh, groups, p.a)
	}
}

func scale(v []float32, s float32) {
	for i := range v {
		v[i] *= s
	}
}
