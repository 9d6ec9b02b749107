package product

import (
	"unsafe"

	"qtool/internal/ggml"
	"qtool/internal/half"
	"qtool/internal/kernel/coding"
	"qtool/internal/work"
)

// Precision is how frozen weights are multiplied.
type Precision int

const (
	// Float32 multiplies everything in float32.
	Float32 Precision = iota
	// Auto multiplies encoded weights and what is [Matrix.Roundable] in bfloat16,
	// adding up in float32, where the tier does that faster. What else is stored
	// as float32 stays float32.
	Auto
)

// SetPrecision chooses the precision of the products that follow; a new pool
// has Float32. It must not be called while they run.
func (p *Pool) SetPrecision(precision Precision) { p.precision = precision }

// Precision names what encoded weights are multiplied in: "bf16" or "f32".
func (p *Pool) Precision() string {
	if p.Rounds() {
		return "bf16"
	}
	return "f32"
}

// pairKernels multiply bfloat16. Two terms that follow each other make a pair,
// the first in the low half; a pair takes the place of one float32 in panels.
type pairKernels struct {
	// tiles are as in tier, with k, lda and ldb counting pairs.
	tiles [2][]tileFunc
	peak  peak
	// round stores src as bfloat16; n is a multiple of 16.
	round func(dst *uint16, src *float32, n int)
	// interleave makes pair i of dst of a[i] and b[i]; n is a multiple of 16.
	interleave func(dst *float32, a, b *uint16, n int)
	// join is interleave of what round makes of a and b.
	join func(dst, a, b *float32, n int)
}

// Rounds reports whether the pool multiplies encoded weights in bfloat16, so that rows
// may be kept as [Batch.RoundedRows].
func (p *Pool) Rounds() bool { return p.precision == Auto && active().pairs != nil }

// Round stores src, whose length is even, in bfloat16, two elements in one of dst: for
// [Batch.RoundedRows]. The tier in use must multiply bfloat16.
func Round(dst, src []float32) { active().pairs.roundRow(asPairs(dst[:len(src)/2]), src) }

// Unround is the inverse of [Round].
func Unround(dst, src []float32) {
	halves := asPairs(src[:len(dst)/2])
	d, n := &active().decoders[ggml.BF16], len(dst)&^(coding.Columns-1)
	if n > 0 {
		d.Float32(&dst[0], (*byte)(unsafe.Pointer(&halves[0])), n/d.Elements, 1, 0, 0)
	}
	for i := n; i < len(dst); i++ {
		dst[i] = half.FromBFloat16(halves[i])
	}
}

// asPairs views v as the halves of its elements.
func asPairs(v []float32) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(v))), 2*len(v))
}

