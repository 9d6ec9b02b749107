package nn

import "qtool/internal/kernel/product"

// HeadLinear multiplies each head of x with a matrix of its own, expert h of w
// for head h: y = x·Wᵀ, or x·W if transposed. x is [tokens, in], which all heads
// share, or [tokens, heads·in]; y is [tokens, heads·out].
func (t *Tape) HeadLinear(x *Var, w *Weight, transposed bool) *Var {
	o := newOp[headLinearOp](t)
	*o = headLinearOp{t: t, x: x, w: w, transposed: transposed, in: w.Cols, out: w.Rows}
	if transposed {
		o.in, o.out = w.Rows, w.Cols
	}
	o.xHeads = w.Experts
	if x.Cols == o.in {
		o.xHeads = 1
	}
	o.y = t.newVar(x.Rows, w.Experts*o.out, x.needs || w.trainable()) // [tokens, heads·out]
	o.forward()
	t.record(o.y, o)
	return o.y
}

type headLinearOp struct {
	t          *Tape
	x, y       *Var
	w          *Weight
	transposed bool
	in, out    int // of one head
	xHeads     int // 1: all heads multiply the same x
	sort       sortHeads
}

// headList are the operands of a HeadLinear, kept by the tape for the next.
type headList struct {
	x, dy []product.Rows
	terms []product.Term
}

func (o *headLinearOp) forward() {
	t := o.t
	m := t.floats.at
	xs := o.byHead(o.x.Data, o.xHeads, o.in)
	if t.Observe != nil && !o.transposed && o.xHeads == o.w.Experts {
		groups := make([]int32, o.w.Experts+1)
		for h := range o.w.Experts {
			groups[h+1] = int32((h + 1) * o.x.Rows)
		}
		t.Observe(o.w, Constant(xs, o.x.Rows*o.w.Experts, o.in), groups)
	}
	ys := t.floats.take(len(o.y.Data)) // [heads, tokens, out]
	b := t.Pool.BeginOne(o.x.Rows)
	list := kept[headList](t)
	list.x = o.rows(list.x, b, xs, o.xHeads, o.in)
	for h := range o.w.Experts {
		term := product.Term{Rows: list.x[h%o.xHeads], W: o.w.Expert[h : h+1]}
		o.multiply(b, o.head(ys, h, o.out), !o.transposed, term)
	}
	b.Run()
	b.End()
	o.merge(o.y.Data, ys, o.w.Experts, o.out, false)
	t.floats.release(m)
}

// head is what v, sorted by head, has of head h.
func (o *headLinearOp) head(v []float32, h, n int) []float32 {
	return v[h*o.x.Rows*n : (h+1)*o.x.Rows*n]
}

// rows gives v, sorted by head, to the batch as operands.
func (o *headLinearOp) rows(list []product.Rows, b *product.Batch, v []float32, heads, n int) []product.Rows {
	list = list[:0]
	for h := range heads {
		list = append(list, b.Rows(o.head(v, h, n), n))
	}
	return list
}

func (o *headLinearOp) multiply(b *product.Batch, c []float32, byRows bool, term product.Term) {
	if byRows {
		b.Forward(c, false, term)
	} else {
		b.Backward(c, false, term)
	}
}

func (o *headLinearOp) backward(t *Tape) {
	if o.y.grad == nil {
		return
	}
	heads, list := o.w.Experts, kept[headList](t)
	dx := t.gradOf(o.x)
	m := t.floats.at
	dys := o.byHead(o.y.grad, heads, o.out)
	xs := o.byHead(o.x.Data, o.xHeads, o.in)
	dxs := t.floats.take(len(dx)) // [heads of x, tokens, in]
	b := t.Pool.BeginOne(o.x.Rows)
	list.dy = o.rows(list.dy, b, dys, heads, o.out)
	if o.w.trainable() {
		list.x = o.rows(list.x, b, xs, o.xHeads, o.in)
		for h := range heads {
			rows, cols := list.dy[h], list.x[h%o.xHeads]
			if o.transposed {
				rows, cols = cols, rows
			}
			b.Outer(o.w.expertGrad(h), rows, cols, false)
		}
	}
	if dx != nil {
		o.backwardX(b, dxs)
	}
	b.Run()
	b.End()
	if dx != nil {
		o.merge(dx, dxs, o.xHeads, o.in, true)
	}
	t.floats.release(m)
}

// backwardX lists the gradient of x, sorted by head: the sum over the heads where
// they share it.
func (o *headLinearOp) backwardX(b *product.Batch, dxs []float32) {
	list := kept[headList](o.t)
	list.terms = list.terms[:0]
	for h, dy := range list.dy {
		list.terms = append(list.terms, product.Term{Rows: dy, W: o.w.Expert[h : h+1]})
	}
	switch {
	case o.xHeads == len(list.terms):
		for h, term := range list.terms {
			o.multiply(b, o.head(dxs, h, o.in), o.transposed, term)
		}
	case o.transposed:
		b.Forward(dxs, false, list.terms...)
	default:
		b.Backward(dxs, false, list.terms...)
	}
}

// byHead is v [tokens, heads·n] sorted by head: [heads, tokens, n]. It is v
// itself if there is one head.
func (o *headLinearOp) byHead(v []float32, heads, n int) []float32 {
	if heads == 1 {
		return v
	}
	o.sort = sortHeads{sorted: o.t.floats.take(len(v)), v: v, rows: o.x.Rows, heads: heads, n: n}
	o.t.Pool.Do(rowParts(o.x.Rows), &o.sort)
	return o.sort.sorted
}

// merge undoes byHead into v, or adds to it.
func (o *headLinearOp) merge(v, sorted []float32, heads, n int, sum bool) {
	o.sort = sortHeads{sorted: sorted, v: v, rows: o.x.Rows, heads: heads, n: n, back: true, sum: sum}
	o.t.Pool.Do(rowParts(o.x.Rows), &o.sort)
}

// sortHeads copies v [rows, heads·n] to sorted [heads, rows, n], or back.
type sortHeads struct {
	sorted, v      []float32
	rows, heads, n int
	back, sum      bool // from sorted to v, which gets the sum
}

// Do works on one part of the rows.
func (s *sortHeads) Do(_, part int) {
	from, to := rowsOf(part, s.rows)
	for r := from; r < to; r++ {
		for h := range s.heads {
			v, sorted := s.v[(r*s.heads+h)*s.n:][:s.n], s.sorted[(h*s.rows+r)*s.n:][:s.n]
			switch {
			case !s.back:
				copy(sorted, v)
			case s.sum:
				add(v, sorted)
			default:
				copy(v, sorted)
			}
		}
	}
}
