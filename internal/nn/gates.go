package nn

import "qtool/internal/kernel/vector"

// SigmoidGate multiplies row r of y [tokens, n] with the sigmoid of gate r of
// gate [tokens, 1].
func (t *Tape) SigmoidGate(y, gate *Var) *Var {
	out := t.newVar(y.Rows, y.Cols, y.needs || gate.needs) // [tokens, n]
	o := newOp[sigmoidGateOp](t)
	*o = sigmoidGateOp{y: y, gate: gate, out: out}
	for r, z := range gate.Data {
		row := out.Row(r)
		clear(row)
		vector.Axpy(row, sigmoid(z), y.Row(r))
	}
	t.record(out, o)
	return out
}

type sigmoidGateOp struct{ y, gate, out *Var }

// backward: dy = σ·dout, dgate = σ·(1-σ)·Σ y·dout.
func (o *sigmoidGateOp) backward(t *Tape) {
	if o.out.grad == nil {
		return
	}
	dy, dgate := t.gradOf(o.y), t.gradOf(o.gate)
	n := o.y.Cols
	for r, z := range o.gate.Data {
		s, g := sigmoid(z), o.out.grad[r*n:(r+1)*n]
		if dy != nil {
			vector.Axpy(dy[r*n:(r+1)*n], s, g)
		}
		if dgate != nil {
			dgate[r] += s * (1 - s) * vector.Dot(g, o.y.Row(r))
		}
	}
}
