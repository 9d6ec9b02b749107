package nn

import (
	"math"

	"qtool/internal/kernel/product"
	"qtool/internal/kernel/vector"
)

// RMSNorm computes x·w/sqrt(mean(x²)+eps) for x [tokens, n] over each run of len(w)
// elements of a row, the whole row or one head of it: [tokens, n].
func (t *Tape) RMSNorm(x *Var, w *Param, eps float32) *Var {
	return t.rmsNorm(x, t.newVar(x.Rows, x.Cols, x.needs || w.Trainable()), w, eps) // [tokens, n]
}

// RMSNormFor is RMSNorm over whole rows for a result that nothing but readers are
// multiplied with: it is kept in bfloat16 where they would round it.
func (t *Tape) RMSNormFor(readers []*Linear, x *Var, w *Param, eps float32) *Var {
	if !t.keepsRounded(readers, x.Rows, x.Cols) {
		return t.RMSNorm(x, w, eps)
	}
	return t.rmsNorm(x, t.roundedVar(x.Rows, x.Cols, x.needs || w.Trainable()), w, eps) // [tokens, n]
}

func (t *Tape) rmsNorm(x, y *Var, w *Param, eps float32) *Var {
	o := newOp[rmsNormOp](t)
	*o = rmsNormOp{t: t, x: x, y: y, w: w, eps: eps, inv: t.floats.take(len(x.Data) / len(w.Data))}
	t.Pool.Do(rowParts(x.Rows), (*rmsNormForward)(o))
	t.record(y, o)
	return y
}

type rmsNormOp struct {
	t    *Tape
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

func (o *rmsNormForward) Do(worker, part int) {
	from, to := (*rmsNormOp)(o).runs(part)
	n := len(o.w.Data)
	for i := from; i < to; i++ {
		in := o.x.Data[i*n : (i+1)*n]
		s := float32(1 / math.Sqrt(vector.Dot64(in, in)/float64(n)+float64(o.eps)))
		o.inv[i] = s
		if o.y.rounded {
			out := o.t.workerScratch(worker, n)
			vector.Scale(out, in, s, o.w.Data)
			product.Round(o.y.Data[i*n/2:(i+1)*n/2], out)
			continue
		}
		vector.Scale(o.y.Data[i*n:(i+1)*n], in, s, o.w.Data)
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

func (o *rmsNormBackward) Do(worker, part int) {
	from, to := (*rmsNormOp)(o).runs(part)
	n := len(o.w.Data)
	g := o.t.workerScratch(worker, n)
	for i := from; i < to; i++ {
		x, dy, d := o.x.Data[i*n:(i+1)*n], o.y.grad[i*n:(i+1)*n], o.dx[i*n:(i+1)*n]
		s := float64(o.inv[i])
		vector.Scale(g, dy, o.inv[i], o.w.Data)
		vector.Axpy(d, 1, g)
		vector.Axpy(d, float32(-vector.Dot64(g, x)*s*s/float64(n)), x)
	}
}
