package nn

import "qtool/internal/kernel/product"

// ofOneToken reports whether x comes of one token alone, so that no weight is used
// more than once.
func (o *linearOp) ofOneToken() bool {
	return !o.x.rounded && (o.x.oneToken || o.x.Rows == 1 && o.projections[0].l.Experts == 1)
}

// single is forward for one token, at the speed of memory.
func (o *linearOp) single(t *Tape) {
	vectors := kept[vectorList](t)
	list := (*vectors)[:0]
	for i := range o.projections[:o.n] {
		list = o.projections[i].pairVectors(list, o)
	}
	if len(list) > 0 {
		product.MatVecs(t.Pool, list)
	}
	list = list[:0]
	for i := range o.projections[:o.n] {
		list = o.projections[i].vectors(list, o)
	}
	product.MatVecs(t.Pool, list)
	*vectors = list
}

// vectorList are the products of a token, kept by the tape for the next.
type vectorList []product.VectorProduct

// pairVectors lists the products of h, but for their scale.
func (p *projection) pairVectors(list []product.VectorProduct, o *linearOp) []product.VectorProduct {
	if p.h == nil {
		return list
	}
	for e := range len(o.groups) - 1 { // the file may hold an expert more, of zeros
		a := p.l.Pair.a[e]
		if a.Rows == 0 {
			continue
		}
		for r := int(o.groups[e]); r < int(o.groups[e+1]); r++ {
			list = append(list, product.VectorProduct{Y: p.hRow(r), X: o.x.Row(r), W: a})
		}
	}
	return list
}

// vectors lists the products of y, after those of h.
func (p *projection) vectors(list []product.VectorProduct, o *linearOp) []product.VectorProduct {
	add := p.bias(o.groups)
	if p.h != nil {
		scale(p.h, p.l.Pair.Scale)
	}
	for e := range len(o.groups) - 1 {
		for r := int(o.groups[e]); r < int(o.groups[e+1]); r++ {
			v := product.VectorProduct{Y: p.y.Row(r), X: o.x.Row(r), W: p.l.Expert[e], Add: add}
			if p.h != nil {
				v.W2, v.X2 = p.l.Pair.b[e], p.hRow(r)
			}
			list = append(list, v)
		}
	}
	return list
}

// hRow is a row of h.
func (p *projection) hRow(row int) []float32 {
	rank := p.l.Pair.Rank
	return p.h[row*rank : (row+1)*rank]
}
