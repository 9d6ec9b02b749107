package kernel

// termBlock is how many terms of every sum are added up before they are added
// to the result. It is part of what defines the result, bit for bit: the same
// for every shape, number of tokens and of workers. It is a multiple of every
// ggml block.
const termBlock = 512

// decodedColumns is how many columns of encoded rows are decoded at once where
// the rows run along the result: a multiple of every ggml block.
const decodedColumns = 256

// product is c[i,j] += sum over l of a[i,l]·b[l,j], where b is w or its
// transpose; c is m × n, row by row.
//
// The work is cut like this, see docs/kernels.md:
//
//	task         blockColumns columns of c, all rows or a split of them
//	  terms      termBlock terms: that part of b is decoded and packed, once
//	    panel    up to tier.rows rows of a, packed beforehand for all tasks
//	      tile   one micro-kernel: rows of the panel × tier.widths[0] columns
type product struct {
	c       []float32
	a       []float32
	lda     int
	columns bool // a is stored [l,i], not [i,l]
	w       Matrix
	// transposed: b[l,j] is w[j,l], else w[l,j].
	transposed bool
	m, n, k    int

	*tier
	micro        [2][]tileFunc // tier.tiles, or those of pairs
	pairs        *pairKernels  // not nil: in bfloat16
	unit         int           // terms per element of packed panels: 1, or 2 for pairs
	terms        int           // termBlock or pairTermBlock
	panels       int           // of a
	panelStride  int           // between panels, as packed
	blockColumns int           // of a task
	blocks       int
	splits       int // of the panels

	// Where it is among the products that run together.
	firstTask, firstPanel, packedAt int
}

// scratch is what one worker needs; it grows to the largest shape seen.
type scratch struct {
	rows    rowPointers
	decoded []float32                 // rows before they are transposed
	row     []float32                 // a row before it is rounded
	b       []float32                 // the packed part of b
	two     [2][decodedColumns]uint16 // rows that make pairs
	edge    []float32                 // a tile that reaches beyond c
}

// sized is s with n elements, whose content is not defined.
func sized(s *[]float32, n int) []float32 {
	if cap(*s) < n {
		*s = make([]float32, n)
	}
	return (*s)[:n]
}

// multiply runs q on the pool.
func (p *Pool) multiply(q product) {
	p.operation.Lock()
	defer p.operation.Unlock()
	p.add(q)
	p.multiplyAll()
}

// add puts q on the list of what multiplyAll will do. The operation lock is
// held. It panics if a slice is too short: micro-kernels do not check.
func (p *Pool) add(q product) {
	if q.m == 0 || q.n == 0 || q.k == 0 {
		return
	}
	q.c = q.c[:q.m*q.n]
	if q.columns {
		q.a = q.a[:(q.k-1)*q.lda+q.m]
	} else {
		q.a = q.a[:(q.m-1)*q.lda+q.k]
	}
	q.tier = active
	q.choosePrecision(p.precision)
	p.products = append(p.products, q)
}

// multiplyAll runs the products of the list together and clears it.
func (p *Pool) multiplyAll() {
	defer p.forget()
	const tasksPerWorker = 4
	wanted := 1
	if p.workers > 1 && len(p.products) > 0 {
		wanted = ceil(tasksPerWorker*p.workers, len(p.products))
	}
	tasks, panels, packed, elements := 0, 0, 0, 0
	for i := range p.products {
		q := &p.products[i]
		q.cut(wanted)
		q.firstTask, q.firstPanel, q.packedAt = tasks, panels, packed
		tasks += q.blocks * q.splits
		if !q.inPlace() {
			panels += q.panels
			packed += q.panels * q.panelStride
			elements += q.m * q.k
		}
	}
	p.packed = sized(&p.packed, packed)
	p.pack(panels, elements)
	p.Do(tasks, p.multiplyTask)
}

// forget clears the list, after a panic too.
func (p *Pool) forget() {
	clear(p.products)
	p.products = p.products[:0]
}

// pack packs all panels of the list.
func (p *Pool) pack(panels, elements int) {
	const worthSharing = 1 << 14
	if elements >= worthSharing {
		p.Do(panels, p.packTask)
		return
	}
	for i := range panels {
		p.packTask(0, i)
	}
}

