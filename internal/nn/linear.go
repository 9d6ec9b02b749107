package nn

import "qtool/internal/kernel/product"

// Linear computes y = x·Wᵀ + bias + scale·(x·Aᵀ)·Bᵀ for x [tokens, in],
// giving [tokens, out].
func (t *Tape) Linear(x *Var, l *Linear) *Var { return t.Linears(x, l)[0] }

// Linears is Linear for several weights with one x, faster than one by one. The
// result is valid as long as its elements.
func (t *Tape) Linears(x *Var, l ...*Linear) []*Var {
	return t.ExpertLinears(x, t.oneGroup(x), l...)
}

// oneGroup is the rows of x as one group.
func (t *Tape) oneGroup(x *Var) (groups []int32) {
	groups = t.ints.take(2) // [2]
	groups[0], groups[1] = 0, int32(x.Rows)
	return groups
}

// ExpertLinears is Linears with rows grouped by expert: rows groups[e] to
// groups[e+1]-1 are multiplied with expert e. Experts without rows are not touched.
func (t *Tape) ExpertLinears(x *Var, groups []int32, l ...*Linear) []*Var {
	o := newOp[linearOp](t)
	o.begin(t, x, groups, l...)
	needs := o.makeResults(t)
	if !t.recording && o.ofOneToken() {
		o.single(t)
	} else {
		o.forward(t)
	}
	if t.recording && needs {
		t.ops = append(t.ops, o)
	}
	return o.y[:o.n]
}

// begin sets what is multiplied, and takes memory for the products of x and the A of pairs.
func (o *linearOp) begin(t *Tape, x *Var, groups []int32, l ...*Linear) {
	o.x, o.groups, o.n = x, groups, len(l)
	for i, l := range l {
		if t.Observe != nil {
			t.Observe(l.Weight, x, groups)
		}
		p := &o.projections[i]
		p.l = l
		if l.Pair != nil {
			l.Pair.view(l.Weight)
			p.h = t.floats.take(x.Rows * l.Pair.Rank) // [rows, rank]
			if l.Pair.Experts != nil {                // the others' rows are not computed
				clear(p.h)
			}
		}
	}
}

// makeResults takes memory for the results, and reports whether a gradient can flow
// through one.
func (o *linearOp) makeResults(t *Tape) (needs bool) {
	for i := range o.projections[:o.n] {
		p := &o.projections[i]
		p.y = t.newVar(o.x.Rows, p.l.Rows, o.x.needs || p.l.trainable()) // [rows, out]
		p.y.oneToken = o.x.oneToken
		o.y[i] = p.y
		needs = needs || p.y.needs
	}
	return needs
}

// maxProjections is how many weights may share one x.
const maxProjections = 4

// linearOp is the projections of one x.
type linearOp struct {
	x           *Var
	groups      []int32
	n           int
	projections [maxProjections]projection
	y           [maxProjections]*Var
}

// projection is one weight at work.
type projection struct {
	l *Linear
	y *Var
	h []float32 // scale·x·Aᵀ, [tokens, rank]

	// In the backward pass.
	dh     []float32
	dyRows product.Rows
}

// bias stores the bias in y, if there is one.
func (p *projection) bias(groups []int32) (has bool) {
	b := p.l.Bias
	if b == nil {
		return false
	}
	for e := range len(groups) - 1 {
		for r := int(groups[e]); r < int(groups[e+1]); r++ {
			copy(p.y.Row(r), matrixOf(b.Data, e, 1, p.l.Rows))
		}
	}
	return true
}

func (o *linearOp) forward(t *Tape) {
	b := t.Pool.Begin(o.groups)
	defer b.End()
	x := o.x.in(b)
	for i := range o.projections[:o.n] {
		if p := &o.projections[i]; p.h != nil {
			b.Forward(p.h, false, product.Term{Rows: x, W: p.l.Pair.a})
		}
	}
	b.Run()
	for i := range o.projections[:o.n] {
		p := &o.projections[i]
		add, base := p.bias(o.groups), product.Term{Rows: x, W: p.l.Expert}
		if p.h == nil {
			b.Forward(p.y.Data, add, base)
			continue
		}
		scale(p.h, p.l.Pair.Scale)
		b.Forward(p.y.Data, add, base, product.Term{Rows: b.Rows(p.h, p.l.Pair.Rank), W: p.l.Pair.b})
	}
	b.Run()
}

func (o *linearOp) backward(t *Tape) {
	n := 0 // projections whose result mattered
	for i := range o.projections[:o.n] {
		if p := o.projections[i]; p.y.grad != nil {
			o.projections[n] = p
			n++
		}
	}
	if o.n = n; n == 0 {
		return
	}
	dx, add := t.gradToFill(o.x)
	m := t.floats.at
	b := t.Pool.Begin(o.groups)
	defer b.End()
	x := o.x.in(b)
	for i := range o.projections[:n] {
		o.projections[i].backward(t, b, x, o)
	}
	b.Run()
	var terms [2 * maxProjections]product.Term
	list := terms[:0]
	for i := range o.projections[:n] {
		p := &o.projections[i]
		list = append(list, product.Term{Rows: p.dyRows, W: p.l.Expert})
		if pair := p.l.Pair; pair != nil {
			dh := pair.backwardA(b, x, p.dh)
			list = append(list, product.Term{Rows: dh, W: pair.a})
		}
	}
	if dx != nil {
		b.Backward(dx, add, list...)
	}
	b.Run()
	t.floats.release(m)
}

// backward lists what comes of dy alone: the gradients of bias, weight and B,
// and dh.
func (p *projection) backward(t *Tape, b *product.Batch, x product.Rows, o *linearOp) {
	l, dy := p.l, p.y.grad
	if l.Bias.Trainable() {
		for e := range len(o.groups) - 1 {
			for r := int(o.groups[e]); r < int(o.groups[e+1]); r++ {
				add(matrixOf(l.Bias.Grad, e, 1, l.Rows), dy[r*l.Rows:(r+1)*l.Rows])
			}
		}
	}
	if p.y.rounded { // and so are its gradients
		p.dyRows = b.RoundedRows(dy, l.Rows)
	} else {
		p.dyRows = b.Rows(dy, l.Rows)
	}
	if l.Weight.trainable() {
		b.Outer(l.Param.Grad, p.dyRows, x, false)
	}
	if pair := l.Pair; pair != nil {
		p.dh = t.floats.take(len(p.h)) // [rows, rank]
		if pair.Experts != nil {
			clear(p.dh)
		}
		b.Backward(p.dh, false, product.Term{Rows: p.dyRows, W: pair.b})
		pair.outer(b, pair.B, p.dyRows, b.Rows(p.h, pair.Rank))
	}
}

// backwardA takes dh = dy·B, lists the gradient of A, and returns the rows that
// multiply A in the gradient of x.
func (p *LoRAPair) backwardA(b *product.Batch, x product.Rows, dh []float32) product.Rows {
	scale(dh, p.Scale)
	rows := b.Rows(dh, p.Rank)
	p.outer(b, p.A, rows, x)
	return rows
}

func scale(v []float32, s float32) {
	for i := range v {
		v[i] *= s
	}
}
