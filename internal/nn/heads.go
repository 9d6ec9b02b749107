package nn

// HeadColumns copies columns from to to-1 of each of the heads of x [tokens, heads·n]:
// [tokens, heads·(to-from)].
func (t *Tape) HeadColumns(x *Var, heads, from, to int) *Var {
	y := t.newVar(x.Rows, heads*(to-from), x.needs) // [tokens, heads·(to-from)]
	o := newOp[headColumnsOp](t)
	*o = headColumnsOp{x: x, y: y, heads: heads, from: from}
	t.Pool.Do(rowParts(x.Rows), (*headColumnsForward)(o))
	t.record(y, o)
	return y
}

type headColumnsOp struct {
	x, y        *Var
	heads, from int
	dx          []float32
}

// of is where head h of row r is in x, and where in y.
func (o *headColumnsOp) of(r, h int) (x, y span) {
	return headSpan(o.x, r, h, o.heads, o.from, o.y.Cols/o.heads), headSpan(o.y, r, h, o.heads, 0, o.y.Cols/o.heads)
}

// span is a run of a Var's elements.
type span struct{ from, to int }

// headSpan is the n elements from number from on of head h in row r of v.
func headSpan(v *Var, r, h, heads, from, n int) span {
	at := r*v.Cols + h*(v.Cols/heads) + from
	return span{at, at + n}
}

func (s span) in(v []float32) []float32 { return v[s.from:s.to] }

type headColumnsForward headColumnsOp

func (f *headColumnsForward) Do(_, part int) {
	o := (*headColumnsOp)(f)
	from, to := rowsOf(part, o.x.Rows)
	for r := from; r < to; r++ {
		for h := range o.heads {
			x, y := o.of(r, h)
			copy(y.in(o.y.Data), x.in(o.x.Data))
		}
	}
}

func (o *headColumnsOp) backward(t *Tape) {
	if o.y.grad == nil {
		return
	}
	o.dx = t.gradOf(o.x)
	t.Pool.Do(rowParts(o.x.Rows), (*headColumnsBackward)(o))
}

type headColumnsBackward headColumnsOp

func (b *headColumnsBackward) Do(_, part int) {
	o := (*headColumnsOp)(b)
	from, to := rowsOf(part, o.x.Rows)
	for r := from; r < to; r++ {
		for h := range o.heads {
			x, y := o.of(r, h)
			add(x.in(o.dx), y.in(o.y.grad))
		}
	}
}

// JoinHeads puts the columns of each head of b after those of the same head of a: [tokens,
// heads·(m+n)] for a [tokens, heads·m] and b [tokens, n], which all heads share,
// or [tokens, heads·n].
func (t *Tape) JoinHeads(a, b *Var, heads, n int) *Var {
	y := t.newVar(a.Rows, a.Cols+heads*n, a.needs || b.needs) // [tokens, heads·(m+n)]
	o := newOp[joinHeadsOp](t)
	*o = joinHeadsOp{a: a, b: b, y: y, heads: heads, m: a.Cols / heads, n: n}
	t.Pool.Do(rowParts(a.Rows), (*joinHeadsForward)(o))
	t.record(y, o)
	return y
}

type joinHeadsOp struct {
	a, b, y     *Var
	heads, m, n int
	da, db      []float32 // each may be nil
}

// of is where both parts of head h of row r are, in a and b and in y.
func (o *joinHeadsOp) of(r, h int) (a, b, ya, yb span) {
	b = headSpan(o.b, r, 0, 1, 0, o.n)
	if o.b.Cols > o.n {
		b = headSpan(o.b, r, h, o.heads, 0, o.n)
	}
	return headSpan(o.a, r, h, o.heads, 0, o.m), b, headSpan(o.y, r, h, o.heads, 0, o.m), headSpan(o.y, r, h, o.heads, o.m, o.n)
}

type joinHeadsForward joinHeadsOp

func (f *joinHeadsForward) Do(_, part int) {
	o := (*joinHeadsOp)(f)
	from, to := rowsOf(part, o.y.Rows)
	for r := from; r < to; r++ {
		for h := range o.heads {
			a, b, ya, yb := o.of(r, h)
			copy(ya.in(o.y.Data), a.in(o.a.Data))
			copy(yb.in(o.y.Data), b.in(o.b.Data))
		}
	}
}

func (o *joinHeadsOp) backward(t *Tape) {
	if o.y.grad == nil {
		return
	}
	o.da, o.db = t.gradOf(o.a), t.gradOf(o.b)
	t.Pool.Do(rowParts(o.y.Rows), (*joinHeadsBackward)(o))
}

type joinHeadsBackward joinHeadsOp

func (d *joinHeadsBackward) Do(_, part int) {
	o := (*joinHeadsOp)(d)
	from, to := rowsOf(part, o.y.Rows)
	for r := from; r < to; r++ {
		for h := range o.heads {
			a, b, ya, yb := o.of(r, h)
			if o.da != nil {
				add(a.in(o.da), ya.in(o.y.grad))
			}
			if o.db != nil {
				add(b.in(o.db), yb.in(o.y.grad))
			}
		}
	}
}
