package product

import (
	"slices"
	"unsafe"
)

// rehearse does what Run does in a rehearsal: the widest task of each product, for
// one panel. Of products that are alike, such as those of experts, it takes one.
func (b *Batch) rehearse() {
	var last *product
	for i := range b.products {
		q := &b.products[i]
		if last == nil || !q.like(last) {
			t := task{q, 0, min(q.widest, q.n), 0, 1}
			t.run(&b.p.scratch[0], b.packed)
		}
		last = q
	}
}

// like reports whether a task of q needs what a task of o does.
func (q *product) like(o *product) bool {
	return q.n == o.n && slices.EqualFunc(q.summands, o.summands, func(p, r summand) bool {
		return p.k == r.k && p.transposed == r.transposed && p.w.typ == r.w.typ && p.w.block == r.w.block && (p.w.decode == nil) == (r.w.decode == nil)
	})
}

// Bytes is the memory that the pool takes if all workers hold what worker 0 does.
func (p *Pool) Bytes() int64 {
	floats := cap(p.batch.packed)
	for _, t := range p.batch.transposed[:cap(p.batch.transposed)] {
		floats += cap(t.sum)
	}
	return 4*int64(floats) + int64(p.Workers())*p.scratch[0].bytes()
}

func (s *scratch) bytes() int64 {
	floats := cap(s.decoded) + cap(s.row) + cap(s.edge)
	lists := unsafe.Sizeof(*s) + uintptr(cap(s.b))*unsafe.Sizeof(s.b) + uintptr(cap(s.stage))*unsafe.Sizeof(stageTerms{}) + uintptr(cap(s.factors))*unsafe.Sizeof(factor{})
	for _, b := range s.b[:cap(s.b)] {
		floats += cap(b)
	}
	return int64(lists) + 4*int64(floats)
}

// Bytes is the memory that a holds.
func (a *Left) Bytes() int64 { return 4*int64(cap(a.memory)) + a.scratch.bytes() }

// Bytes is the memory that b holds.
func (b *Right) Bytes() int64 { return 4*int64(cap(b.memory)) + b.scratch.bytes() }
