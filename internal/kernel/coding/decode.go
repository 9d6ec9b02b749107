package coding

import (
	"unsafe"

	"qtool/internal/ggml"
	"qtool/internal/kernel/simd"
)

// Decoder turns whole blocks of a type into elements: exactly the values of
// package quantize, and those rounded to bfloat16. A nil function: none.
type Decoder struct {
	Elements int // of the blocks that the functions count
	// Float32 and BF16 decode that many blocks of each row; strides are in bytes.
	Float32 func(dst *float32, src *byte, blocks, rows, dstStride, srcStride int)
	BF16    func(dst *uint16, src *byte, blocks, rows, dstStride, srcStride int)
	// Dot adds to each y the sum of the elements of a row times those of x; rows, of
	// that many blocks each, follow each other.
	Dot func(x *float32, src *byte, blocks, rows int, y *float32)
}

// Decoders are those of a tier. That of F32 only multiplies.
func Decoders(t simd.Tier) *[ggml.Types]Decoder { return &tiers[t].decoders }

// Columns divides the rows that tiers decode: their decoders work on 32 elements at least.
const Columns = 32

// Decode fills dst with the elements of type t in src, and reports whether the tier knows
// it. dst is whole blocks and a multiple of 32.
func Decode(t ggml.Type, dst []float32, src []byte) bool {
	d := &active().decoders[t]
	if d.Float32 == nil || len(dst)%d.Elements != 0 || len(dst) == 0 {
		return false
	}
	_ = src[:len(dst)/t.BlockElements()*t.BlockBytes()]
	d.Float32(unsafe.SliceData(dst), unsafe.SliceData(src), len(dst)/d.Elements, 1, 0, 0)
	return true
}
