package nn

import "qtool/internal/kernel/vector"

// Columns copies columns from to to-1 of x [tokens, n], such as one of several fused
// projections: [tokens, to-from].
func (t *Tape) Columns(x *Var, from, to int) *Var {
	y := t.newVar(x.Rows, to-from, x.needs) // [tokens, to-from]
	y.oneToken = x.oneToken
	o := newOp[columnsOp](t)
	*o = columnsOp{x: x, y: y, from: from}
	t.Pool.Do(rowParts(x.Rows), (*columnsForward)(o))
	t.record(y, o)
	return y
}

type columnsOp struct {
	x, y *Var
	from int
	dx   []float32
}

type columnsForward columnsOp

func (o *columnsForward) Do(_, part int) {
	from, to := rowsOf(part, o.x.Rows)
	for r := from; r < to; r++ {
		copy(o.y.Row(r), o.x.Row(r)[o.from:])
	}
}

func (o *columnsOp) backward(t *Tape) {
	if o.y.grad == nil {
		return
	}
	o.dx = t.gradOf(o.x)
	t.Pool.Do(rowParts(o.x.Rows), (*columnsBackward)(o))
}

type columnsBackward columnsOp

func (o *columnsBackward) Do(_, part int) {
	from, to := rowsOf(part, o.x.Rows)
	for r := from; r < to; r++ {
		vector.Axpy(o.dx[r*o.x.Cols+o.from:], 1, o.y.grad[r*o.y.Cols:(r+1)*o.y.Cols])
	}
}
