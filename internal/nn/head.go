package nn

import "qtool/internal/kernel/vector"

// Head is the matrix of the logits and what follows it.
type Head struct {
	*Linear
	// Softcap bounds a logit to ±Softcap, by Softcap·tanh(logit/Softcap); 0 is off.
	Softcap float32
}

// Logits computes the logits of x [tokens, n]: [tokens, vocabulary].
func (t *Tape) Logits(x *Var, h *Head) *Var {
	y := t.Linear(x, h.Linear)
	if h.Softcap > 0 {
		y = t.Softcap(y, h.Softcap)
	}
	return y
}

// Softcap computes limit·tanh(x/limit) for x [tokens, n] in the place of x, which must not
// be used afterwards.
func (t *Tape) Softcap(x *Var, limit float32) *Var {
	y := t.vars.take() // [tokens, n]
	*y = Var{Rows: x.Rows, Cols: x.Cols, Data: x.Data, needs: x.needs}
	o := newOp[softcapOp](t)
	*o = softcapOp{t: t, x: x, y: y, limit: limit}
	t.Pool.Do(rowParts(y.Rows), (*softcapForward)(o))
	t.record(y, o)
	return y
}

type softcapOp struct {
	t     *Tape
	x, y  *Var
	limit float32
}

type softcapForward softcapOp

func (o *softcapForward) Do(worker, part int) {
	from, to := rowsOf(part, o.y.Rows)
	for r := from; r < to; r++ {
		row := o.y.Row(r)
		softcap(row, o.t.workerScratch(worker, len(row)), o.limit)
	}
}

// softcap bounds v in place and leaves tanh(v/limit) in tanh.
func softcap(v, tanh []float32, limit float32) {
	scale(v, 1/limit)
	vector.Tanh(tanh, v)
	copy(v, tanh)
	scale(v, limit)
}

func (o *softcapOp) backward(t *Tape) {
	if o.y.grad == nil {
		return
	}
	for i, y := range o.y.Data {
		tanh := y / o.limit
		o.y.grad[i] *= 1 - tanh*tanh
	}
	t.giveGrad(o.x, o.y.grad)
}
