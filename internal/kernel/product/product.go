package product

import (
	"unsafe"

	"qtool/internal/kernel/simd"
	"qtool/internal/kernel/vector"
	"qtool/internal/work"
)

// termBlock is how many terms of every sum are added up before they are added
// to the result. It is part of what defines the result, bit for bit: the same
// for every shape, number of tokens and of workers. It is a multiple of every
// ggml block.
const termBlock = 512

// decodedColumns is what parts of encoded rows begin and end at a multiple of where
// no tier knows their blocks: a multiple of every ggml block.
const decodedColumns = 256

// product is c[i,j] = or += the sum of its parts; c is m × n, row by row.
//
// The work is cut like this, see docs/kernels.md:
//
//	task         a block of columns of c, all rows or a piece of them
//	  stage      termBlock terms: that part of b is decoded and packed, once
//	    piece    as many of the columns as stay in the L2 cache
//	      panel  up to tier.rows rows of a, packed beforehand for all tasks
//	        tile micro-kernels: rows of the panel × tier.widths[0] columns
type product struct {
	c     []float32
	m, n  int
	add   bool   // to c, else it is overwritten
	parts []part // at least one

	*tier
	panels int // that the rows are cut into
	align  int // columns of a task begin at a multiple of it
	widest int // columns of a task

	group, set int
	before     int // work of the set's products before this one
	column     int // multiplications of a column
	pieces     int // that the rows are divided into
}

// part is the sum over l < k of a[i,l]·b[l,j], where b is w or its transpose.
type part struct {
	a *left
	w Matrix
	// transposed: b[l,j] is w[j,l], else w[l,j].
	transposed bool
	k          int
	arithmetic
}

// arithmetic is what a part is multiplied in.
type arithmetic struct {
	micro [2][]tileFunc // tier.tiles, or those of pairs
	pairs *pairKernels  // not nil: in bfloat16
	unit  int           // terms per element of packed panels: 1, or 2 for pairs
}

// left is a matrix a of m × k elements that parts multiply with: element [i,l] is
// data[i·lda+l], or data[l·lda+i] if it is stored by columns. Elements that are rounded
// lie in data in pairs.
type left struct {
	data    []float32
	lda     int
	columns bool
	rounded bool
	m, k    int

	tier *tier
	arithmetic
	panels int
	stride int // between panels, as packed
	at     int // of the first panel in Batch.packed
	row    int // the first of its group
}

// scratch is what one worker needs; it grows to the largest shape seen.
type scratch struct {
	rows    vector.Rows
	decoded []float32   // rows before they are transposed
	row     []float32   // a row before it is rounded
	b       [][]float32 // the packed parts of b of a stage
	stage   []slice     // the stage at hand
	edge    []float32   // a tile that reaches beyond c
}

// slice is terms from to to-1 of a part, with that part of b.
type slice struct {
	*part
	from, to int
	units    int // that they are in packed panels
	b        packedB

	// Of the panel at hand: its first term, and the distance from one to the next.
	left *float32
	lda  int
}

// sized is s with n elements, whose content is not defined.
func sized[E any](s *[]E, n int) []E {
	if cap(*s) < n {
		*s = make([]E, n)
	}
	return (*s)[:n]
}

func ceil(a, b int) int { return (a + b - 1) / b }

// arithmeticOf chooses what w is multiplied in.
func (t *tier) arithmeticOf(w Matrix, precision Precision) arithmetic {
	if pairs := t.pairs; precision == Auto && pairs != nil && (w.decode != nil || w.roundable) {
		return arithmetic{pairs.tiles, pairs, 2}
	}
	return arithmetic{t.tiles, nil, 1}
}

// terms is how many terms are added up at once.
func (a *arithmetic) terms() int { return termBlock * a.unit }

// widest is the most columns of a task, unless blocks are longer.
const widest = 192

// resident is how many columns of a stage take half of the L2 cache, which must hold
// them while they are multiplied with all rows; what is decoded of longer blocks is
// multiplied piece by piece. No more than 256, which nothing is longer than.
var resident = residentOf(simd.LevelTwoBytes())

func residentOf(cache int) int { return min(max(cache/2/(4*termBlock)/32*32, 64), decodedColumns) }

// prepare finds how the product can be cut.
func (q *product) prepare(workers int) {
	q.panels = q.panelsOf(q.m, workers)
	q.column = 0
	q.align = q.widths[0]
	for i := range q.parts {
		p := &q.parts[i]
		q.column += q.m * p.k
		if !p.transposed {
			q.align = max(q.align, p.w.cuts())
		}
	}
	q.widest = max(min(widest, resident)/q.align, 1) * q.align
}

// cut lays the panels out as they are packed.
func (a *left) cut(workers int) {
	a.panels = a.tier.panelsOf(a.m, workers)
	// Transposing stores whole vectors, the next column overwrites the excess:
	// the last one needs room.
	a.stride = ceil(a.k, a.unit)*a.tier.rows() + a.tier.Lanes
}

// size is how much of Batch.packed a takes.
func (a *left) size() int {
	switch {
	case a.inPlace():
		return 0
	case a.columns:
		return ceil(a.k, a.unit) * a.m
	}
	return a.panels * a.stride
}

