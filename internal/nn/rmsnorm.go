package nn

import "math"

// RMSNorm computes x·w/sqrt(mean(x²)+eps) over each run of len(w) elements of a
// row: the whole row, or one head of it.
func (t *Tape) RMSNorm(x *Var, w *Param, eps float32) *Var {
	y := t.newVar(x.Rows, x.Cols, x.needs || w.Trainable())
	o := t.steps.rmsNorm.take()
	*o = rmsNormOp{x: x, y: y, w: w, eps: eps, inv: t.floats.take(len(x.Data) / len(w.Data))}
	t.Pool.Do(rowParts(x.Rows), (*rmsNormForward)(o))
	t.record(y, o)
	return y
}

type rmsNormOp struct {
	x, y *Var
	w    *Param
	eps  float32
	inv  []float32 // 1/sqrt(mean(x²)+eps) of each run
	dx   []float32
}

// runs is the range of runs in one part.
func (o *rmsNormOp) runs(part int) (from, to int) {
	from, to = rowsOf(part, o.x.Rows)
	perRow := o.x.Cols / len(o.w.Data)
	return from * perRow, to * perRow
}

type rmsNormForward rmsNormOp

func (o *rmsNormForward) Do(_, part int) {
	from, to := (*rmsNormOp)(o).runs(part)
	n := len(o.w.Data)
	for i := from; i < to; i++ {
		in, out := o.x.Data[i*n:(i+1)*n], o.y.Data[i*n:(i+1)*n]
		var sum float64
		for _, v := range in {
			sum += float64(v) * float64(v)
		}
		s := float32(1 / math.Sqrt(sum/float64(n)+float64(o.eps)))
		o.inv[i] = s
		for k, v := range in {
			out[k] = v * s * o.w.Data[k]
		}
	}
}

// backward: with g = dy·w and s = 1/rms, dx = s·g - x·s³/n·Σ g·x, dw = Σ dy·x·s.
func (o *rmsNormOp) backward(t *Tape) {
	if o.y.grad == nil {
		return
	}
	if o.dx = t.gradOf(o.x); o.dx != nil {
		t.Pool.Do(rowParts(o.x.Rows), (*rmsNormBackward)(o))
	}
	n := len(o.w.Data)
	if dw := o.w.Grad; dw != nil {
		for i, s := range o.inv {
			x, dy := o.x.Data[i*n:(i+1)*n], o.y.grad[i*n:(i+1)*n]
			for k, v := range x {
				dw[k] += dy[k] * v * s
			}
		}
	}
}

type rmsNormBackward rmsNormOp

func (o *rmsNormBackward) Do(_, part int) {
	from, to := (*rmsNormOp)(o).runs(part)
	n := len(o.w.Data)
	for i := from; i < to; i++ {
		x, dy, d := o.x.Data[i*n:(i+1)*n], o.y.grad[i*n:(i+1)*n], o.dx[i*n:(i+1)*n]
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
}
