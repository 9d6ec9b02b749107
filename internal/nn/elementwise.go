package nn

import "qtool/internal/kernel"

// rowsPerTask keeps tasks of row-wise operators large enough to be worth handing out.
const rowsPerTask = 16

// rowParts is the number of parts that rows are worked on in.
func rowParts(rows int) int { return (rows + rowsPerTask - 1) / rowsPerTask }

// rowsOf is the range of rows of one part.
func rowsOf(part, rows int) (from, to int) {
	return part * rowsPerTask, min((part+1)*rowsPerTask, rows)
}

// Add computes a + b, both [tokens, n].
func (t *Tape) Add(a, b *Var) *Var {
	y := t.newVar(a.Rows, a.Cols, a.needs || b.needs)
	for i, v := range a.Data {
		y.Data[i] = v + b.Data[i]
	}
	o := t.steps.add.take()
	*o = addOp{a, b, y}
	t.record(y, o)
	return y
}

type addOp struct{ a, b, y *Var }

func (o *addOp) backward(t *Tape) {
	if o.y.grad == nil {
		return
	}
	if da := t.gradOf(o.a); da != nil {
		add(da, o.y.grad)
	}
	t.giveGrad(o.b, o.y.grad)
}

// SwiGLU computes silu(gate)·up elementwise, silu(x) = x/(1+exp(-x)).
func (t *Tape) SwiGLU(gate, up *Var) *Var {
	y := t.newVar(gate.Rows, gate.Cols, gate.needs || up.needs)
	o := t.steps.swiglu.take()
	*o = swigluOp{gate: gate, up: up, y: y}
	t.Pool.Do(rowParts(y.Rows), (*swigluForward)(o))
	t.record(y, o)
	return y
}

type swigluOp struct {
	gate, up, y *Var
	dg, du      []float32
}

type swigluForward swigluOp

func (o *swigluForward) Do(_, part int) {
	from, to := rowsOf(part, o.y.Rows)
	from, to = from*o.y.Cols, to*o.y.Cols
	kernel.SwiGLU(o.y.Data[from:to], o.gate.Data[from:to], o.up.Data[from:to])
}

func (o *swigluOp) backward(t *Tape) {
	if o.y.grad == nil {
		return
	}
	o.dg, o.du = t.gradOf(o.gate), t.gradOf(o.up)
	m := t.floats.at
	if o.dg == nil {
		o.dg = t.floats.take(len(o.y.Data)) // computed along with the other
	}
	if o.du == nil {
		o.du = t.floats.take(len(o.y.Data))
	}
	t.Pool.Do(rowParts(o.y.Rows), (*swigluBackward)(o))
	t.floats.release(m)
}

type swigluBackward swigluOp

func (o *swigluBackward) Do(_, part int) {
	from, to := rowsOf(part, o.y.Rows)
	from, to = from*o.y.Cols, to*o.y.Cols
	kernel.SwiGLUBackward(o.dg[from:to], o.du[from:to], o.gate.Data[from:to], o.up.Data[from:to], o.y.grad[from:to])
}
