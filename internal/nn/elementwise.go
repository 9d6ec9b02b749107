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

// Add computes a + b, both [tokens, n], in the place of b: b must not be used
// afterwards, nor be what its own operator needs for its gradient.
func (t *Tape) Add(a, b *Var) *Var {
	y := t.vars.take()
	*y = Var{Rows: a.Rows, Cols: a.Cols, Data: b.Data, needs: a.needs || b.needs}
	o := t.steps.add.take()
	*o = addOp{a: a, b: b, y: y, dst: y.Data, src: a.Data}
	t.Pool.Do(rowParts(y.Rows), (*addRows)(o))
	t.record(y, o)
	return y
}

type addOp struct {
	a, b, y  *Var
	dst, src []float32 // what is added to what
}

type addRows addOp

func (o *addRows) Do(_, part int) {
	from, to := rowsOf(part, o.y.Rows)
	from, to = from*o.y.Cols, to*o.y.Cols
	kernel.Axpy(o.dst[from:to], 1, o.src[from:to])
}

func (o *addOp) backward(t *Tape) {
	if o.y.grad == nil {
		return
	}
	if da, add := t.gradToFill(o.a); add {
		o.dst, o.src = da, o.y.grad
		t.Pool.Do(rowParts(o.y.Rows), (*addRows)(o))
	} else {
		copy(da, o.y.grad)
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
	gate, up, y      *Var
	dg, du           []float32
	clearDG, clearDU bool // there is nothing in them yet
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
	dg, addDG := t.gradToFill(o.gate)
	du, addDU := t.gradToFill(o.up)
	m := t.floats.at
	if dg == nil {
		dg = t.floats.take(len(o.y.Data)) // computed along with the other
	}
	if du == nil {
		du = t.floats.take(len(o.y.Data))
	}
	o.dg, o.du, o.clearDG, o.clearDU = dg, du, !addDG, !addDU
	t.Pool.Do(rowParts(o.y.Rows), (*swigluBackward)(o))
	t.floats.release(m)
}

type swigluBackward swigluOp

func (o *swigluBackward) Do(_, part int) {
	from, to := rowsOf(part, o.y.Rows)
	from, to = from*o.y.Cols, to*o.y.Cols
	if o.clearDG {
		clear(o.dg[from:to])
	}
	if o.clearDU {
		clear(o.du[from:to])
	}
	kernel.SwiGLUBackward(o.dg[from:to], o.du[from:to], o.gate.Data[from:to], o.up.Data[from:to], o.y.grad[from:to])
}
