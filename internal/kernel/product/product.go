package product

import (
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

// product is c[i,j] = or += the sum of its summands; c is m × n, row by row.
//
// The work is cut like this, see docs/kernels.md:
//
//	task         a block of columns of c, all rows or a band of them
//	  stage      termBlock terms: those rows of b are decoded and packed, once
//	    piece    as many of the columns as stay in the L2 cache
//	      panel  up to multiplier.tileRows rows of a, packed beforehand for all tasks
//	        tile micro-kernels: rows of the panel × multiplier.widths[0] columns
type product struct {
	c        []float32
	m, n     int
	add      bool      // to c, else it is overwritten
	summands []summand // at least one; all are multiplied in tiles of one size

	*multiplier     // of the first
	panels      int // that the rows are cut into
	align       int // columns of a task begin at a multiple of it
	widest      int // columns of a task

	group, set int
	before     int // work of the set's products before this one
	column     int // multiplications of a column
	bands      int // that the rows are divided into
}

// summand is the sum over l < k of a[i,l]·b[l,j], where b is w or its transpose.
type summand struct {
	a *left
	w Matrix
	// transposed: b[l,j] is w[j,l], else w[l,j].
	transposed bool
	k          int
}

// scratch is what one worker needs; it grows to the largest shape seen.
type scratch struct {
	rows    vector.Rows
	decoded []float32    // rows before they are transposed
	row     []float32    // a row before it is rounded
	b       [][]float32  // packed, of each summand of a stage
	stage   []stageTerms // the stage at hand
	factors []factor     // of one of its panels
	edge    []float32    // a tile that reaches beyond c
}

// stageTerms are the terms from to to-1 of a summand, with those rows of b.
type stageTerms struct {
	*summand
	from, to int
	units    int // that they are in packed panels
	b        packedB
}

// sized is s with n elements, whose content is not defined.
func sized[E any](s *[]E, n int) []E {
	if cap(*s) < n {
		*s = make([]E, n)
	}
	return (*s)[:n]
}

func ceil(a, b int) int { return (a + b - 1) / b }

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
	for i := range q.summands {
		p := &q.summands[i]
		q.column += q.m * p.k
		if !p.transposed {
			q.align = max(q.align, p.w.cuts())
		}
	}
	q.widest = max(min(widest, resident)/q.align, 1) * q.align
}

func (t *task) run(s *scratch, packed []float32) {
	q, j0, j1 := t.q, t.j0, t.j1
	add := q.add
	for at := (position{}); at.summand < len(q.summands); add = true {
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

// position is a term of a summand.
type position struct{ summand, term int }

// stageSlack is how many elements of packed panels a stage may have beyond a
// block, so that short summands, such as a LoRA pair's, need none of their own.
const stageSlack = 64

// nextStage lists the terms from at on that are decoded together: a block of a
// summand and, where there is room, of those that follow.
func (q *product) nextStage(s *scratch, at position) position {
	s.stage = s.stage[:0]
	for room := termBlock + stageSlack; at.summand < len(q.summands); {
		p := &q.summands[at.summand]
		to := min(at.term+p.a.terms(), p.k)
		size := ceil(to-at.term, p.a.unit)
		if size > room {
			break
		}
		s.stage = append(s.stage, stageTerms{summand: p, from: at.term, to: to, units: size})
		room -= size
		if at.term = to; to == p.k {
			at = position{at.summand + 1, 0}
		}
	}
	return at
}

// worthPacking is how many panels of a must be multiplied with rows of float32 for
// them to be packed.
const worthPacking = 4

// load readies columns j0 to j1-1 of b; i is the place of p in its stage.
func (p *stageTerms) load(s *scratch, i, j0, j1 int) {
	for len(s.b) <= i {
		s.b = append(s.b, nil)
	}
	m, memory := p.a.multiplier, &s.b[i]
	switch {
	case p.transposed:
		p.b = m.packTransposed(s, memory, &p.w, p.from, p.to, j0, j1)
	case p.a.panels < worthPacking && m.readable(&p.w, j1-j0):
		p.b = m.read(&p.w, p.from, j0)
	default:
		p.b = m.packRows(m, s, memory, &p.w, p.from, p.to, j0, j1)
	}
}

// multiplyPanel adds the products of panel i and columns j0 to j1-1 of the stage, which
// begins at column first, to c, or stores them.
func (q *product) multiplyPanel(s *scratch, packed []float32, i, first, j0, j1 int, add bool) {
	from, to := work.Share(i, q.m, q.panels)
	s.factors = s.factors[:0]
	for k := range s.stage {
		p := &s.stage[k]
		f := factor{tiles: &p.a.tiles, units: p.units, b: p.b}
		f.a, f.lda = p.a.panel(packed, i, p.from)
		f.b.data = f.b.data[(j0-first)/q.widths[0]*f.b.step:]
		s.factors = append(s.factors, f)
	}
	multiplyTiles(s, q.c[from*q.n+j0:], q.n, q.widths, to-from, j1-j0, add)
}
