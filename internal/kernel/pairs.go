package kernel

import (
	"unsafe"

	"qtool/internal/half"
)

// Precision is how frozen weights are multiplied.
type Precision int

const (
	// Float32 multiplies everything in float32.
	Float32 Precision = iota
	// Auto multiplies encoded weights in bfloat16, adding up in float32, where
	// the tier does that faster. What is stored as float32 stays float32.
	Auto
)

// SetPrecision chooses the precision of the products that follow; a new pool
// has Float32. It must not be called while they run.
func (p *Pool) SetPrecision(precision Precision) { p.precision = precision }

// Precision names what encoded weights are multiplied in: "bf16" or "f32".
func (p *Pool) Precision() string {
	if p.precision == Auto && active.pairs != nil {
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
}

// pairTermBlock is termBlock of products in bfloat16.
const pairTermBlock = 1024

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

// packPairs is packPanel for bfloat16: rows are rounded, then their pairs are
// transposed.
func (q *product) packPairs(s *scratch, panel int) {
	from, to := q.panel(panel)
	rows := to - from
	const gap = 16
	stride := pairTermBlock/2 + gap
	rounded := sized(&s.decoded, q.lanes*stride)
	for l0 := 0; l0 < q.k; l0 += pairTermBlock {
		l1 := min(l0+pairTermBlock, q.k)
		for r := range q.lanes {
			if r < rows {
				q.pairs.roundRow(asPairs(rounded[r*stride:]), q.a[(from+r)*q.lda+l0:(from+r)*q.lda+l1])
			}
			s.rows[r] = &rounded[min(r, rows-1)*stride]
		}
		q.transposeRows(q.packed[panel*q.panelStride+l0/2*rows:], rows, s, rows, ceil(l1-l0, 2))
	}
}

// partBF16 is part in bfloat16; row is scratch.
func (q *product) partBF16(dst []uint16, r, from, to int, row *[]float32) {
	if d := &q.decoders[q.w.format]; d.bf16 != nil {
		d.bf16(&dst[0], &q.w.bytesOf(r, from, to)[0], (to-from)/d.elements)
		return
	}
	v := sized(row, to-from)
	q.w.part(q.tier, v, r, from, to)
	q.pairs.roundRow(dst, v)
}

// loadPairs is loadB for bfloat16 where rows of w run along c.
func (q *product) loadPairs(s *scratch, l0, l1, j0, j1 int) packedB {
	columns := j1 - j0
	stride := ceil(columns, q.widths[0])*q.widths[0] + 16
	b := sized(&s.b, ceil(l1-l0, 2)*stride)
	two := &s.two
	for l := l0; l < l1; l += 2 {
		q.expect(l+rowsAhead, j0, j1)
		q.expect(l+1+rowsAhead, j0, j1)
		q.partBF16(two[0][:], l, j0, j1, &s.row)
		if l+1 < l1 {
			q.partBF16(two[1][:], l+1, j0, j1, &s.row)
		} else {
			clear(two[1][:])
		}
		q.pairs.interleaveRows(b[(l-l0)/2*stride:], two[0][:columns], two[1][:columns])
	}
	return packedB{b, q.widths[0], stride}
}
