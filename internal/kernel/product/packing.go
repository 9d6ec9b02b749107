package product

import (
	"unsafe"

	"qtool/internal/work"
)

// left is the left side of products, a matrix a of m × k elements in panels of as many rows as
// a tile has: [terms][rows], so that a micro-kernel finds the elements of its rows side by
// side. Batches pack panels on all workers, [Left] packs them by itself.
type left struct {
	of      Matrix // a, or its transpose
	columns bool   // of is the transpose: its rows are terms
	copied  bool   // panels are packed even where a could be read in place
	m, k    int

	*multiplier
	panels int
	stride int // between panels, as packed
	at     int // of the first panel among all that are packed
	row    int // the first of its group
}

// cut lays the panels out as they are packed.
func (a *left) cut(workers int) {
	a.panels = a.panelsOf(a.m, workers)
	// Transposing stores whole vectors, the next column overwrites the excess:
	// the last one needs room.
	a.stride = ceil(a.k, a.unit)*a.tileRows() + a.tier.Lanes
}

// size is how many elements its packed panels take.
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
func (a *left) inPlace() bool { return a.unit == 1 && !a.copied && (a.columns || a.m == 1) }

// packPanel packs panel i; of what is stored by columns, the first panel's takes all.
func (a *left) packPanel(s *scratch, packed []float32, i int) {
	packed = packed[a.at:]
	if a.columns {
		for l := 0; l < a.k && i == 0; l += a.unit {
			a.putTerms(packed[l/a.unit*a.m:], &a.of, l, 0, a.m)
		}
		return
	}
	packed = packed[i*a.stride:][:a.stride]
	from, to := work.Share(i, a.m, a.panels)
	rows, lanes := to-from, a.tier.Lanes
	for l0 := 0; l0 < a.k; l0 += a.terms() {
		l1 := min(l0+a.terms(), a.k)
		// From the last rows to the first, whose vectors overwrite the excess of theirs.
		for r := (rows - 1) / lanes * lanes; r >= 0; r -= lanes {
			n := min(lanes, rows-r)
			a.pointTo(a.tier, s, &a.of, from+r, n, l0, l1)
			a.tier.transposeRows(packed[l0/a.unit*rows+r:], rows, s, n, ceil(l1-l0, a.unit))
		}
	}
}

// panel is the first element of panel i at term l and the distance from one term
// to the next.
func (a *left) panel(packed []float32, i, l int) (first *float32, lda int) {
	from, to := work.Share(i, a.m, a.panels)
	switch {
	case a.columns && a.inPlace():
		return &a.of.f32[l*a.of.lda+from], a.of.lda
	case a.columns:
		return &packed[a.at+l/a.unit*a.m+from], a.m
	case a.inPlace():
		return &a.of.f32[l], 1
	}
	return &packed[a.at+i*a.stride+l/a.unit*(to-from)], to - from
}

// packedB is a right side of products, b: element [l,j] is at
// data[j/wide·step + l·stride + j%wide], where wide is the width of a tile.
type packedB struct {
	data         []float32
	step, stride int
}

// packTransposed packs the transpose of w: its rows j0 to j1-1 are columns of b, of which
// terms l0 to l1-1 are wanted.
func (m *multiplier) packTransposed(s *scratch, memory *[]float32, w *Matrix, l0, l1, j0, j1 int) packedB {
	wide, n, lanes := m.widths[0], ceil(l1-l0, m.unit), m.tier.Lanes
	b := packedB{sized(memory, ceil(j1-j0, wide)*wide*n), wide * n, wide}
	for j := j0; j < j1 && n > 0; j += lanes {
		rows, at := min(lanes, j1-j), j-j0
		m.pointTo(m.tier, s, w, j, rows, l0, l1)
		m.tier.transposeRows(b.data[at/wide*b.step+at%wide:], wide, s, rows, n)
	}
	return b
}

// readable reports whether micro-kernels can read columns of w's rows where they are.
func (m *multiplier) readable(w *Matrix, columns int) bool {
	return m.unit == 1 && w.decode == nil && columns%m.widths[1] == 0
}

// read is columns from j0 on of rows from l0 on of w, which is readable.
func (m *multiplier) read(w *Matrix, l0, j0 int) packedB {
	return packedB{w.f32[l0*w.lda+j0:], m.widths[0], w.lda}
}

// transposeRows stores element l of each of the first rows pointers in s at
// dst[l·stride:]. dst must have room for Lanes elements there.
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

// decodedStride is how far apart decoded rows of n elements lie before they are
// transposed: not a power of two, which would share the cache's sets.
func decodedStride(n int) int { return (n+15)&^15 + 16 }

// pointAt makes s.rows point to rows that lie stride elements apart.
func (s *scratch) pointAt(data []float32, stride, rows, lanes int) {
	for i := range lanes {
		s.rows[i] = &data[min(i, rows-1)*stride]
	}
}

// decodedRows is how many rows are decoded at once before they are packed.
const decodedRows = 32

// rowsAhead is how many rows ahead columns are fetched where no decoder does it: a
// stage's columns of a row are too few for the hardware to see.
const rowsAhead = 8

// fetch fetches columns from to to-1 of row r of a weight, if there is one.
func (t *tier) fetch(w *Matrix, r, from, to int) {
	switch {
	case t.prefetch == nil || !w.far || r >= w.Rows:
	case w.decode == nil:
		t.prefetch((*byte)(unsafe.Pointer(&w.f32[r*w.lda+from])), 4*(to-from))
	default:
		stored := w.bytesOf(r, from, to)
		t.prefetch(&stored[0], len(stored))
	}
}
