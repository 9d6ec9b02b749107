package nn

import (
	"math"

	"qtool/internal/kernel"
)

// SigmoidGate multiplies row r of y [tokens, n] with the sigmoid of gate r of
// gate [tokens, 1].
func (t *Tape) SigmoidGate(y, gate *Var) *Var {
	out := t.newVar(y.Rows, y.Cols, y.needs || gate.needs)
	o := t.steps.sigmoidGate.take()
	*o = sigmoidGateOp{y: y, gate: gate, out: out}
	for r, z := range gate.Data {
		row := out.Row(r)
		clear(row)
		kernel.Axpy(row, sigmoid(z), y.Row(r))
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
			kernel.Axpy(dy[r*n:(r+1)*n], s, g)
		}
		if dgate != nil {
			dgate[r] += s * (1 - s) * kernel.Dot(g, o.y.Row(r))
		}
	}
}

// The constants of gpt-oss's activation.
const (
	clampedSwiGLULimit = 7
	clampedSwiGLUSlope = 1.702
)

// ClampedSwiGLU computes g·sigmoid(1.702·g)·(u+1) elementwise for g = min(gate, 7)
// and u = up bounded to ±7: the activation of gpt-oss.
func (t *Tape) ClampedSwiGLU(gate, up *Var) *Var {
	y := t.newVar(gate.Rows, gate.Cols, gate.needs || up.needs)
	o := t.steps.clampedSwiGLU.take()
	*o = clampedSwiGLUOp{gate: gate, up: up, y: y}
	t.Pool.Do(rowParts(y.Rows), (*clampedSwiGLUForward)(o))
	t.record(y, o)
	return y
}

type clampedSwiGLUOp struct {
	gate, up, y *Var
	dg, du      []float32 // each may be nil
}

// clampedSwiGLU is g bounded, u bounded and plus 1, and sigmoid(1.702·g).
func clampedSwiGLU(gate, up float32) (g, u, s float32) {
	g = min(gate, clampedSwiGLULimit)
	u = min(max(up, -clampedSwiGLULimit), clampedSwiGLULimit) + 1
	return g, u, float32(1 / (1 + math.Exp(-clampedSwiGLUSlope*float64(g))))
}

type clampedSwiGLUForward clampedSwiGLUOp

func (o *clampedSwiGLUForward) Do(_, part int) {
	from, to := rowsOf(part, o.y.Rows)
	for i := from * o.y.Cols; i < to*o.y.Cols; i++ {
		g, u, s := clampedSwiGLU(o.gate.Data[i], o.up.Data[i])
		o.y.Data[i] = g * s * u
	}
}

func (o *clampedSwiGLUOp) backward(t *Tape) {
	if o.y.grad == nil {
		return
	}
	o.dg, o.du = t.gradOf(o.gate), t.gradOf(o.up)
	t.Pool.Do(rowParts(o.y.Rows), (*clampedSwiGLUBackward)(o))
}

type clampedSwiGLUBackward clampedSwiGLUOp

// Do adds dgate = dy·(s + 1.702·g·s·(1-s))·u and dup = dy·g·s, each 0 where it
// was bounded.
func (o *clampedSwiGLUBackward) Do(_, part int) {
	from, to := rowsOf(part, o.y.Rows)
	for i := from * o.y.Cols; i < to*o.y.Cols; i++ {
		gate, up, dy := o.gate.Data[i], o.up.Data[i], o.y.grad[i]
		g, u, s := clampedSwiGLU(gate, up)
		if o.dg != nil && gate < clampedSwiGLULimit {
			o.dg[i] += dy * (s + clampedSwiGLUSlope*g*s*(1-s)) * u
		}
		if o.du != nil && up > -clampedSwiGLULimit && up < clampedSwiGLULimit {
			o.du[i] += dy * g * s
		}
	}
}