// roundRow stores src in dst as bfloat16; an odd last pair gets a zero.
func (p *pairKernels) roundRow(dst []uint16, src []float32) {
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

// interleaveRows makes len(a) pairs of two rows.
func (p *pairKernels) interleaveRows(dst []float32, a, b []uint16) {
	n := len(a) &^ 15
	if n > 0 {
		_, _ = dst[n-1], b[n-1]
		p.interleave(&dst[0], &a[0], &b[0], n)
	}
	pairs := asPairs(dst)
	for i := n; i < len(a); i++ {
		pairs[2*i], pairs[2*i+1] = a[i], b[i]
	}
}

// joinRows is interleaveRows of two rows that are not rounded yet.
func (p *pairKernels) joinRows(dst, a, b []float32) {
	n := len(a) &^ 15
	if n > 0 {
		_, _ = dst[n-1], b[n-1]
		p.join(&dst[0], &a[0], &b[0], n)
	}
	pairs := asPairs(dst)
	for i := n; i < len(a); i++ {
		pairs[2*i], pairs[2*i+1] = half.ToBFloat16(a[i]), half.ToBFloat16(b[i])
	}
}

// halves is n elements from element i on of row r of rounded rows, lda pairs each.
func halves(data []float32, lda, r, i, n int) []uint16 {
	return asPairs(data[r*lda:][:lda])[i : i+n]
}

// joined makes pairs of columns from to to-1 of rows r and r+1 of a matrix of rows rows
// that lie lda elements apart in data; what is beyond the last row is 0.
func (p *pairKernels) joined(dst, data []float32, rounded bool, lda, rows, r, from, to int) {
	n := to - from
	switch {
	case rounded && r+1 < rows:
		p.interleaveRows(dst, halves(data, lda, r, from, n), halves(data, lda, r+1, from, n))
	case rounded:
		pairs := asPairs(dst)
		for i, v := range halves(data, lda, r, from, n) {
			pairs[2*i], pairs[2*i+1] = v, 0
		}
	case r+1 < rows:
		p.joinRows(dst, data[r*lda+from:r*lda+to], data[(r+1)*lda+from:][:n])
	default:
		pairs := asPairs(dst)
		for i, v := range data[r*lda+from : r*lda+to] {
			pairs[2*i], pairs[2*i+1] = half.ToBFloat16(v), 0
		}
	}
}

// packColumns is packPanel for what is stored by columns: the first panel's takes all.
func (a *left) packColumns(packed []float32, panel int) {
	for l := 0; l < a.k && panel == 0; l += 2 {
		a.pairs.joined(packed[l/2*a.m:], a.data, a.rounded, a.lda, a.k, l, 0, a.m)
	}
}

// packPairs is packPanel for bfloat16: rows are rounded, then their pairs are
// transposed.
func (a *left) packPairs(s *scratch, packed []float32, panel int) {
	from, to := work.Share(panel, a.m, a.panels)
	t, rows := a.tier, to-from
	const gap = 16
	stride := termBlock + gap
	rounded := sized(&s.decoded, t.Lanes*stride)
	for l0 := 0; l0 < a.k; l0 += a.terms() {
		l1 := min(l0+a.terms(), a.k)
		for r := range t.Lanes {
			if r < rows {
				a.pairs.roundRow(asPairs(rounded[r*stride:]), a.data[(from+r)*a.lda+l0:(from+r)*a.lda+l1])
			}
			s.rows[r] = &rounded[min(r, rows-1)*stride]
		}
		t.transposeRows(packed[l0/2*rows:], rows, s, rows, ceil(l1-l0, 2))
	}
}

// rows stores columns from to to-1 of rows r0 to r1-1 in bfloat16, stride elements
// apart; row is scratch.
func (p *pairKernels) rows(t *tier, dst []uint16, stride int, w *Matrix, r0, r1, from, to int, row *[]float32) {
	if d := &t.decoders[w.typ]; d.BF16 != nil {
		_ = dst[(r1-r0-1)*stride+to-from-1]
		d.BF16(&dst[0], &w.bytesOf(r0, from, to)[0], (to-from)/d.Elements, r1-r0, 2*stride, w.stride)
		return
	}
	for r := r0; r < r1; r++ {
		v, rounded := sized(row, to-from), dst[(r-r0)*stride:]
		if w.decode == nil {
			v = w.f32[r*w.Cols+from : r*w.Cols+to]
		} else {
			t.expect(w, r+rowsAhead, from, to)
			w.part(t, v, r, from, to)
		}
		p.roundRow(rounded, v)
	}
}

// loadPairs is load for bfloat16 where rows of w run along c.
func (p *slice) loadPairs(t *tier, s *scratch, b *[]float32, j0, j1 int) packedB {
	columns := j1 - j0
	stride := ceil(columns, t.widths[0])*t.widths[0] + 16
	data := sized(b, ceil(p.to-p.from, 2)*stride)
	if w := &p.w; w.decode == nil {
		lda := len(w.f32) / w.Rows
		for l := p.from; l < p.to; l += 2 {
			p.pairs.joined(data[(l-p.from)/2*stride:], w.f32, w.rounded, lda, w.Rows, l, j0, j1)
		}
		return packedB{data, t.widths[0], stride}
	}
	rows := asPairs(sized(&s.decoded, ceil(decodedRows*columns, 2)))
	for l0 := p.from; l0 < p.to; l0 += decodedRows {
		l1 := min(l0+decodedRows, p.to)
		p.pairs.rows(t, rows, columns, &p.w, l0, l1, j0, j1, &s.row)
		if (l1-l0)%2 == 1 {
			clear(rows[(l1-l0)*columns:][:columns])
		}
		for l := 0; l < l1-l0; l += 2 {
			at := (l0 - p.from + l) / 2 * stride
			p.pairs.interleaveRows(data[at:], rows[l*columns:][:columns], rows[(l+1)*columns:][:columns])
		}
	}
	return packedB{data, t.widths[0], stride}
}
