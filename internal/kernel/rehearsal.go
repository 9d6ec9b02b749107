package kernel

import (
	"slices"
	"unsafe"
)

// Rehearse runs f, a computation whose steps do not depend on the values that it
// computes, without computing: worker 0 does the first and the last part of every
// task, or the largest of an [Uneven] one, and the first rows and columns of every
// product. Results are meaningless, but pool and worker come to hold the memory
// that they will need when f runs in earnest.
func (p *Pool) Rehearse(f func()) {
	p.rehearsing = true
	defer func() { p.rehearsing = false }()
	f()
}

// spent is the panic of a rehearsal that would take more memory than it may.
type spent struct{}

// RehearseWithin is Rehearse, but gives up, and returns false, before rehearsals of p have
// taken more than most bytes for results and operands; 0 is no limit.
func (p *Pool) RehearseWithin(most int64, f func()) (whole bool) {
	p.most = most
	defer func() {
		p.most = 0
		if r := recover(); r != nil {
			if _, ok := r.(spent); !ok {
				panic(r)
			}
		}
	}()
	p.Rehearse(f)
	return true
}

// Spend says that a rehearsal is about to take so many bytes.
func (p *Pool) Spend(bytes int64) {
	if !p.rehearsing {
		return
	}
	p.spent += bytes
	if p.most > 0 && p.spent > p.most {
		panic(spent{})
	}
}

// Rehearsing reports whether a rehearsal is going on.
func (p *Pool) Rehearsing() bool { return p.rehearsing }

// Uneven is a task whose parts do not all need the same memory.
type Uneven interface {
	Task
	// Largest is the part that needs the most.
	Largest() int
}

// rehearse is Do in a rehearsal.
func (p *Pool) rehearse(parts int, task Task) {
	if u, ok := task.(Uneven); ok && parts > 0 {
		task.Do(0, u.Largest())
		return
	}
	for part := 0; part < parts; part += max(parts-1, 1) {
		task.Do(0, part)
	}
}

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
	return q.n == o.n && slices.EqualFunc(q.parts, o.parts, func(p, r part) bool {
		return p.k == r.k && p.transposed == r.transposed && p.w.typ == r.w.typ && p.w.block == r.w.block && (p.w.decode == nil) == (r.w.decode == nil)
	})
}

// Bytes is the memory that the pool takes if all workers hold what worker 0 does.
func (p *Pool) Bytes() int64 {
	floats := cap(p.batch.packed)
	for _, t := range p.batch.transposed[:cap(p.batch.transposed)] {
		floats += cap(t.sum)
	}
	return 4*int64(floats) + int64(p.workers)*p.scratch[0].bytes()
}

func (s *scratch) bytes() int64 {
	floats := cap(s.decoded) + cap(s.row) + cap(s.edge)
	lists := unsafe.Sizeof(*s) + uintptr(cap(s.b))*unsafe.Sizeof(s.b) + uintptr(cap(s.stage))*unsafe.Sizeof(slice{})
	for _, b := range s.b[:cap(s.b)] {
		floats += cap(b)
	}
	return int64(lists) + 4*int64(floats)
}

// Bytes is the memory that a holds.
func (a *Left) Bytes() int64 { return 4*int64(cap(a.packed)) + a.scratch.bytes() }

// Bytes is the memory that b holds.
func (b *Right) Bytes() int64 { return 4*int64(cap(b.memory)) + b.scratch.bytes() }
