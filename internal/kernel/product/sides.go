package product

import "qtool/internal/work"

// Left and Right are the two sides of a product of small matrices that is one
// part of a task: whoever does the part packs them and multiplies, without the
// pool. They keep their memory for the next matrix, so they allocate only to
// grow. A zero value is ready for use; one is used by one goroutine at a time,
// and what was packed is multiplied on the tier that it was packed on.
//
// Sides that are Rounded when they are packed hold elements in bfloat16, two terms in
// the place of one, and both sides of a product must be; the tier must multiply
// bfloat16.

// Left is the left side of products: Rows × Terms elements, in panels of as many
// rows as a micro-kernel has.
type Left struct {
	Rows, Terms int
	Rounded     bool
	// Multiplications are how many were done with what was packed since the beginning.
	Multiplications float64

	side    left
	memory  []float32 // of its panels
	scratch scratch
}

// multiplierOfSides is what sides are multiplied in.
func multiplierOfSides(rounded bool) *multiplier {
	if rounded {
		return active().multipliers[inBFloat16]
	}
	return active().multipliers[inFloat32]
}

// set packs the panels of side.
func (a *Left) set(side left) {
	side.multiplier = multiplierOfSides(a.Rounded)
	side.cut(1)
	a.Rows, a.Terms, a.side = side.m, side.k, side
	if a.side.inPlace() {
		return
	}
	packed := sized(&a.memory, side.size())
	for i := range side.panels {
		a.side.packPanel(&a.scratch, packed, i)
	}
}

// Pack copies a matrix whose element [i,l] is src[i·stride+l].
func (a *Left) Pack(src []float32, stride, rows, terms int) {
	a.set(left{of: Matrix{Rows: rows, Cols: terms, f32: src, lda: stride}, copied: true, m: rows, k: terms})
}

// View uses a matrix in place, unless it is to be rounded, whose element [i,l] is
// src[l·stride+i].
func (a *Left) View(src []float32, stride, rows, terms int) {
	if rows > 0 && terms > 0 {
		_ = src[(terms-1)*stride+rows-1]
	}
	a.set(left{of: Matrix{Rows: terms, Cols: rows, f32: src, lda: stride}, columns: true, m: rows, k: terms})
}

// Panels is the number of panels.
func (a *Left) Panels() int { return a.side.panels }

// Panel is the first row of panel p and the first row of the next.
func (a *Left) Panel(p int) (from, to int) { return work.Share(p, a.Rows, a.side.panels) }

// Right is the right side of products: Terms × Columns elements.
type Right struct {
	Terms, Columns int
	Rounded        bool

	of      Matrix // or its transpose
	packed  packedB
	memory  []float32
	scratch scratch
}

func (b *Right) set(src []float32, stride, rows, cols int) *multiplier {
	b.of = Matrix{Rows: rows, Cols: cols, f32: src, lda: stride}
	return multiplierOfSides(b.Rounded)
}

// Pack copies a matrix whose element [l,j] is src[l·stride+j].
func (b *Right) Pack(src []float32, stride, terms, columns int) {
	b.Terms, b.Columns = terms, columns
	m := b.set(src, stride, terms, columns)
	b.packed = m.packRows(m, &b.scratch, &b.memory, &b.of, 0, terms, 0, columns)
}

// View is Pack without the copy, where micro-kernels can read src in place: for
// products of few rows.
func (b *Right) View(src []float32, stride, terms, columns int) {
	m := b.set(src, stride, terms, columns)
	if !m.readable(&b.of, columns) {
		b.Pack(src, stride, terms, columns)
		return
	}
	b.Terms, b.Columns = terms, columns
	b.packed = m.read(&b.of, 0, 0)
}

// PackTransposed copies a matrix whose element [l,j] is src[j·stride+l].
func (b *Right) PackTransposed(src []float32, stride, terms, columns int) {
	b.Terms, b.Columns = terms, columns
	m := b.set(src, stride, columns, terms)
	b.packed = m.packTransposed(&b.scratch, &b.memory, &b.of, 0, terms, 0, columns)
}

// Multiply computes c[i·stride+j] = sum over from ≤ l < to of a[i,l]·b[l,j], or
// += if add, for the rows i of one panel of a and the first columns j of b. Every
// sum starts at 0, runs over l in ascending order and is then stored in c or added
// to it: what a row is given does not depend on the other rows, nor on terms that
// are 0. Of rounded sides whole pairs of terms are multiplied, from an even one on: what
// is beyond from and to must be 0.
func Multiply(c []float32, stride int, add bool, a *Left, panel int, b *Right, from, to, columns int) {
	first, last := a.Panel(panel)
	rows := last - first
	if columns <= 0 {
		return
	}
	c = c[first*stride : (last-1)*stride+columns]
	if from >= to {
		for r := 0; r < rows && !add; r++ {
			clear(c[r*stride:][:columns])
		}
		return
	}
	a.Multiplications += float64(rows) * float64(to-from) * float64(columns)
	m := a.side.multiplier
	f := factor{tiles: &m.tiles, b: b.packed}
	f.a, f.lda = a.side.panel(a.memory, panel, from)
	from, to = from/m.unit, ceil(to, m.unit)
	_ = f.b.data[(columns-1)/m.widths[0]*f.b.step+(to-1)*f.b.stride+(columns-1)%m.widths[0]]
	f.units, f.b.data = to-from, f.b.data[from*f.b.stride:]
	a.scratch.factors = append(a.scratch.factors[:0], f)
	multiplyTiles(&a.scratch, c, stride, m.widths, rows, columns, add)
}
