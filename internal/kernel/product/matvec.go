package product

import (
	"unsafe"

	"qtool/internal/kernel/vector"
)

// VectorProduct is y = W·x for one token, or y += W·x.
type VectorProduct struct {
	Y, X []float32
	W    Matrix
	Add  bool
	// W2 times X2 is added too, unless W2 is empty.
	W2 Matrix
	X2 []float32
}

// MatVec computes y[o] += sum over i of x[i]·w[o,i] for one token; see [MatVecs].
func MatVec(p *Pool, y, x []float32, w Matrix) {
	v := [...]VectorProduct{{Y: y, X: x, W: w, Add: true}}
	MatVecs(p, v[:])
}

// MatVecs computes products of single tokens at the speed at which memory delivers
// the weights: rows are multiplied as they are decoded. It has an order of sums of
// its own, so its bits are not those of Forward, and it is always in float32. No
// product may read what another one writes.
func MatVecs(p *Pool, products []VectorProduct) {
	p.operation.Lock()
	defer p.operation.Unlock()
	q := &p.vectors
	q.tier, q.products = active(), append(q.products[:0], products...)
	defer q.forget()
	if p.Rehearsing() {
		for i := range q.products {
			q.product(&p.scratch[0], i, 0, min(1, q.products[i].W.Rows))
		}
		return
	}
	p.Do(q.cut(p.Workers()), q)
}

// vectors is a list of products at work. The rows of all, one after the other, are
// cut into spans, one for each worker: memory is fast where it is read in long runs.
type vectors struct {
	tier     *tier
	scratch  []scratch // one per worker
	products []VectorProduct
	rows     int // of all
	step     int // rows that are worth handing out
	spans    []span
}

// Bytes of weights that are worth another worker, and another step.
const (
	leastSpan = 1 << 15
	leastStep = 1 << 14
)

// cut cuts the rows into spans of as many bytes.
func (q *vectors) cut(workers int) (spans int) {
	q.rows = 0
	total := 0
	for i := range q.products {
		rows, size := q.products[i].extent()
		q.rows, total = q.rows+rows, total+rows*size
	}
	spans = min(workers, total/leastSpan+1)
	q.step = int(int64(leastStep)*int64(q.rows)/int64(max(total, 1))) + 1
	q.spans = sized(&q.spans, spans)
	from := 0
	for s := range q.spans {
		to := q.rowAt(total / spans * (s + 1))
		if s == spans-1 {
			to = q.rows
		}
		q.spans[s].set(from, to)
		from = to
	}
	return spans
}

// extent is the number of rows and how many bytes are read for each.
func (v *VectorProduct) extent() (rows, size int) {
	return v.W.Rows, max(v.W.rowBytes()+v.W2.rowBytes(), 1)
}

// rowAt is the row of all that is so many bytes behind the first.
func (q *vectors) rowAt(bytes int) int {
	first := 0
	for i := range q.products {
		rows, size := q.products[i].extent()
		if bytes < rows*size {
			return first + bytes/size
		}
		first, bytes = first+rows, bytes-rows*size
	}
	return first
}

func (q *vectors) forget() { clear(q.products) }

// Do multiplies the rows of one span, then what is left of others.
func (q *vectors) Do(worker, part int) {
	for i := range q.spans {
		s := &q.spans[(part+i)%len(q.spans)]
		for {
			from, to := s.take(q.step, i > 0)
			if from == to {
				break
			}
			q.multiply(&q.scratch[worker], from, to)
		}
	}
}

// multiply computes rows from to to-1 of all.
func (q *vectors) multiply(s *scratch, from, to int) {
	first := 0
	for i := range q.products {
		rows := q.products[i].W.Rows
		if a, b := max(from-first, 0), min(to-first, rows); a < b {
			q.product(s, i, a, b)
		}
		first += rows
	}
}

// product computes rows from to to-1 of one product.
func (q *vectors) product(s *scratch, i, from, to int) {
	v := &q.products[i]
	y := v.Y[from:to]
	if !v.Add {
		clear(y)
	}
	q.add(s, y, v.X, &v.W, from)
	if v.W2.Rows > 0 {
		q.add(s, y, v.X2, &v.W2, from)
	}
}

// add adds the products of rows of w, from the given one on.
func (q *vectors) add(s *scratch, y, x []float32, w *Matrix, from int) {
	if len(y) == 0 || w.Cols == 0 {
		return
	}
	x = x[:w.Cols]
	switch d := &q.tier.decoders[w.typ]; {
	case d.Dot == nil || w.Cols%d.Elements != 0:
	case w.block > 0:
		rows := w.data[from*w.stride:][:len(y)*w.stride]
		d.Dot(&x[0], &rows[0], w.Cols/d.Elements, len(y), &y[0])
		return
	case w.decode == nil:
		rows := w.f32[from*w.Cols:][:len(y)*w.Cols]
		d.Dot(&x[0], (*byte)(unsafe.Pointer(&rows[0])), w.Cols/d.Elements, len(y), &y[0])
		return
	}
	for r := range y {
		row := w.Row(from+r, sized(&s.row, w.Cols))
		y[r] += vector.Dot(x, row)
	}
}
