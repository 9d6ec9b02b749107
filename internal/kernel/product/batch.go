package product

import (
	"slices"

	"qtool/internal/kernel/vector"
	"qtool/internal/work"
)

// Batch is products that are computed together, over rows grouped by matrix: rows
// groups[e] to groups[e+1]-1 belong to matrix e of each list. A matrix without
// rows is not touched. What several products read is packed once, until End.
type Batch struct {
	p      *Pool
	begun  bool
	groups []int32

	products []product // to be computed
	summands []summand // of these, in order
	sets     []int     // the work of each
	tasks    []task    // that the products are cut into
	starts   []int     // of each worker in tasks, and their end
	lefts    []*left   // since Begin
	inUse    int       // of lefts; the others are kept for later
	unpacked []*left
	panels   []panel // of unpacked
	// transposed are gradients that follow the products.
	transposed []transposed
	known      []int32 // of Rows r, way w and group e at (ways·r+w)·groups+e: its place in lefts, plus one
	rows       int     // since Begin
	packed     []float32
	filled     int // elements of packed

	// The list of one group and one matrix, for those who have no others.
	whole  [2]int32
	matrix [1]Matrix

	packTask, runTask, addTask work.TaskFunc
}

// Rows are activations [rows, cols] of a batch.
type Rows struct {
	data    []float32
	cols    int
	rounded bool // see RoundedRows
	id      int
}

// width is how many elements of data a row takes.
func (r *Rows) width() int {
	if r.rounded {
		return r.cols / 2
	}
	return r.cols
}

// Term is one summand of a product: rows times the matrix of their group.
type Term struct {
	Rows Rows
	W    []Matrix // of one shape, one for each group; a zero Matrix: the group has no such summand
}

func (b *Batch) init(p *Pool) {
	b.p = p
	b.packTask = func(worker, i int) {
		b.panels[i].a.packPanel(&p.scratch[worker], b.packed, b.panels[i].panel)
	}
	b.runTask = func(worker, i int) { b.tasks[i].run(&p.scratch[worker], b.packed) }
	b.addTask = func(worker, i int) { b.transposed[i].addTo(active(), &p.scratch[worker]) }
}

// Begin starts the pool's batch; it waits for the one before to end. Everything
// that is given to a batch must stay as it is until End, except for results.
func (p *Pool) Begin(groups []int32) *Batch {
	p.operation.Lock()
	p.batch.begun = true
	p.measureDistance()
	p.batch.groups = groups
	return &p.batch
}

// BeginOne is Begin for rows of one group.
func (p *Pool) BeginOne(rows int) *Batch {
	b := p.Begin(nil)
	b.whole[1] = int32(rows)
	b.groups = b.whole[:]
	return b
}

// End ends the batch. What was not Run is not computed.
func (b *Batch) End() {
	b.forget()
	for _, a := range b.lefts[:b.inUse] {
		*a = left{}
	}
	b.inUse, b.rows, b.filled, b.groups, b.matrix[0] = 0, 0, 0, nil, Matrix{}
	b.begun = false
	b.p.operation.Unlock()
}

// forget clears the lists of what is to be computed.
func (b *Batch) forget() {
	clear(b.products)
	clear(b.summands)
	clear(b.tasks)
	clear(b.panels)
	for i := range b.transposed {
		b.transposed[i].dw = nil
	}
	b.products, b.summands, b.tasks = b.products[:0], b.summands[:0], b.tasks[:0]
	b.sets, b.panels = b.sets[:0], b.panels[:0]
	b.unpacked, b.transposed = b.unpacked[:0], b.transposed[:0]
}

// BatchMark is a point in a batch to release to.
type BatchMark struct{ inUse, rows, filled int }

// Multiplications are how many all batches of p were for, rehearsed ones included.
func (p *Pool) Multiplications() float64 { return p.multiplied }

// Mark is the present point.
func (b *Batch) Mark() BatchMark { return BatchMark{b.inUse, b.rows, b.filled} }

// Release takes back the Rows that were made since m and what was packed.
func (b *Batch) Release(m BatchMark) {
	for _, a := range b.lefts[m.inUse:b.inUse] {
		*a = left{}
	}
	b.inUse, b.rows, b.filled = m.inUse, m.rows, m.filled
	b.known = b.known[:int(ways)*(len(b.groups)-1)*b.rows]
	for i, at := range b.known {
		if int(at) > b.inUse {
			b.known[i] = 0
		}
	}
}

