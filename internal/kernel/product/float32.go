package product

// float32Packer packs elements as they are.
type float32Packer struct {
	// toPanels stores the n runs of src, each as long as a tile is wide, step elements apart.
	toPanels func(dst *float32, step int, src *float32, n int)
}

func (float32Packer) pointTo(t *tier, s *scratch, w *Matrix, r, rows, l0, l1 int) {
	if w.decode == nil {
		for i := range rows {
			t.fetch(w, r+i+rowsAhead, l0, l1)
		}
		s.pointAt(w.f32[r*w.lda+l0:], w.lda, rows, t.Lanes)
		return
	}
	stride := decodedStride(l1 - l0)
	decoded := sized(&s.decoded, t.Lanes*stride)
	w.decodeRows(t, decoded, stride, r, r+rows, l0, l1)
	s.pointAt(decoded, stride, rows, t.Lanes)
}

func (float32Packer) putTerms(dst []float32, w *Matrix, l, from, to int) {
	copy(dst, w.f32[l*w.lda+from:l*w.lda+to])
}

// packRows packs panels.
func (p float32Packer) packRows(m *multiplier, s *scratch, memory *[]float32, w *Matrix, l0, l1, j0, j1 int) packedB {
	wide, n, columns := m.widths[0], l1-l0, j1-j0
	b := packedB{sized(memory, ceil(columns, wide)*wide*n), wide * n, wide}
	if w.decode == nil {
		for r := l0; r < l1; r++ {
			m.tier.fetch(w, r+rowsAhead, j0, j1)
			p.packRow(b, wide, r-l0, w.f32[r*w.lda+j0:r*w.lda+j1])
		}
		return b
	}
	decoded := sized(&s.decoded, decodedRows*columns)
	for first := l0; first < l1; first += decodedRows {
		last := min(first+decodedRows, l1)
		w.decodeRows(m.tier, decoded, columns, first, last, j0, j1)
		for r := first; r < last; r++ {
			p.packRow(b, wide, r-l0, decoded[(r-first)*columns:][:columns])
		}
	}
	return b
}

// packRow stores the elements of term l.
func (p float32Packer) packRow(b packedB, wide, l int, row []float32) {
	dst, whole := b.data[l*wide:], len(row)/wide
	if whole > 0 {
		_ = dst[(whole-1)*b.step+wide-1]
		p.toPanels(&dst[0], b.step, &row[0], whole)
	}
	if rest := row[whole*wide:]; len(rest) > 0 {
		copy(dst[whole*b.step:], rest)
	}
}
