package nn

// Columns copies columns from to to-1 of x: one part of a fused projection.
func (t *Tape) Columns(x *Var, from, to int) *Var {
	y := t.newVar(x.Rows, to-from, x.needs)
	for r := range x.Rows {
		copy(y.Row(r), x.Row(r)[from:to])
	}
	o := t.steps.columns.take()
	*o = columnsOp{x, y, from}
	t.record(y, o)
	return y
}

type columnsOp struct {
	x, y *Var
	from int
}

func (o *columnsOp) backward(t *Tape) {
	if o.y.grad == nil {
		return
	}
	dx := t.gradOf(o.x)
	for r := range o.x.Rows {
		add(dx[r*o.x.Cols+o.from:], o.y.grad[r*o.y.Cols:(r+1)*o.y.Cols])
	}
}