// find returns the last product whose first is at most i.
func (p *Pool) find(i int, first func(q *product) int) *product {
	low, high := 0, len(p.products)
	for high-low > 1 {
		middle := (low + high) / 2
		if first(&p.products[middle]) <= i {
			low = middle
		} else {
			high = middle
		}
	}
	return &p.products[low]
}

func firstTask(q *product) int  { return q.firstTask }
func firstPanel(q *product) int { return q.firstPanel }

func (q *product) choosePrecision(precision Precision) {
	pairs := q.tier.pairs
	if precision == Auto && pairs != nil && q.w.decode != nil {
		q.micro, q.pairs, q.unit, q.terms = pairs.tiles, pairs, 2, pairTermBlock
		return
	}
	q.micro, q.unit, q.terms = q.tiles, 1, termBlock
}

// cut chooses panels, blocks and splits: the wanted number of tasks or more.
// More splits of the panels mean that b is decoded more often, so they come last.
func (q *product) cut(wanted int) {
	wide := q.widths[0]
	q.panels = ceil(q.m, q.rows())
	// Transposing stores whole vectors, the next column overwrites the excess:
	// the last one needs room.
	q.panelStride = ceil(q.k, q.unit)*q.rows() + q.lanes
	if q.w.decode != nil && !q.transposed {
		q.blockColumns = decodedColumns
	} else {
		q.blockColumns = min(max(q.n/wanted/wide, 1), max(128/wide, 1)) * wide
	}
	q.blocks = ceil(q.n, q.blockColumns)
	const panelsPerSplit = 4
	q.splits = max(1, min(ceil(wanted, q.blocks), q.panels/panelsPerSplit))
}

func ceil(a, b int) int { return (a + b - 1) / b }

// panel is the first row of panel i and the first row of the next.
func (q *product) panel(i int) (from, to int) {
	return i * q.m / q.panels, (i + 1) * q.m / q.panels
}

// inPlace reports whether the elements that a micro-kernel needs are side by
// side already: of single rows and stored columns.
func (q *product) inPlace() bool { return q.columns || q.m == 1 && q.unit == 1 }

// packPanel transposes panel i of a, so that a micro-kernel finds its rows'
// elements side by side.
func (q *product) packPanel(s *scratch, packed []float32, i int) {
	packed = packed[q.packedAt+i*q.panelStride:][:q.panelStride]
	if q.pairs != nil {
		q.packPairs(s, packed, i)
		return
	}
	from, to := q.panel(i)
	// From the last rows to the first, whose vectors overwrite the excess of theirs.
	for r := (to - from - 1) / q.lanes * q.lanes; r >= 0; r -= q.lanes {
		for l := range q.lanes {
			s.rows[l] = &q.a[min(from+r+l, to-1)*q.lda]
		}
		q.transposeRows(packed[r:], to-from, s, min(q.lanes, to-from-r), q.k)
	}
}

// transposeRows stores element l of each of the first rows pointers in s at
// dst[l·stride:]. dst must have room for tier.lanes elements there.
func (t *tier) transposeRows(dst []float32, stride int, s *scratch, rows, n int) {
	whole := n &^ 3
	if whole > 0 {
		_ = dst[(whole-1)*stride+t.lanes-1]
		t.transpose(&dst[0], stride, &s.rows, whole)
	}
	for l := whole; l < n; l++ {
		for r := range rows {
			dst[l*stride+r] = *after(s.rows[r], l)
		}
	}
}

// run computes one task.
func (q *product) run(s *scratch, packed []float32, task int) {
	block, split := task/q.splits, task%q.splits
	j0 := block * q.blockColumns
	j1 := min(j0+q.blockColumns, q.n)
	first, last := split*q.panels/q.splits, (split+1)*q.panels/q.splits
	for l0 := 0; l0 < q.k; l0 += q.terms {
		l1 := min(l0+q.terms, q.k)
		b := q.loadB(s, l0, l1, j0, j1)
		for i := first; i < last; i++ {
			q.multiplyPanel(s, packed, i, b, l0, l1, j0, j1)
		}
	}
}

// packedB is a part of b: element [l,j] is at
// data[j/wide·step + l·stride + j%wide].
type packedB struct {
	data         []float32
	step, stride int
}

