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
	if l.Pair != nil {
		o.h = t.floats.zeros(x.Rows * l.Pair.Rank)
	}
	for e := range len(groups) - 1 {
		o.forward(t, e, int(groups[e]), int(groups[e+1]))
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

func (o *linearOp) forward(t *Tape, e, from, to int) {
	n := to - from
	if n == 0 {
		return
	}
	l := o.l
	x, y := o.x.Data[from*l.Cols:], o.y.Data[from*l.Rows:]
	if l.Bias != nil {
		bias := half(l.Bias.Data, e, 1, l.Rows)
		for r := range n {
			copy(y[r*l.Rows:(r+1)*l.Rows], bias)
		}
	}
	kernel.Forward(t.Pool, y, x, n, l.Expert[e])
	if p := l.Pair; p != nil {
		h := o.h[from*p.Rank : to*p.Rank]
		kernel.Forward(t.Pool, h, x, n, p.matrixA(e, l.Cols))
		scale(h, p.Scale)
		kernel.Forward(t.Pool, y, h, n, p.matrixB(e, l.Rows))
	}
}

func (o *linearOp) backward(t *Tape) {
	if o.y.grad == nil {
		return
	}
	dx := t.gradOf(o.x)
	for e := range len(o.groups) - 1 {
		if o.groups[e] < o.groups[e+1] {
			o.backwardExpert(t, dx, e, int(o.groups[e]), int(o.groups[e+1]))
		}
	}
}

func (o *linearOp) backwardExpert(t *Tape, dx []float32, e, from, to int) {
	l, n := o.l, to-from
	x, dy := o.x.Data[from*l.Cols:to*l.Cols], o.y.grad[from*l.Rows:to*l.Rows]
	if l.Bias.Trainable() {
		db := half(l.Bias.Grad, e, 1, l.Rows)
		for r := range n {
			add(db, dy[r*l.Rows:(r+1)*l.Rows])
		}
	}
	if dw := l.expertGrad(e); dw != nil {
		kernel.AddOuter(t.Pool, dw, dy, x, n, l.Rows, l.Cols)
	}
	if dx != nil {
		dx = dx[from*l.Cols : to*l.Cols]
		kernel.Backward(t.Pool, dx, dy, n, l.Expert[e])
	}
	if p := l.Pair; p != nil {
		m := t.floats.at
		dh := t.floats.zeros(n * p.Rank)
		p.backward(t, e, l, dx, dy, x, o.h[from*p.Rank:to*p.Rank], dh, n)
		t.floats.release(m)
	}
}

func (p *Pair) matrixA(e, in int) kernel.Matrix {
	return kernel.Float32Matrix(half(p.A.Data, e, p.Rank, in), p.Rank, in)
}

func (p *Pair) matrixB(e, out int) kernel.Matrix {
	return kernel.Float32Matrix(half(p.B.Data, e, out, p.Rank), out, p.Rank)
}

// backward adds the pair's gradients for n tokens. h is scale·x·Aᵀ; dh is zeroed
// scratch of the same shape; dx may be nil.
func (p *Pair) backward(t *Tape, e int, l *Linear, dx, dy, x, h, dh []float32, n int) {
	if p.B.Trainable() {
		kernel.AddOuter(t.Pool, half(p.B.Grad, e, l.Rows, p.Rank), dy, h, n, l.Rows, p.Rank)
	}
	kernel.Backward(t.Pool, dh, dy, n, p.matrixB(e, l.Rows))
	p.backwardA(t, e, l.Cols, dx, x, dh, n)
}

// backwardA finishes backward once dh = dy·B is known.
func (p *Pair) backwardA(t *Tape, e, in int, dx, x, dh []float32, n int) {
	scale(dh, p.Scale)
	if p.A.Trainable() {
		kernel.AddOuter(t.Pool, half(p.A.Grad, e, p.Rank, in), dh, x, n, p.Rank, in)
	}
	if dx != nil {
		kernel.Backward(t.Pool, dx, dh, n, p.matrixA(e, in))
	}
}

func scale(v []float32, s float32) {
	for i := range v {
		v[i] *= s
	}
}
