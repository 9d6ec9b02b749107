package nn

import "qtool/internal/kernel/product"

// Embed looks up rows of w for ids, giving [len(ids), w.Cols]. The pair of an
// embedding is transposed: A is [rank, vocabulary], one row per token, and the
// delta is scale·B·A[id]. Ids must be below w.Rows.
func (t *Tape) Embed(ids []int32, l *Linear) *Var {
	n := l.Cols
	y := t.newVar(len(ids), n, l.trainable()) // [tokens, n]
	o := newOp[embedOp](t)
	*o = embedOp{ids: ids, l: l, y: y}
	t.Pool.Do(rowParts(len(ids)), (*embedForward)(o))
	if p := l.Pair; p != nil {
		o.h = t.floats.take(len(ids) * p.Rank)
		for r, id := range ids {
			h := o.h[r*p.Rank : (r+1)*p.Rank]
			copy(h, p.A.Data[int(id)*p.Rank:])
			scale(h, p.Scale)
		}
		product.Forward(t.Pool, y.Data, o.h, len(ids), product.Float32Matrix(p.B.Data, n, p.Rank))
	}
	t.record(y, o)
	return y
}

type embedOp struct {
	ids []int32
	l   *Linear
	y   *Var
	h   []float32 // scale·A[id], [tokens, rank]
}

type embedForward embedOp

func (o *embedForward) Do(_, part int) {
	from, to := rowsOf(part, len(o.ids))
	for r := from; r < to; r++ {
		out := o.y.Row(r)
		copy(out, o.l.Expert[0].Row(int(o.ids[r]), out))
	}
}

func (o *embedOp) backward(t *Tape) {
	if o.y.grad == nil {
		return
	}
	n := o.l.Cols
	if dw := o.l.expertGrad(0); dw != nil {
		for r, id := range o.ids {
			add(dw[int(id)*n:(int(id)+1)*n], o.y.grad[r*n:(r+1)*n])
		}
	}
	p := o.l.Pair
	if !p.trainable() {
		return
	}
	if p.B.Trainable() {
		product.AddOuter(t.Pool, p.B.Grad, o.y.grad, o.h, len(o.ids), n, p.Rank)
	}
	if p.A.Trainable() {
		m := t.floats.at
		dh := t.floats.zeros(len(o.h)) // [tokens, rank]
		product.Backward(t.Pool, dh, o.y.grad, len(o.ids), product.Float32Matrix(p.B.Data, n, p.Rank))
		scale(dh, p.Scale)
		for r, id := range o.ids {
			add(p.A.Grad[int(id)*p.Rank:(int(id)+1)*p.Rank], dh[r*p.Rank:(r+1)*p.Rank])
		}
		t.floats.release(m)
	}
}