// Rows makes data known to the batch. It panics if they are fewer than the
// groups have.
func (b *Batch) Rows(data []float32, cols int) Rows { return b.rowsOf(Rows{data: data, cols: cols}) }

// RoundedRows is Rows of elements that [Round] has rounded. They can only be multiplied
// with what the pool's precision multiplies in bfloat16.
func (b *Batch) RoundedRows(data []float32, cols int) Rows {
	return b.rowsOf(Rows{data: data, cols: cols, rounded: true})
}

func (b *Batch) rowsOf(r Rows) Rows {
	n := len(b.groups) - 1
	r.data, r.id = r.data[:int(b.groups[n])*r.width()], b.rows
	b.rows++
	size := int(ways) * n
	start := size * r.id
	b.known = slices.Grow(b.known[:start], size)[:start+size]
	clear(b.known[start:])
	return r
}

// Forward lists y[t,o] = the sum of the terms' rows[t,i]·w[o,i], or += if add.
// Every sum runs over the terms, and over i in each, in order, in blocks of
// termBlock. It panics if y is too short.
func (b *Batch) Forward(y []float32, add bool, terms ...Term) { b.multiply(y, add, true, terms) }

// Backward lists dx[t,i] = the sum of the terms' rows[t,o]·w[o,i], or += if add,
// in the order of Forward. Of a group without any summand, it and Forward leave the
// rows as they are.
func (b *Batch) Backward(dx []float32, add bool, terms ...Term) { b.multiply(dx, add, false, terms) }

func (b *Batch) multiply(c []float32, add, transposed bool, terms []Term) {
	b.sets = append(b.sets, 0)
	for e := range len(b.groups) - 1 {
		from, to := int(b.groups[e]), int(b.groups[e+1])
		if from == to {
			continue
		}
		first := len(b.summands)
		n := 0
		for _, t := range terms {
			w := t.W[e]
			if w.Rows == 0 && w.Cols == 0 {
				continue
			}
			k := w.Rows
			n = w.Cols
			if transposed {
				n, k = k, n
			}
			if k != t.Rows.cols {
				panic("product: rows and matrix do not fit")
			}
			if k > 0 && n > 0 {
				a := b.left(t.Rows, e, active().multiplierOf(w, b.p.precision))
				b.summands = append(b.summands, summand{a: a, w: w, transposed: transposed, k: k})
			}
		}
		b.list(e, c[from*n:to*n], to-from, n, add, first)
	}
}

// list adds the product of the summands from first on to those to be computed; it is
// one of the set begun last.
func (b *Batch) list(e int, c []float32, m, n int, add bool, first int) {
	summands := b.summands[first:]
	if len(summands) > 0 {
		b.products = append(b.products, product{c: c, m: m, n: n, add: add, summands: summands, multiplier: summands[0].a.multiplier, group: e, set: len(b.sets) - 1})
	} else if !add {
		clear(c)
	}
}

// left is group e of r as the left side of products.
func (b *Batch) left(r Rows, e int, m *multiplier) *left {
	n := len(b.groups) - 1
	known := &b.known[(int(ways)*r.id+int(m.way))*n+e]
	if *known == 0 {
		from, to := int(b.groups[e]), int(b.groups[e+1])
		b.newLeft(left{of: r.matrix(from, to), m: to - from, k: r.cols, row: from, multiplier: m})
		*known = int32(b.inUse)
	}
	return b.lefts[*known-1]
}

// matrix is rows from to to-1.
func (r *Rows) matrix(from, to int) Matrix {
	w := r.width()
	return Matrix{Rows: to - from, Cols: r.cols, f32: r.data[from*w : to*w], lda: w, rounded: r.rounded}
}

func (b *Batch) newLeft(a left) *left {
	if b.inUse == len(b.lefts) {
		b.lefts = append(b.lefts, new(left))
	}
	p := b.lefts[b.inUse]
	b.inUse++
	if a.of.rounded && a.way != inBFloat16 {
		panic("product: rounded rows are multiplied in float32")
	}
	*p = a
	p.cut(b.p.Workers())
	if !p.inPlace() {
		b.unpacked = append(b.unpacked, p)
	}
	return p
}

