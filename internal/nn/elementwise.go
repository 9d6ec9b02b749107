package nn

import "math"

// rowsPerTask keeps tasks of row-wise operators large enough to be worth handing out.
const rowsPerTask = 16

// eachRow calls f for every row, spread over the pool.
func (t *Tape) eachRow(rows int, f func(r int)) {
	t.Pool.Run((rows+rowsPerTask-1)/rowsPerTask, func(_, task int) {
		for r := task * rowsPerTask; r < min((task+1)*rowsPerTask, rows); r++ {
			f(r)
		}
	})
}

// Add computes a + b, both [tokens, n].
func (t *Tape) Add(a, b *Var) *Var {
	y := t.newVar(a.Rows, a.Cols, a.needs || b.needs)
	for i, v := range a.Data {
		y.Data[i] = v + b.Data[i]
	}
	t.record(y, &addOp{a, b, y})
	return y
}

type addOp struct{ a, b, y *Var }

func (o *addOp) backward(t *Tape) {
	if o.y.grad == nil {
		return
	}
	for _, v := range [2]*Var{o.a, o.b} {
		if g := t.gradOf(v); g != nil {
			add(g, o.y.grad)
		}
	}
}

// SwiGLU computes silu(gate)·up elementwise, silu(x) = x/(1+exp(-x)).
func (t *Tape) SwiGLU(gate, up *Var) *Var {
	y := t.newVar(gate.Rows, gate.Cols, gate.needs || up.needs)
	t.eachRow(y.Rows, func(r int) {
		g, u, out := gate.Row(r), up.Row(r), y.Row(r)
		for i, x := range g {
			out[i] = x * sigmoid(x) * u[i]
		}
	})
	t.record(y, &swigluOp{gate, up, y})
	return y
}

type swigluOp struct{ gate, up, y *Var }

func (o *swigluOp) backward(t *Tape) {
	if o.y.grad == nil {
		return
	}
	dg, du := t.gradOf(o.gate), t.gradOf(o.up)
	n := o.y.Cols
	t.eachRow(o.y.Rows, func(r int) {
		for i := r * n; i < (r+1)*n; i++ {
			x, dy := o.gate.Data[i], o.y.grad[i]
			s := sigmoid(x)
			if du != nil {
				du[i] += dy * x * s
			}
			if dg != nil {
				dg[i] += dy * o.up.Data[i] * s * (1 + x*(1-s))
			}
		}
	})
}

func sigmoid(x float32) float32 { return float32(1 / (1 + math.Exp(-float64(x)))) }

// RMSNorm computes x·w/sqrt(mean(x²)+eps) over each run of len(w) elements of a
// row: the whole row, or one head of it.
func (t *Tape) RMSNorm(x *Var, w *Param, eps float32) *Var {
	n := len(w.Data)
	y := t.newVar(x.Rows, x.Cols, x.needs || w.Trainable())
	inv := t.arena.Floats(len(x.Data) / n)
	t.eachRow(x.Rows, func(r int) {
		for i := r * x.Cols / n; i < (r+1)*x.Cols/n; i++ {
			in, out := x.Data[i*n:(i+1)*n], y.Data[i*n:(i+1)*n]
			var sum float64
			for _, v := range in {
				sum += float64(v) * float64(v)
			}
			s := float32(1 / math.Sqrt(sum/float64(n)+float64(eps)))
			inv[i] = s
			for k, v := range in {
				out[k] = v * s * w.Data[k]
			}
		}
	})
	t.record(y, &rmsNormOp{x, y, w, inv})
	return y
}

type rmsNormOp struct {
	x, y *Var
	w    *Param
	inv  []float32 // 1/sqrt(mean(x²)+eps) of each run
}

// backward: with g = dy·w and s = 1/rms, dx = s·g - x·s³/n·Σ g·x, dw = Σ dy·x·s.
func (o *rmsNormOp) backward(t *Tape) {
	if o.y.grad == nil {
		return
	}
	n := len(o.w.Data)
	if dx := t.gradOf(o.x); dx != nil {
		t.eachRow(o.x.Rows, func(r int) {
			for i := r * o.x.Cols / n; i < (r+1)*o.x.Cols/n; i++ {
				x, dy, d := o.x.Data[i*n:(i+1)*n], o.y.grad[i*n:(i+1)*n], dx[i*n:(i+1)*n]
				var dot float64
				for k, v := range x {
					dot += float64(dy[k]) * float64(o.w.Data[k]) * float64(v)
				}
				s := o.inv[i]
				c := float32(dot * float64(s) * float64(s) * float64(s) / float64(n))
				for k, v := range x {
					d[k] += s*dy[k]*o.w.Data[k] - c*v
				}
			}
		})
	}
	if dw := o.w.Grad; dw != nil {
		for i, s := range o.inv {
			x, dy := o.x.Data[i*n:(i+1)*n], o.y.grad[i*n:(i+1)*n]
			for k, v := range x {
				dw[k] += dy[k] * v * s
			}
		}
	}
}
