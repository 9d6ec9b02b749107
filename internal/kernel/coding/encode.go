package coding

import (
	"math"
	"unsafe"

	"qtool/internal/ggml"
)

// encodeFunc stores whole blocks of a format: exactly the bytes of package quantize without
// importance. For the formats of 16 bits, n counts elements, in multiples of 16, for others
// blocks.
type encodeFunc func(dst *byte, src *float32, n int)

// Encode stores the first elements of src in dst, as many as the tier can, and returns
// how many: all, all but a rest of less than 16, or none. src must be finite.
func Encode(t ggml.Type, dst []byte, src []float32) int {
	encode := active().encoders[t]
	if encode == nil {
		return 0
	}
	block := t.BlockElements()
	n := len(src) / block
	if block == 1 {
		n = len(src) &^ 15
	}
	if n == 0 {
		return 0
	}
	encode(unsafe.SliceData(dst[:n*t.BlockBytes()]), unsafe.SliceData(src), n)
	return n * block
}

// halfEncodeFunc is an encodeFunc of float16 or bfloat16 elements as they are stored, which need
// not be finite: magnitude is the greatest of their bits without signs. To their own format
// nothing is stored.
type halfEncodeFunc func(dst, src *byte, n int) (magnitude uint32)

// EncodeHalves stores the float16 elements of src in dst, and reports whether the tier can.
// finite is whether they all are: if not, dst holds nothing of use. To F16 nothing is
// stored.
func EncodeHalves(t ggml.Type, dst, src []byte) (finite, ok bool) {
	magnitude, ok := encodeStored(active().halfEncoders[t], t, ggml.F16, dst, src)
	return ok && magnitude < 0x7c00, ok
}

// EncodeBFloats stores the bfloat16 elements of src in dst, and reports whether the tier can.
// largest is their greatest size, infinity or not a number if any of them is; of elements that
// the format has no scale for dst holds nothing of use. To BF16 nothing is stored.
func EncodeBFloats(t ggml.Type, dst, src []byte) (largest float32, ok bool) {
	magnitude, ok := encodeStored(active().bfloatEncoders[t], t, ggml.BF16, dst, src)
	return math.Float32frombits(magnitude << 16), ok
}

func encodeStored(encode halfEncodeFunc, to, from ggml.Type, dst, src []byte) (magnitude uint32, ok bool) {
	block := to.BlockElements()
	unit := max(16, block)
	if encode == nil || len(src) == 0 || len(src)%(2*unit) != 0 {
		return 0, false
	}
	n := len(src) / 2
	if to != from {
		_ = dst[:n/block*to.BlockBytes()]
	}
	return encode(unsafe.SliceData(dst), unsafe.SliceData(src), n/block), true
}

// Magnitude is the greatest of the bits of v without their signs: those of the greatest
// size, more than those of infinity if any element is not a number.
func Magnitude(v []float32) (bits uint32) {
	n := 0
	if active().magnitude != nil && len(v) >= 16 {
		n = len(v) &^ 15
		bits = active().magnitude(unsafe.SliceData(v), n)
	}
	for _, x := range v[n:] {
		bits = max(bits, math.Float32bits(x)&^(1<<31))
	}
	return bits
}
