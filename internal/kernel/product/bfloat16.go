package product

import (
	"unsafe"

	"qtool/internal/ggml"
	"qtool/internal/half"
	"qtool/internal/kernel/coding"
)

// bfloat16Packer packs elements rounded to bfloat16. Two terms that follow each other take
// the place of one float32, the first in the low half.
type bfloat16Packer struct {
	// round stores src as bfloat16; n is a multiple of 16.
	round func(dst *uint16, src *float32, n int)
	// interleave makes element i of dst of a[i] and b[i]; n is a multiple of 16.
	interleave func(dst *float32, a, b *uint16, n int)
	// join is interleave of what round makes of a and b.
	join func(dst, a, b *float32, n int)
}

func (p *bfloat16Packer) pointTo(t *tier, s *scratch, w *Matrix, r, rows, l0, l1 int) {
	if w.rounded {
		s.pointAt(w.f32[r*w.lda+l0/2:], w.lda, rows, t.Lanes)
		return
	}
	stride := decodedStride(ceil(l1-l0, 2))
	decoded := sized(&s.decoded, t.Lanes*stride)
	p.roundRows(t, s, asHalves(decoded), 2*stride, w, r, r+rows, l0, l1)
	s.pointAt(decoded, stride, rows, t.Lanes)
}

// roundRows stores columns from to to-1 of rows r0 to r1-1 in bfloat16, stride elements
// apart.
func (p *bfloat16Packer) roundRows(t *tier, s *scratch, dst []uint16, stride int, w *Matrix, r0, r1, from, to int) {
	if d := &t.decoders[w.typ]; d.BF16 != nil && w.decode != nil {
		_ = dst[(r1-r0-1)*stride+to-from-1]
		d.BF16(&dst[0], &w.bytesOf(r0, from, to)[0], (to-from)/d.Elements, r1-r0, 2*stride, w.stride)
		return
	}
	for r := r0; r < r1; r++ {
		if w.decode == nil {
			p.roundRow(dst[(r-r0)*stride:], w.f32[r*w.lda+from:r*w.lda+to])
			continue
		}
		row := sized(&s.row, to-from)
		t.fetch(w, r+rowsAhead, from, to)
		w.decodeColumns(t, row, r, from, to)
		p.roundRow(dst[(r-r0)*stride:], row)
	}
}

// putTerms takes two rows; what is beyond the last one is 0.
func (p *bfloat16Packer) putTerms(dst []float32, w *Matrix, l, from, to int) {
	if w.rounded {
		p.interleaveRows(dst, w.halves(l, from, to), w.halves(l+1, from, to))
		return
	}
	a := w.f32[l*w.lda+from : l*w.lda+to]
	if l+1 < w.Rows {
		p.joinRows(dst, a, w.f32[(l+1)*w.lda+from:(l+1)*w.lda+to])
		return
	}
	halves := asHalves(dst)
	for i, v := range a {
		halves[2*i], halves[2*i+1] = half.ToBFloat16(v), 0
	}
}

// packRows packs a block whose rows are b's and end in an unused line, which keeps them
// from sharing the cache's sets.
func (p *bfloat16Packer) packRows(m *multiplier, s *scratch, memory *[]float32, w *Matrix, l0, l1, j0, j1 int) packedB {
	wide, columns := m.widths[0], j1-j0
	stride := ceil(columns, wide)*wide + 16
	b := packedB{sized(memory, ceil(l1-l0, 2)*stride), wide, stride}
	if w.decode == nil {
		for l := l0; l < l1; l += 2 {
			p.putTerms(b.data[(l-l0)/2*stride:], w, l, j0, j1)
		}
		return b
	}
	decoded := asHalves(sized(&s.decoded, ceil(decodedRows*columns, 2)))
	for first := l0; first < l1; first += decodedRows {
		last := min(first+decodedRows, l1)
		p.roundRows(m.tier, s, decoded, columns, w, first, last, j0, j1)
		if (last-first)%2 == 1 {
			clear(decoded[(last-first)*columns:][:columns])
		}
		for l := 0; l < last-first; l += 2 {
			p.interleaveRows(b.data[(first-l0+l)/2*stride:], decoded[l*columns:][:columns], decoded[(l+1)*columns:][:columns])
		}
	}
	return b
}

// halves is columns from to to-1 of row r of rounded rows; nil beyond the last one.
func (m *Matrix) halves(r, from, to int) []uint16 {
	if r >= m.Rows {
		return nil
	}
	return asHalves(m.f32[r*m.lda:][:m.lda])[from:to]
}

// asHalves views v as the 16-bit halves of its elements.
func asHalves(v []float32) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(v))), 2*len(v))
}

// roundRow stores src in dst as bfloat16; an odd last element is followed by a zero.
func (p *bfloat16Packer) roundRow(dst []uint16, src []float32) {
	n := len(src) &^ 15
	if n > 0 {
		_ = dst[n-1]
		p.round(&dst[0], &src[0], n)
	}
	for i := n; i < len(src); i++ {
		dst[i] = half.ToBFloat16(src[i])
	}
	if len(src)%2 == 1 {
		dst[len(src)] = 0
	}
}

// interleaveRows makes len(a) elements of two rows; those of b are 0 if it is nil.
func (p *bfloat16Packer) interleaveRows(dst []float32, a, b []uint16) {
	halves := asHalves(dst)
	if b == nil {
		for i, v := range a {
			halves[2*i], halves[2*i+1] = v, 0
		}
		return
	}
	n := len(a) &^ 15
	if n > 0 {
		_, _ = dst[n-1], b[n-1]
		p.interleave(&dst[0], &a[0], &b[0], n)
	}
	for i := n; i < len(a); i++ {
		halves[2*i], halves[2*i+1] = a[i], b[i]
	}
}

// joinRows is interleaveRows of two rows that are not rounded yet.
func (p *bfloat16Packer) joinRows(dst, a, b []float32) {
	n := len(a) &^ 15
	if n > 0 {
		_, _ = dst[n-1], b[n-1]
		p.join(&dst[0], &a[0], &b[0], n)
	}
	halves := asHalves(dst)
	for i := n; i < len(a); i++ {
		halves[2*i], halves[2*i+1] = half.ToBFloat16(a[i]), half.ToBFloat16(b[i])
	}
}

// Round stores src, whose length is even, in bfloat16, two elements in one of dst: for
// [Batch.RoundedRows]. The tier in use must multiply bfloat16.
func Round(dst, src []float32) {
	p := active().multipliers[inBFloat16].packer.(*bfloat16Packer)
	p.roundRow(asHalves(dst[:len(src)/2]), src)
}

// Unround is the inverse of [Round].
func Unround(dst, src []float32) {
	halves := asHalves(src[:len(dst)/2])
	d, n := &active().decoders[ggml.BF16], len(dst)&^(coding.Columns-1)
	if n > 0 {
		d.Float32(&dst[0], (*byte)(unsafe.Pointer(&halves[0])), n/d.Elements, 1, 0, 0)
	}
	for i := n; i < len(dst); i++ {
		dst[i] = half.FromBFloat16(halves[i])
	}
}