// inPlace reports whether the elements that a micro-kernel needs are side by
// side already: of single rows and stored columns.
func (a *left) inPlace() bool { return a.unit == 1 && (a.columns || a.m == 1) }

// packPanel transposes panel i of a, so that a micro-kernel finds its rows'
// elements side by side.
func (a *left) packPanel(s *scratch, packed []float32, i int) {
	if a.columns {
		a.packColumns(packed[a.at:], i)
		return
	}
	packed, k := packed[a.at+i*a.stride:][:a.stride], a.k
	if a.rounded {
		k /= 2
	} else if a.pairs != nil {
		a.packPairs(s, packed, i)
		return
	}
	t := a.tier
	from, to := work.Share(i, a.m, a.panels)
	// From the last rows to the first, whose vectors overwrite the excess of theirs.
	for r := (to - from - 1) / t.Lanes * t.Lanes; r >= 0; r -= t.Lanes {
		for l := range t.Lanes {
			s.rows[l] = &a.data[min(from+r+l, to-1)*a.lda]
		}
		t.transposeRows(packed[r:], to-from, s, min(t.Lanes, to-from-r), k)
	}
}

// transposeRows stores element l of each of the first rows pointers in s at
// dst[l·stride:]. dst must have room for tier.Lanes elements there.
func (t *tier) transposeRows(dst []float32, stride int, s *scratch, rows, n int) {
	whole := n &^ 3
	if whole > 0 {
		_ = dst[(whole-1)*stride+t.Lanes-1]
		t.Transpose(&dst[0], stride, &s.rows, whole)
	}
	for l := whole; l < n; l++ {
		for r := range rows {
			dst[l*stride+r] = *after(s.rows[r], l)
		}
	}
}

func (t *task) run(s *scratch, packed []float32) {
	q, j0, j1 := t.q, t.j0, t.j1
	add := q.add
	for at := (position{}); at.part < len(q.parts); add = true {
		at = q.nextStage(s, at)
		for i := range s.stage {
			s.stage[i].load(s, i, j0, j1)
		}
		for j := j0; j < j1; j += resident {
			for i := t.first; i < t.last; i++ {
				q.multiplyPanel(s, packed, i, j0, j, min(j+resident, j1), add)
			}
		}
	}
}

// position is a term of a part.
type position struct{ part, term int }

// stageSlack is how many elements of packed panels a stage may have beyond a
// block, so that short parts, such as a LoRA pair's, need none of their own.
const stageSlack = 64

// nextStage lists the terms from at on that are decoded together: a block of a
// part and, where there is room, those that follow.
func (q *product) nextStage(s *scratch, at position) position {
	s.stage = s.stage[:0]
	for room := termBlock + stageSlack; at.part < len(q.parts); {
		p := &q.parts[at.part]
		to := min(at.term+p.terms(), p.k)
		size := ceil(to-at.term, p.unit)
		if size > room {
			break
		}
		s.stage = append(s.stage, slice{part: p, from: at.term, to: to, units: size})
		room -= size
		if at.term = to; to == p.k {
			at = position{at.part + 1, 0}
		}
	}
	return at
}

// packedB is a part of b: element [l,j] is at
// data[j/wide·step + l·stride + j%wide].
type packedB struct {
	data         []float32
	step, stride int
}

// load readies columns j0 to j1-1 of b; i is the slice's place in its stage.
func (p *slice) load(s *scratch, i, j0, j1 int) {
	for len(s.b) <= i {
		s.b = append(s.b, nil)
	}
	t, b := p.a.tier, &s.b[i]
	switch {
	case p.transposed:
		p.b = p.loadTransposed(t, s, b, j0, j1)
	case p.pairs != nil:
		p.b = p.loadPairs(t, s, b, j0, j1)
	case p.w.decode == nil && p.a.panels < worthPacking && (j1-j0)%t.widths[1] == 0:
		p.b = packedB{p.w.f32[p.from*p.w.Cols+j0:], t.widths[0], p.w.Cols}
	default:
		p.b = p.loadRows(t, s, b, j0, j1)
	}
}

// worthPacking is how many panels of a must be multiplied with rows of float32 for
// them to be packed.
const worthPacking = 4

// loadRows packs columns j0 to j1-1 of the rows of w.
func (p *slice) loadRows(t *tier, s *scratch, b *[]float32, j0, j1 int) packedB {
	wide, n, columns, w := t.widths[0], p.to-p.from, j1-j0, &p.w
	data := sized(b, ceil(columns, wide)*wide*n)
	rows := sized(&s.decoded, decodedRows*columns)
	for l := 0; l < n; l++ {
		row := rows[l%decodedRows*columns:][:columns]
		switch r := p.from + l; {
		case w.decode == nil:
			t.expect(w, r+rowsAhead, j0, j1)
			row = w.f32[r*w.Cols+j0 : r*w.Cols+j1]
		case l%decodedRows == 0:
			w.parts(t, rows, columns, r, min(r+decodedRows, p.to), j0, j1)
		}
		t.packRow(data[l*wide:], wide*n, row)
	}
	return packedB{data, wide * n, wide}
}

