package kernel

// Batch is products that are computed together, over rows grouped by matrix: rows
// groups[e] to groups[e+1]-1 belong to matrix e of each list. A matrix without
// rows is not touched. What several products read is packed once, until End.
type Batch struct {
	p      *Pool
	groups []int32

	products []product // to be computed
	parts    []part    // of these, in order
	lefts    []*left   // since Begin
	inUse    int       // of lefts; the others are kept for later
	unpacked []*left
	known    []int32 // of Rows r, group e and unit u at (2r+u-1)·groups+e: its place in lefts, plus one
	rows     int     // since Begin
	packed   []float32
	filled   int // elements of packed

	// The list of one group and one matrix, for those who have no others.
	whole  [2]int32
	matrix [1]Matrix

	packTask, runTask TaskFunc
}

// Rows are activations [rows, cols] of a batch.
type Rows struct {
	data []float32
	cols int
	id   int
}

// Term is one summand of a product: rows times the matrix of their group.
type Term struct {
	Rows Rows
	W    []Matrix // of one shape, one for each group
}

func (b *Batch) init(p *Pool) {
	b.p = p
	b.packTask = func(worker, panel int) {
		a := b.unpacked[last(len(b.unpacked), func(i int) bool { return b.unpacked[i].first <= panel })]
		a.packPanel(&p.scratch[worker], b.packed, panel-a.first)
	}
	b.runTask = func(worker, task int) {
		q := &b.products[last(len(b.products), func(i int) bool { return b.products[i].firstTask <= task })]
		q.run(&p.scratch[worker], b.packed, task-q.firstTask)
	}
}

// last is the largest i < n for which ok holds; it holds for 0 and up to there.
func last(n int, ok func(i int) bool) int {
	low, high := 0, n
	for high-low > 1 {
		if middle := (low + high) / 2; ok(middle) {
			low = middle
		} else {
			high = middle
		}
	}
	return low
}

// Begin starts the pool's batch; it waits for the one before to end. Everything
// that is given to a batch must stay as it is until End, except for results.
func (p *Pool) Begin(groups []int32) *Batch {
	p.operation.Lock()
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
	b.p.operation.Unlock()
}

// forget clears the lists of what is to be computed.
func (b *Batch) forget() {
	clear(b.products)
	clear(b.parts)
	b.products, b.parts, b.unpacked = b.products[:0], b.parts[:0], b.unpacked[:0]
}

// BatchMark is a point in a batch to release to.
type BatchMark struct{ inUse, rows, filled int }

// Mark is the present point.
func (b *Batch) Mark() BatchMark { return BatchMark{b.inUse, b.rows, b.filled} }

// Release takes back the Rows that were made since m and what was packed.
func (b *Batch) Release(m BatchMark) {
	for _, a := range b.lefts[m.inUse:b.inUse] {
		*a = left{}
	}
	b.inUse, b.rows, b.filled = m.inUse, m.rows, m.filled
	b.known = b.known[:2*(len(b.groups)-1)*b.rows]
	for i, at := range b.known {
		if int(at) > b.inUse {
			b.known[i] = 0
		}
	}
}

// Rows makes data known to the batch. It panics if they are fewer than the
// groups have.
func (b *Batch) Rows(data []float32, cols int) Rows {
	n := len(b.groups) - 1
	r := Rows{data[:int(b.groups[n])*cols], cols, b.rows}
	b.rows++
	b.known = append(b.known[:2*n*r.id], make([]int32, 2*n)...)
	return r
}

// Forward lists y[t,o] = the sum of the terms' rows[t,i]·w[o,i], or += if add.
// Every sum runs over the terms, and over i in each, in order, in blocks of
// termBlock. It panics if y is too short.
func (b *Batch) Forward(y []float32, add bool, terms ...Term) { b.multiply(y, add, true, terms) }

// Backward lists dx[t,i] = the sum of the terms' rows[t,o]·w[o,i], or += if add,
// in the order of Forward.
func (b *Batch) Backward(dx []float32, add bool, terms ...Term) { b.multiply(dx, add, false, terms) }

