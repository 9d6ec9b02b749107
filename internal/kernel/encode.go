package kernel

import (
	"math"
	"unsafe"
)

// encodeFunc stores whole blocks of a format: exactly the bytes of package quantize without
// importance. For the formats of 16 bits, n counts elements, in multiples of 16, for others
// blocks.
type encodeFunc func(dst *byte, src *float32, n int)

// The formats that a tier may encode by itself.
const (
	ToF16  = formatF16
	ToBF16 = formatBF16
	ToQ4_0 = formatQ4_0
	ToQ4_1 = formatQ4_1
	ToQ5_0 = formatQ5_0
	ToQ5_1 = formatQ5_1
	ToQ8_0 = formatQ8_0

	ToQ1_0  = formatQ1_0
	ToQ2_0  = formatQ2_0
	ToTQ1_0 = formatTQ1_0
	ToTQ2_0 = formatTQ2_0
)

// Encode stores the first elements of src in dst, as many as the tier can, and returns
// how many: all, all but a rest of less than 16, or none. src must be finite.
func Encode(f Format, dst []byte, src []float32) int {
	encode := active.encoders[f]
	if encode == nil {
		return 0
	}
	b := blocks[f]
	n := len(src) / b.elements
	if b.elements == 1 {
		n = len(src) &^ 15
	}
	if n == 0 {
		return 0
	}
	encode(unsafe.SliceData(dst[:n*b.bytes]), unsafe.SliceData(src), n)
	return n * b.elements
}

// halfEncodeFunc is an encodeFunc of float16 or bfloat16 elements as they are stored, which need
// not be finite: magnitude is the greatest of their bits without signs. To their own format
// nothing is stored.
type halfEncodeFunc func(dst, src *byte, n int) (magnitude uint32)

// EncodeHalves stores the float16 elements of src in dst, and reports whether the tier can.
// finite is whether they all are: if not, dst holds nothing of use. To F16 nothing is
// stored.
func EncodeHalves(f Format, dst, src []byte) (finite, ok bool) {
	magnitude, ok := encodeStored(active.halfEncoders[f], f, ToF16, dst, src)
	return ok && magnitude < 0x7c00, ok
}

// EncodeBFloats stores the bfloat16 elements of src in dst, and reports whether the tier can.
// largest is their greatest size, infinity or not a number if any of them is; of elements that
// the format has no scale for dst holds nothing of use. To BF16 nothing is stored.
func EncodeBFloats(f Format, dst, src []byte) (largest float32, ok bool) {
	magnitude, ok := encodeStored(active.bfloatEncoders[f], f, ToBF16, dst, src)
	return math.Float32frombits(magnitude << 16), ok
}

func encodeStored(encode halfEncodeFunc, to, from Format, dst, src []byte) (magnitude uint32, ok bool) {
	b := blocks[to]
	unit := max(16, b.elements)
	if encode == nil || len(src) == 0 || len(src)%(2*unit) != 0 {
		return 0, false
	}
	n := len(src) / 2
	if to != from {
		_ = dst[:n/b.elements*b.bytes]
	}
	return encode(unsafe.SliceData(dst), unsafe.SliceData(src), n/b.elements), true
}

// FormatOf is the format of the ggml type of that name; that of other types no tier knows.
func FormatOf(name string) Format {
	for f, b := range blocks {
		if f > 0 && b.name == name {
			return Format(f)
		}
	}
	return otherFormat
}

// Decode fills dst with the elements of format f in src, and reports whether the tier knows
// it. dst is whole blocks and a multiple of 32.
func Decode(f Format, dst []float32, src []byte) bool {
	d, b := active.decoders[f], blocks[f]
	if d.float32 == nil || len(dst)%d.elements != 0 || len(dst) == 0 {
		return false
	}
	_ = src[:len(dst)/b.elements*b.bytes]
	d.float32(unsafe.SliceData(dst), unsafe.SliceData(src), len(dst)/d.elements, 1, 0, 0)
	return true
}

// Magnitude is the greatest of the bits of v without their signs: those of the greatest
// size, more than those of infinity if any element is not a number.
func Magnitude(v []float32) (bits uint32) {
	n := 0
	if active.magnitude != nil && len(v) >= 16 {
		n = len(v) &^ 15
		bits = active.magnitude(unsafe.SliceData(v), n)
	}
	for _, x := range v[n:] {
		bits = max(bits, math.Float32bits(x)&^(1<<31))
	}
	return bits
}
