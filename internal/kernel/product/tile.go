package product

import "unsafe"

// factor is what a micro-kernel multiplies of one summand of a stage: rows of a panel of a with
// columns of b.
type factor struct {
	tiles *[2][]tileFunc
	units int
	a     *float32
	lda   int
	b     packedB // from the first term and column on
}

// multiplyTiles stores the sum of s.factors in the first columns of rows of c, or adds it to
// them, tile by tile.
func multiplyTiles(s *scratch, c []float32, ldc int, widths [2]int, rows, columns int, add bool) {
	for j, step := 0, 0; j < columns; j, step = j+widths[0], step+1 {
		w := 0
		if columns-j <= widths[1] {
			w = 1
		}
		tile, stride, more := c[j:], ldc, add
		beyond := columns-j < widths[w]
		if beyond {
			tile, stride = s.beginEdge(c[j:], ldc, rows, columns-j, widths[w], add)
		}
		for k := range s.factors {
			f := &s.factors[k]
			f.tiles[w][rows-1](f.units, f.a, f.lda, &f.b.data[step*f.b.step], f.b.stride, &tile[0], stride, more)
			more = true
		}
		if beyond {
			copyRows(c[j:], ldc, tile, stride, rows, columns-j)
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

// after is the address i elements after p.
func after(p *float32, i int) *float32 {
	return (*float32)(unsafe.Add(unsafe.Pointer(p), 4*i))
}
