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

	tier    *tier
	panels  int
	data    []float32
	viewed  bool // in place: as described at View, else panel after panel
	stride  int  // of terms if viewed, else of panels
	packed  []float32
	scratch scratch
}

func (a *Left) set(rows, terms int) {
	a.Rows, a.Terms, a.tier = rows, terms, active()
	a.panels = ceil(rows, a.tier.rows())
}

// Pack copies a matrix whose element [i,l] is src[i·stride+l].
func (a *Left) Pack(src []float32, stride, rows, terms int) {
	a.set(rows, terms)
	t, n := a.tier, units(terms, a.Rounded)
	// Transposing stores whole vectors: the last column needs room.
	a.viewed, a.stride = false, n*t.rows()+t.Lanes
	a.data = sized(&a.packed, a.panels*a.stride)
	if terms == 0 {
		return
	}
	for p := range a.panels {
		from, to := a.Panel(p)
		// From the last rows to the first, whose vectors overwrite the excess of theirs.
		for r := (to - from - 1) / t.Lanes * t.Lanes; r >= 0; r -= t.Lanes {
			rows := min(t.Lanes, to-from-r)
			a.scratch.pointAt(t, src[(from+r)*stride:], stride, rows, terms, a.Rounded)
			t.transposeRows(a.data[p*a.stride+r:], to-from, &a.scratch, rows, n)
		}
	}
}

// units is how many elements of a packed side terms take.
func units(terms int, rounded bool) int {
	if rounded {
		return ceil(terms, 2)
	}
	return terms
}

// pointAt makes s.rows the first rows of src, rounded if asked for; the last one stands
// for those that are missing.
func (s *scratch) pointAt(t *tier, src []float32, stride, rows, terms int, rounded bool) {
	const gap = 16
	n := ceil(terms, 2) + gap
	for l := range t.Lanes {
		switch {
		case l >= rows:
			s.rows[l] = s.rows[rows-1]
		case rounded:
			row := sized(&s.decoded, t.Lanes*n)[l*n:]
			t.pairs.roundRow(asPairs(row), src[l*stride:][:terms])
			s.rows[l] = &row[0]
		default:
			s.rows[l] = &src[l*stride]
		}
	}
}

// View uses a matrix in place, unless it is to be rounded, whose element [i,l] is
// src[l·stride+i].
func (a *Left) View(src []float32, stride, rows, terms int) {
	a.set(rows, terms)
	a.viewed, a.stride, a.data = true, stride, src
	if a.Rounded {
		a.stride, a.data = rows, sized(&a.packed, ceil(terms, 2)*rows)
		for l := 0; l < terms; l += 2 {
			a.tier.pairs.joined(a.data[l/2*rows:], src, false, stride, terms, l, 0, rows)
		}
	}
}

// Panels is the number of panels.
func (a *Left) Panels() int { return a.panels }

// Panel is the first row of panel p and the first row of the next.
func (a *Left) Panel(p int) (from, to int) {
	return work.Share(p, a.Rows, a.panels)
}

// terms is the first element of a panel at term l and the distance from one
// term to the next.
func (a *Left) terms(panel, l int) (first *float32, stride int) {
	from, to := a.Panel(panel)
	if a.Rounded {
		l /= 2
	}
	if a.viewed {
		_ = a.data[(units(a.Terms, a.Rounded)-1)*a.stride+a.Rows-1]
		return &a.data[l*a.stride+from], a.stride
	}
	return &a.data[panel*a.stride+l*(to-from)], to - from
}

// Right is the right side of products: Terms × Columns elements.
type Right struct {
	Terms, Columns int
	Rounded        bool

	packed  packedB
	memory  []float32
	scratch scratch
}

// Pack copies a matrix whose element [l,j] is src[l·stride+j].
func (b *Right) Pack(src []float32, stride, terms, columns int) {
	b.Terms, b.Columns = terms, columns
	wide := active().widths[0]
	// The odd line between rows keeps them from sharing the cache's sets.
	width := ceil(columns, wide)*wide + 16
	b.packed = packedB{sized(&b.memory, units(terms, b.Rounded)*width), wide, width}
	if b.Rounded {
		for l := 0; l < terms; l += 2 {
			active().pairs.joined(b.packed.data[l/2*width:], src, false, stride, terms, l, 0, columns)
		}
		return
	}
	for l := range terms {
		copy(b.packed.data[l*width:], src[l*stride:][:columns])
	}
}

// View is Pack without the copy, where micro-kernels can read src in place: for
// products of few rows.
func (b *Right) View(src []float32, stride, terms, columns int) {
	if b.Rounded || columns%active().widths[1] != 0 {
		b.Pack(src, stride, terms, columns)
		return
	}
	b.Terms, b.Columns = terms, columns
	b.packed = packedB{src, active().widths[0], stride}
}

// PackTransposed copies a matrix whose element [l,j] is src[j·stride+l].
func (b *Right) PackTransposed(src []float32, stride, terms, columns int) {
	b.Terms, b.Columns = terms, columns
	t := active()
	wide, n := t.widths[0], units(terms, b.Rounded)
	b.packed = packedB{sized(&b.memory, ceil(columns, wide)*wide*n), wide * n, wide}
	if terms == 0 {
		return
	}
	for j := 0; j < columns; j += t.Lanes {
		rows := min(t.Lanes, columns-j)
		b.scratch.pointAt(t, src[j*stride:], stride, rows, terms, b.Rounded)
		t.transposeRows(b.packed.data[j/wide*wide*n+j%wide:], wide, &b.scratch, rows, n)
	}
}

// Multiply computes c[i·stride+j] = sum over from ≤ l < to of a[i,l]·b[l,j], or
// += if add, for the rows i of one panel of a and the first columns j of b. Every
// sum starts at 0, runs over l in ascending order and is then stored in c or added
// to it: what a row is given does not depend on the other rows, nor on terms that
// are 0. Of rounded sides whole pairs of terms are multiplied, from an even one on: what
// is beyond from and to must be 0.
func Multiply(c []float32, stride int, add bool, a *Left, panel int, b *Right, from, to, columns int) {
	t := a.tier
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
	left, lda := a.terms(panel, from)
	tiles := &t.tiles
	if a.Rounded {
		tiles, from, to = &t.pairs.tiles, from/2, ceil(to, 2)
	}
	_ = b.packed.data[(columns-1)/t.widths[0]*b.packed.step+(to-1)*b.packed.stride+(columns-1)%t.widths[0]]
	for j := 0; j < columns; j += t.widths[0] {
		w := 0
		if columns-j <= t.widths[1] {
			w = 1
		}
		tile := tiles[w][rows-1]
		right := &b.packed.data[j/t.widths[0]*b.packed.step+from*b.packed.stride]
		if columns-j >= t.widths[w] {
			tile(to-from, left, lda, right, b.packed.stride, &c[j], stride, add)
			continue
		}
		edge, width := a.scratch.beginEdge(c[j:], stride, rows, columns-j, t.widths[w], add)
		tile(to-from, left, lda, right, b.packed.stride, &edge[0], width, add)
		copyRows(c[j:], stride, edge, width, rows, columns-j)
	}
}