// decodedRows is how many rows are decoded at once before they are packed.
const decodedRows = 32

// packRow stores element j of row at dst[j/wide·step+j%wide], where wide is the width
// of a tile.
func (t *tier) packRow(dst []float32, step int, row []float32) {
	wide := t.widths[0]
	whole := len(row) / wide
	if whole > 0 {
		_ = dst[(whole-1)*step+wide-1]
		t.toPanels(&dst[0], step, &row[0], whole)
	}
	if rest := row[whole*wide:]; len(rest) > 0 {
		copy(dst[whole*step:], rest)
	}
}

// rowsAhead is how many rows ahead parts are fetched where no decoder does it: a part
// of a row is too short for the hardware to see.
const rowsAhead = 8

// expect fetches a part of row r, if there is one.
func (t *tier) expect(w *Matrix, r, from, to int) {
	switch {
	case t.prefetch == nil || r >= w.Rows:
	case w.decode == nil:
		t.prefetch((*byte)(unsafe.Pointer(&w.f32[r*w.Cols+from])), 4*(to-from))
	default:
		part := w.bytesOf(r, from, to)
		t.prefetch(&part[0], len(part))
	}
}

// loadTransposed packs rows j0 to j1-1 of w.
func (p *slice) loadTransposed(t *tier, s *scratch, b *[]float32, j0, j1 int) packedB {
	l0, l1 := p.from, p.to
	wide, n := t.widths[0], ceil(l1-l0, p.unit)
	data := sized(b, ceil(j1-j0, wide)*wide*n)
	const gap = 16
	decoded := sized(&s.decoded, t.Lanes*(termBlock+gap))
	for j := j0; j < j1; j += t.Lanes {
		rows := min(t.Lanes, j1-j)
		first, stride := &decoded[0], termBlock+gap
		switch {
		case p.pairs != nil:
			p.pairs.rows(t, asPairs(decoded), 2*stride, &p.w, j, j+rows, l0, l1, &s.row)
		case p.w.decode != nil:
			p.w.parts(t, decoded, stride, j, j+rows, l0, l1)
		default:
			first, stride = &p.w.f32[j*p.w.Cols+l0], p.w.Cols
			for r := range rows {
				t.expect(&p.w, j+r+rowsAhead, l0, l1)
			}
		}
		for r := range t.Lanes {
			s.rows[r] = after(first, min(r, rows-1)*stride)
		}
		at := j - j0
		t.transposeRows(data[at/wide*wide*n+at%wide:], wide, s, rows, n)
	}
	return packedB{data, wide * n, wide}
}

// multiplyPanel adds the products of panel i and columns j0 to j1-1 of the stage, which
// begins at column first, to c, or stores them.
func (q *product) multiplyPanel(s *scratch, packed []float32, i, first, j0, j1 int, add bool) {
	from, to := work.Share(i, q.m, q.panels)
	rows := to - from
	for k := range s.stage {
		p := &s.stage[k]
		p.left, p.lda = p.a.panel(packed, i, p.from)
	}
	wide, narrow := q.widths[0], q.widths[1]
	for j, step := j0, (j0-first)/wide; j < j1; j, step = j+wide, step+1 {
		w, width := 0, wide
		if j1-j <= narrow {
			w, width = 1, narrow
		}
		c, stride, more := q.c[from*q.n+j:], q.n, add
		beyond := j1-j < width
		if beyond {
			c, stride = s.beginEdge(c, q.n, rows, j1-j, width, add)
		}
		for k := range s.stage {
			p := &s.stage[k]
			p.micro[w][rows-1](p.units, p.left, p.lda, &p.b.data[step*p.b.step], p.b.stride, &c[0], stride, more)
			more = true
		}
		if beyond {
			copyRows(q.c[from*q.n+j:], q.n, c, stride, rows, j1-j)
		}
	}
}

// beginEdge is a tile for results that reach beyond the columns of c; it holds
// what they are added to.
func (s *scratch) beginEdge(c []float32, stride, rows, columns, width int, add bool) (edge []float32, edgeStride int) {
	edge = sized(&s.edge, rows*width)
	if add {
		copyRows(edge, width, c, stride, rows, columns)
	}
	return edge, width
}

// copyRows copies the first columns of each row.
func copyRows(dst []float32, dstStride int, src []float32, srcStride, rows, columns int) {
	for r := range rows {
		copy(dst[r*dstStride:][:columns], src[r*srcStride:])
	}
}

// panel is the first element of panel i at term l and the distance from one term
// to the next.
func (a *left) panel(packed []float32, i, l int) (first *float32, lda int) {
	from, to := work.Share(i, a.m, a.panels)
	switch {
	case a.columns && a.unit == 1:
		return &a.data[l*a.lda+from], a.lda
	case a.columns:
		return &packed[a.at+l/a.unit*a.m+from], a.m
	case a.inPlace():
		return &a.data[l], 1
	}
	return &packed[a.at+i*a.stride+l/a.unit*(to-from)], to - from
}