func (b *Batch) multiply(c []float32, add, transposed bool, terms []Term) {
	for e := range len(b.groups) - 1 {
		from, to := int(b.groups[e]), int(b.groups[e+1])
		if from == to {
			continue
		}
		first := len(b.parts)
		n := 0
		for _, t := range terms {
			w := t.W[e]
			k := w.Rows
			n = w.Cols
			if transposed {
				n, k = k, n
			}
			if k != t.Rows.cols {
				panic("kernel: rows and matrix do not fit")
			}
			if k > 0 && n > 0 {
				how := active.arithmeticOf(w, b.p.precision)
				b.parts = append(b.parts, part{a: b.left(t.Rows, e, how), w: w, transposed: transposed, k: k, arithmetic: how})
			}
		}
		b.list(c[from*n:to*n], to-from, n, add, first)
	}
}

// list adds the product of the parts from first on to those to be computed.
func (b *Batch) list(c []float32, m, n int, add bool, first int) {
	parts := b.parts[first:]
	if len(parts) > 0 {
		b.products = append(b.products, product{c: c, m: m, n: n, add: add, parts: parts, tier: active})
	} else if !add {
		clear(c)
	}
}

// left is group e of r as the left side of products.
func (b *Batch) left(r Rows, e int, how arithmetic) *left {
	n := len(b.groups) - 1
	known := &b.known[(2*r.id+how.unit-1)*n+e]
	if *known == 0 {
		from, to := int(b.groups[e]), int(b.groups[e+1])
		b.newLeft(left{data: r.data[from*r.cols : to*r.cols], lda: r.cols, m: to - from, k: r.cols, tier: active, arithmetic: how})
		*known = int32(b.inUse)
	}
	return b.lefts[*known-1]
}

func (b *Batch) newLeft(a left) *left {
	if b.inUse == len(b.lefts) {
		b.lefts = append(b.lefts, new(left))
	}
	p := b.lefts[b.inUse]
	b.inUse++
	*p = a
	p.cut()
	if !p.inPlace() {
		b.unpacked = append(b.unpacked, p)
	}
	return p
}

// Outer lists dw[o,i] += the sum over t of dy[t,o]·x[t,i], for each group; dw
// holds the groups' gradients one after the other. Every sum runs over t in
// ascending order in blocks of termBlock terms, in float32.
func (b *Batch) Outer(dw []float32, dy, x Rows) {
	size := dy.cols * x.cols
	how := arithmetic{active.tiles, nil, 1}
	for e := range len(b.groups) - 1 {
		from, to := int(b.groups[e]), int(b.groups[e+1])
		if from == to || size == 0 {
			continue
		}
		first := len(b.parts)
		a := b.newLeft(left{
			data: dy.data[from*dy.cols : to*dy.cols], lda: dy.cols, columns: true,
			m: dy.cols, k: to - from, tier: active, arithmetic: how,
		})
		w := Float32Matrix(x.data[from*x.cols:to*x.cols], to-from, x.cols)
		b.parts = append(b.parts, part{a: a, w: w, k: to - from, arithmetic: how})
		b.list(dw[e*size:(e+1)*size], dy.cols, x.cols, true, first)
	}
}

// Run computes what was listed since the last Run.
func (b *Batch) Run() {
	defer b.forget()
	b.pack()
	const tasksPerWorker = 4
	workers := b.p.workers
	wanted := 1
	if workers > 1 && len(b.products) > 0 {
		wanted = ceil(tasksPerWorker*workers, len(b.products))
	}
	tasks := 0
	for i := range b.products {
		q := &b.products[i]
		q.cut(wanted, workers)
		q.firstTask = tasks
		tasks += q.tasks()
	}
	b.p.Do(tasks, b.runTask)
}

// pack packs what was not packed before.
func (b *Batch) pack() {
	panels, elements, before := 0, 0, b.filled
	for _, a := range b.unpacked {
		a.first, a.at = panels, b.filled
		panels += a.panels
		b.filled += a.panels * a.stride
		elements += a.m * a.k
	}
	if cap(b.packed) < b.filled {
		b.packed = append(make([]float32, 0, b.filled), b.packed[:before]...)
	}
	b.packed = b.packed[:max(b.filled, len(b.packed))]
	const worthSharing = 1 << 14
	if elements >= worthSharing {
		b.p.Do(panels, b.packTask)
		return
	}
	for i := range panels {
		b.packTask(0, i)
	}
}