func (q *product) loadB(s *scratch, l0, l1, j0, j1 int) packedB {
	switch {
	case q.transposed:
		return q.loadTransposed(s, l0, l1, j0, j1)
	case q.pairs != nil:
		return q.loadPairs(s, l0, l1, j0, j1)
	case q.w.decode == nil && (j1-j0)%q.widths[1] == 0:
		return packedB{q.w.f32[l0*q.w.Cols+j0:], q.widths[0], q.w.Cols}
	}
	// The odd line between rows keeps them from sharing the cache's sets.
	stride := ceil(j1-j0, q.widths[0])*q.widths[0] + 16
	b := sized(&s.b, (l1-l0)*stride)
	for l := l0; l < l1; l++ {
		q.expect(l+rowsAhead, j0, j1)
		q.w.part(q.tier, b[(l-l0)*stride:], l, j0, j1)
	}
	return packedB{b, q.widths[0], stride}
}

// How many rows ahead encoded parts are fetched before they are decoded, where
// rows cross a block and where they run along its terms: a part of a row is too
// short for the hardware to see.
const (
	rowsAhead  = 8
	partsAhead = 4
)

// expect fetches a part of encoded row r, if there is one.
func (q *product) expect(r, from, to int) {
	if q.prefetch != nil && q.w.decode != nil && r < q.w.Rows {
		part := q.w.bytesOf(r, from, to)
		q.prefetch(&part[0], len(part))
	}
}

// loadTransposed packs rows j0 to j1-1 of w.
func (q *product) loadTransposed(s *scratch, l0, l1, j0, j1 int) packedB {
	wide, n := q.widths[0], ceil(l1-l0, q.unit)
	b := sized(&s.b, ceil(j1-j0, wide)*wide*n)
	const gap = 16
	decoded := sized(&s.decoded, q.lanes*(termBlock+gap))
	for j := j0; j < j1; j += q.lanes {
		rows := min(q.lanes, j1-j)
		for r := range q.lanes {
			row := decoded[r*(termBlock+gap):]
			q.expect(j+r+partsAhead, l0, l1)
			switch {
			case r >= rows:
				s.rows[r] = s.rows[rows-1]
				continue
			case q.pairs != nil:
				q.partBF16(asPairs(row), j+r, l0, l1, &s.row)
			case q.w.decode != nil:
				q.w.part(q.tier, row, j+r, l0, l1)
			default:
				row = q.w.f32[(j+r)*q.w.Cols+l0:]
			}
			s.rows[r] = &row[0]
		}
		at := j - j0
		q.transposeRows(b[at/wide*wide*n+at%wide:], wide, s, rows, n)
	}
	return packedB{b, wide * n, wide}
}

// multiplyPanel adds the products of panel i and b to c.
func (q *product) multiplyPanel(s *scratch, packed []float32, i int, b packedB, l0, l1, j0, j1 int) {
	from, to := q.panel(i)
	rows := to - from
	n := ceil(l1-l0, q.unit)
	a, lda := q.panelOfA(packed, i, from, rows, l0)
	for j := j0; j < j1; j += q.widths[0] {
		w := 0
		if j1-j <= q.widths[1] {
			w = 1
		}
		tile := q.micro[w][rows-1]
		data := &b.data[(j-j0)/q.widths[0]*b.step]
		if j1-j >= q.widths[w] {
			tile(n, a, lda, data, b.stride, &q.c[from*q.n+j], q.n)
			continue
		}
		edge := sized(&s.edge, rows*q.widths[w])
		clear(edge)
		tile(n, a, lda, data, b.stride, &edge[0], q.widths[w])
		for r := range rows {
			for k := range j1 - j {
				q.c[(from+r)*q.n+j+k] += edge[r*q.widths[w]+k]
			}
		}
	}
}

// panelOfA is the first element of panel i at term l0 and the distance from
// one term to the next.
func (q *product) panelOfA(packed []float32, i, from, rows, l0 int) (a *float32, lda int) {
	switch {
	case q.columns:
		return &q.a[l0*q.lda+from], q.lda
	case q.inPlace():
		return &q.a[l0], 1
	}
	return &packed[q.packedAt+i*q.panelStride+l0/q.unit*rows], rows
}
