package product

import (
	"math/bits"

	"qtool/internal/ggml"
	"qtool/internal/kernel/coding"
)

// OfType is m, known to be stored in that type, so that a tier may decode it with
// instructions of its own instead of m's function. Types and shapes that no tier
// decodes, and F32, change nothing.
func (m Matrix) OfType(t ggml.Type) Matrix {
	if t.Known() && t != ggml.F32 && m.decode != nil && m.Cols%coding.Columns == 0 && m.stride == m.Cols/t.BlockElements()*t.BlockBytes() {
		m.typ, m.shift, m.block = t, uint8(bits.TrailingZeros(uint(t.BlockElements()))), t.BlockBytes()
	}
	return m
}
