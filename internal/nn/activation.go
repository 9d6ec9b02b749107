package nn

import (
	"math"

	"qtool/internal/kernel/vector"
)

// Activation joins gate and up of a gated network, element by element.
type Activation struct {
	Forward func(y, gate, up []float32)
	// Backward stores the gradients of gate and up, given dy.
	Backward func(dgate, dup, gate, up, dy []float32)
	// Inferred stands for Forward where no gradients will be asked for; nil: the same.
	Inferred func(y, gate, up []float32)
}

// forwardOf is what a computes here.
func (t *Tape) forwardOf(a *Activation) func(y, gate, up []float32) {
	if a.Inferred != nil && !t.training {
		return a.Inferred
	}
	return a.Forward
}

var (
	// SwiGLU is silu(gate)·up, silu(x) = x/(1+exp(-x)).
	SwiGLU = Activation{Forward: vector.SwiGLU, Backward: vector.SwiGLUBackward}
	// GeGLU is gelu(gate)·up, gelu in its tanh form: as [vector.RoundedGeGLU], or
	// [vector.GeGLU] if gradients will be asked for.
	GeGLU = Activation{Forward: vector.GeGLU, Backward: vector.GeGLUBackward, Inferred: vector.RoundedGeGLU}
	// ClampedSwiGLU is g·sigmoid(1.702·g)·(u+1) for g = min(gate, 7) and u = up
	// bounded to ±7: the activation of gpt-oss.
	ClampedSwiGLU = Activation{Forward: clampedForward, Backward: clampedBackward}
)

// The constants of gpt-oss's activation.
const (
	clampedLimit = 7
	clampedSlope = 1.702
)

// clamped is g bounded, u bounded and plus 1, and sigmoid(1.702·g).
func clamped(gate, up float32) (g, u, s float32) {
	g = min(gate, clampedLimit)
	u = min(max(up, -clampedLimit), clampedLimit) + 1
	return g, u, float32(1 / (1 + math.Exp(-clampedSlope*float64(g))))
}

func clampedForward(y, gate, up []float32) {
	for i := range y {
		g, u, s := clamped(gate[i], up[i])
		y[i] = g * s * u
	}
}

// clampedBackward: dgate = dy·(s + 1.702·g·s·(1-s))·u and dup = dy·g·s, each 0 where
// it was bounded.
func clampedBackward(dgate, dup, gate, up, dy []float32) {
	for i, d := range dy {
		g, u, s := clamped(gate[i], up[i])
		dgate[i], dup[i] = 0, 0
		if gate[i] < clampedLimit {
			dgate[i] = d * (s + clampedSlope*g*s*(1-s)) * u
		}
		if up[i] > -clampedLimit && up[i] < clampedLimit {
			dup[i] = d * g * s
		}
	}
}

// Gated computes a(gate, up) for gate and up [rows, n]: [rows, n].
func (t *Tape) Gated(gate, up *Var, a Activation) *Var {
	y := t.newVar(gate.Rows, gate.Cols, gate.needs || up.needs) // [rows, n]
	y.oneToken = gate.oneToken
	o := newOp[gatedOp](t)
	*o = gatedOp{t: t, gate: gate, up: up, y: y, activation: a}
	t.Pool.Do(rowParts(y.Rows), (*gatedForward)(o))
	t.record(y, o)
	return y
}

type gatedOp struct {
	t            *Tape
	gate, up, y  *Var
	activation   Activation
	dg, du       []float32 // [rows, n]
	addDG, addDU bool      // to what is there
}

type gatedForward gatedOp

func (o *gatedForward) Do(_, part int) {
	from, to := rowsOf(part, o.y.Rows)
	from, to = from*o.y.Cols, to*o.y.Cols
	o.t.forwardOf(&o.activation)(o.y.Data[from:to], o.gate.Data[from:to], o.up.Data[from:to])
}

func (o *gatedOp) backward(t *Tape) {
	if o.y.grad == nil {
		return
	}
	o.takeGradients(t)
	o.passBack(t)
}

// takeGradients takes memory for the gradients of gate and up.
func (o *gatedOp) takeGradients(t *Tape) {
	o.dg, o.addDG = t.gradToFill(o.gate)
	o.du, o.addDU = t.gradToFill(o.up)
}

// passBack computes them from that of y.
func (o *gatedOp) passBack(t *Tape) {
	m := t.floats.at
	if o.dg == nil {
		o.dg = t.floats.take(len(o.y.Data)) // computed along with the other
	}
	if o.du == nil {
		o.du = t.floats.take(len(o.y.Data))
	}
	t.Pool.Do(rowParts(o.y.Rows), (*gatedBackward)(o))
	t.floats.release(m)
}

type gatedBackward gatedOp

func (o *gatedBackward) Do(worker, part int) {
	from, to := rowsOf(part, o.y.Rows)
	n := o.y.Cols
	for at := from * n; at < to*n; at += n {
		dg, du := o.dg[at:at+n], o.du[at:at+n]
		toDG, toDU := dg, du
		if o.addDG || o.addDU {
			s := o.t.workerScratch(worker, 2*n)
			if o.addDG {
				dg = s[:n]
			}
			if o.addDU {
				du = s[n:]
			}
		}
		o.activation.Backward(dg, du, o.gate.Data[at:at+n], o.up.Data[at:at+n], o.y.grad[at:at+n])
		if o.addDG {
			vector.Axpy(toDG, 1, dg)
		}
		if o.addDU {
			vector.Axpy(toDU, 1, du)
		}
	}
}
