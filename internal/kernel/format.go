package kernel

import (
	"math/bits"

	"qtool/internal/ggml"
)

// decoder turns whole blocks of a type into elements: exactly the values of
// package quantize, and those rounded to bfloat16. A nil function: none.
type decoder struct {
	elements int // of the blocks that the functions count
	// float32 and bf16 decode that many blocks of each row; strides are in bytes.
	float32 func(dst *float32, src *byte, blocks, rows, dstStride, srcStride int)
	bf16    func(dst *uint16, src *byte, blocks, rows, dstStride, srcStride int)
	// dot adds to each y the sum of the elements of a row times those of x; rows, of
	// that many blocks each, follow each other.
	dot func(x *float32, src *byte, blocks, rows int, y *float32)
}

// OfType is m, known to be stored in that type, so that a tier may decode it with
// instructions of its own instead of m's function. Types and shapes that no tier
// decodes change nothing.
func (m Matrix) OfType(t ggml.Type) Matrix {
	if t.Known() && m.decode != nil && m.Cols%decodableColumns == 0 && m.stride == m.Cols/t.BlockElements()*t.BlockBytes() {
		m.typ, m.shift, m.block = t, uint8(bits.TrailingZeros(uint(t.BlockElements()))), t.BlockBytes()
	}
	return m
}

// decodableColumns divides the rows that tiers decode: their decoders work on
// 32 elements at least.
const decodableColumns = 32
