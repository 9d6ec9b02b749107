package nn

import "qtool/internal/kernel/vector"

// rowsPerTask keeps tasks of row-wise operators large enough to be worth handing out.
const rowsPerTask = 16

// rowParts is the number of parts that rows are worked on in.
func rowParts(rows int) int { return (rows + rowsPerTask - 1) / rowsPerTask }

// rowsOf is the range of rows of one part.
func rowsOf(part, rows int) (from, to int) {
	return part * rowsPerTask, min((part+1)*rowsPerTask, rows)
}

// Add computes a + b, both [tokens, n], in the place of b: b must not be used
// afterwards, nor be what its own operator needs for its gradient.
func (t *Tape) Add(a, b *Var) *Var {
	y := t.vars.take() // [tokens, n]
	*y = Var{Rows: a.Rows, Cols: a.Cols, Data: b.Data, needs: a.needs || b.needs}
	o := newOp[addOp](t)
	*o = addOp{a: a, b: b, y: y, dst: y.Data, src: a.Data}
	t.Pool.Do(rowParts(y.Rows), (*addRows)(o))
	t.record(y, o)
	return y
}

type addOp struct {
	a, b, y  *Var
	dst, src []float32 // what is added to what
	copied   bool      // there is nothing to add to yet
}

type addRows addOp

func (o *addRows) Do(_, part int) {
	from, to := rowsOf(part, o.y.Rows)
	from, to = from*o.y.Cols, to*o.y.Cols
	if o.copied {
		copy(o.dst[from:to], o.src[from:to])
		return
	}
	vector.Axpy(o.dst[from:to], 1, o.src[from:to])
}

func (o *addOp) backward(t *Tape) {
	if o.y.grad == nil {
		return
	}
	if da, add := t.gradToFill(o.a); da != nil {
		o.dst, o.src, o.copied = da, o.y.grad, !add
		t.Pool.Do(rowParts(o.y.Rows), (*addRows)(o))
	}
	t.giveGrad(o.b, o.y.grad)
}

// Scale computes x·s for x [tokens, n] in the place of x, which must not be used afterwards, nor be
// what its own operator needs for its gradient.
func (t *Tape) Scale(x *Var, s float32) *Var {
	y := t.vars.take() // [tokens, n]
	*y = Var{Rows: x.Rows, Cols: x.Cols, Data: x.Data, needs: x.needs}
	o := newOp[scaleOp](t)
	*o = scaleOp{x: x, y: y, s: s, data: y.Data}
	t.Pool.Do(rowParts(y.Rows), (*scaleRows)(o))
	t.record(y, o)
	return y
}

// ScaleEach computes x with each row i multiplied by s[i], in the place of x as
// [Tape.Scale] does. It keeps s.
func (t *Tape) ScaleEach(x *Var, s []float32) *Var {
	y := t.vars.take() // [tokens, n]
	*y = Var{Rows: x.Rows, Cols: x.Cols, Data: x.Data, needs: x.needs}
	o := newOp[scaleOp](t)
	*o = scaleOp{x: x, y: y, each: s, data: y.Data}
	t.Pool.Do(rowParts(y.Rows), (*scaleRows)(o))
	t.record(y, o)
	return y
}

type scaleOp struct {
	x, y *Var
	s    float32
	each []float32 // one for each row instead of s; nil: s for all rows
	data []float32 // what is scaled
}

type scaleRows scaleOp

func (o *scaleRows) Do(_, part int) {
	from, to := rowsOf(part, o.y.Rows)
	if o.each == nil {
		scale(o.data[from*o.y.Cols:to*o.y.Cols], o.s)
		return
	}
	for row := from; row < to; row++ {
		scale(o.data[row*o.y.Cols:(row+1)*o.y.Cols], o.each[row])
	}
}

func (o *scaleOp) backward(t *Tape) {
	if o.y.grad == nil {
		return
	}
	o.data = o.y.grad
	t.Pool.Do(rowParts(o.y.Rows), (*scaleRows)(o))
	t.giveGrad(o.x, o.y.grad)
}
