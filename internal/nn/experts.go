package nn

import (
	"qtool/internal/kernel/product"
	"qtool/internal/kernel/vector"
)

// Gather copies, for each grouped row, the row of its token in x [tokens, n]: [grouped
// rows, n].
func (t *Tape) Gather(x *Var, r *Routing) *Var {
	return t.gather(x, t.newVar(len(r.Token), x.Cols, x.needs), r) // [grouped rows, n]
}

// GatherFor is Gather for a result that nothing but readers are multiplied with: it is
// kept in bfloat16 where they would round it.
func (t *Tape) GatherFor(readers []*Linear, x *Var, r *Routing) *Var {
	if !t.keepsRounded(readers, x.Rows, x.Cols) {
		return t.Gather(x, r)
	}
	return t.gather(x, t.roundedVar(len(r.Token), x.Cols, x.needs), r) // [grouped rows, n]
}

func (t *Tape) gather(x, y *Var, r *Routing) *Var {
	y.oneToken = x.Rows == 1
	o := newOp[gatherOp](t)
	*o = gatherOp{x: x, y: y, r: r}
	t.Pool.Do(rowParts(y.Rows), (*gatherForward)(o))
	t.record(y, o)
	return y
}

type gatherOp struct {
	x, y *Var
	r    *Routing
	dx   []float32
}

func (o *gatherOp) backward(t *Tape) {
	if o.y.grad == nil {
		return
	}
	o.dx = t.gradOf(o.x)
	t.Pool.Do(rowParts(o.x.Rows), (*gatherBackward)(o))
}

type gatherForward gatherOp

func (o *gatherForward) Do(_, part int) {
	from, to := rowsOf(part, o.y.Rows)
	n := o.y.Cols
	for row := from; row < to; row++ {
		if x := o.x.Row(int(o.r.Token[row])); o.y.rounded {
			product.Round(o.y.Data[row*n/2:(row+1)*n/2], x)
		} else {
			copy(o.y.Row(row), x)
		}
	}
}

type gatherBackward gatherOp

func (o *gatherBackward) Do(_, part int) {
	from, to := rowsOf(part, o.x.Rows)
	n, used := o.x.Cols, o.r.Weights.Cols
	for tok := from; tok < to; tok++ {
		for _, row := range o.r.Row[tok*used : (tok+1)*used] {
			if row < 0 {
				continue
			}
			vector.Axpy(o.dx[tok*n:(tok+1)*n], 1, o.y.grad[int(row)*n:(int(row)+1)*n])
		}
	}
}

// Combine sums each token's expert outputs y [grouped rows, n], in slot order,
// weighed by the routing: [tokens, n]. Identity experts give back the token's x.
func (t *Tape) Combine(y, x *Var, r *Routing) *Var {
	out := t.zeroVar(r.Weights.Rows, y.Cols, y.needs || x.needs || r.Weights.needs) // [tokens, n]
	o := newOp[combineOp](t)
	*o = combineOp{y: y, x: x, out: out, r: r}
	t.Pool.Do(rowParts(out.Rows), (*combineForward)(o))
	t.record(out, o)
	return out
}

type combineOp struct {
	y, x, out  *Var
	r          *Routing
	dy, dx, dw []float32 // each may be nil
	add        bool      // to dy, which is new otherwise
}

// of is the output of a slot of token tok, and where its gradient goes.
func (o *combineOp) of(tok, slot int) (y, dy []float32) {
	v, grad, row := o.y, o.dy, int(o.r.Row[tok*o.r.Weights.Cols+slot])
	if row < 0 {
		v, grad, row = o.x, o.dx, tok
	}
	if grad != nil {
		dy = grad[row*v.Cols : (row+1)*v.Cols]
	}
	return v.Row(row), dy
}

type combineForward combineOp

func (f *combineForward) Do(_, part int) {
	o := (*combineOp)(f)
	from, to := rowsOf(part, o.out.Rows)
	for tok := from; tok < to; tok++ {
		for slot, w := range o.r.Weights.Row(tok) {
			y, _ := o.of(tok, slot)
			vector.Axpy(o.out.Row(tok), w, y)
		}
	}
}

func (o *combineOp) backward(t *Tape) {
	if o.out.grad == nil {
		return
	}
	o.dy, o.add = t.gradToFill(o.y) // every row of y is of one slot
	o.dw = t.gradOf(o.r.Weights)
	if len(o.r.Token) < len(o.r.Expert) { // some identity expert was chosen
		o.dx = t.gradOf(o.x)
	}
	t.Pool.Do(rowParts(o.out.Rows), (*combineBackward)(o))
}

type combineBackward combineOp

func (b *combineBackward) Do(_, part int) {
	o := (*combineOp)(b)
	from, to := rowsOf(part, o.out.Rows)
	n, used := o.out.Cols, o.r.Weights.Cols
	for tok := from; tok < to; tok++ {
		g := o.out.grad[tok*n : (tok+1)*n]
		for slot, w := range o.r.Weights.Row(tok) {
			y, dy := o.of(tok, slot)
			if o.dw != nil {
				o.dw[tok*used+slot] += vector.Dot(g, y)
			}
			if dy != nil {
				if !o.add && o.r.Row[tok*used+slot] >= 0 {
					clear(dy)
				}
				vector.Axpy(dy, w, g)
			}
		}
	}
}