// Outer lists dw[o,i] += the sum over t of dy[t,o]·x[t,i], for each group; dw
// holds the groups' gradients one after the other. Every sum runs over t in
// ascending order in blocks of termBlock terms: in float32, unless dy and x are
// roundable and the pool's precision allows bfloat16.
func (b *Batch) Outer(dw []float32, dy, x Rows, roundable bool) {
	b.sets = append(b.sets, 0)
	n := dy.cols * x.cols
	for e := range len(b.groups) - 1 {
		b.outerOf(e, dw[e*n:(e+1)*n], dy, x, roundable)
	}
}

// OuterOf is Outer for some groups only: dw holds their gradients, in their order.
func (b *Batch) OuterOf(groups []int32, dw []float32, dy, x Rows, roundable bool) {
	b.sets = append(b.sets, 0)
	n := dy.cols * x.cols
	for i, e := range groups {
		b.outerOf(int(e), dw[i*n:(i+1)*n], dy, x, roundable)
	}
}

func (b *Batch) outerOf(e int, dw []float32, dy, x Rows, roundable bool) {
	rows, cols := dy.cols, x.cols
	from, to := int(b.groups[e]), int(b.groups[e+1])
	if from == to || rows*cols == 0 {
		return
	}
	how := active().multiplierOf(Matrix{roundable: roundable}, b.p.precision)
	const narrow = 64
	if cols <= narrow && cols < rows {
		t := b.newTransposed(dw, rows, cols)
		b.outer(e, t.sum, false, x, dy, from, to, how)
	} else {
		b.outer(e, dw, true, dy, x, from, to, how)
	}
}

// outer lists c[i,j] = the sum over from ≤ t < to of a[t,i]·w[t,j], or += if add.
func (b *Batch) outer(e int, c []float32, add bool, a, w Rows, from, to int, m *multiplier) {
	first, k := len(b.summands), to-from
	l := b.newLeft(left{of: a.matrix(from, to), columns: true, m: a.cols, k: k, row: from, multiplier: m})
	right := w.matrix(from, to)
	right.far = true
	b.summands = append(b.summands, summand{a: l, w: right, k: k})
	b.list(e, c, a.cols, w.cols, add, first)
}

// transposed is a gradient of few columns: micro-kernels want long rows, so its
// transpose is computed and then added to it.
type transposed struct {
	dw, sum    []float32
	rows, cols int // of dw
}

func (b *Batch) newTransposed(dw []float32, rows, cols int) *transposed {
	n := len(b.transposed)
	if n == cap(b.transposed) {
		b.transposed = append(b.transposed, transposed{})
	}
	b.transposed = b.transposed[:n+1]
	t := &b.transposed[n]
	t.dw, t.rows, t.cols = dw, rows, cols
	t.sum = sized(&t.sum, rows*cols)
	return t
}

// addTo adds the transpose of sum to dw.
func (g *transposed) addTo(t *tier, s *scratch) {
	const block = 64
	for from := 0; from < g.rows; from += block {
		n := min(block, g.rows-from)
		turned := sized(&s.decoded, n*g.cols+t.Lanes)
		for c := (g.cols - 1) / t.Lanes * t.Lanes; c >= 0; c -= t.Lanes {
			for l := range t.Lanes {
				s.rows[l] = &g.sum[min(c+l, g.cols-1)*g.rows+from]
			}
			t.transposeRows(turned[c:], g.cols, s, min(t.Lanes, g.cols-c), n)
		}
		vector.Axpy(g.dw[from*g.cols:], 1, turned[:n*g.cols])
	}
}

// Run computes what was listed since the last Run.
func (b *Batch) Run() {
	defer b.forget()
	b.pack()
	b.divide()
	if b.p.Rehearsing() {
		b.rehearse()
	} else {
		b.p.DoFrom(len(b.tasks), b.starts, b.runTask)
	}
	b.p.Do(len(b.transposed), b.addTask)
}

// panel is one panel to be packed.
type panel struct {
	a     *left
	panel int
}

// pack packs what was not packed before.
func (b *Batch) pack() {
	elements, before := 0, b.filled
	for _, a := range b.unpacked {
		a.at = b.filled
		b.filled += a.size()
		elements += a.m * a.k
	}
	if cap(b.packed) < b.filled {
		b.p.Spend(4 * int64(b.filled))
		b.packed = append(make([]float32, 0, b.filled), b.packed[:before]...)
	}
	b.packed = b.packed[:max(b.filled, len(b.packed))]
	b.dividePanels()
	const worthSharing = 1 << 14
	if elements >= worthSharing {
		b.p.DoFrom(len(b.panels), b.starts, b.packTask)
		return
	}
	for i := range b.panels {
		b.packTask(0, i)
	}
}
