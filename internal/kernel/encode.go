package kernel

import (
	"math"
	"unsafe"
)

// encodeFunc stores whole blocks of a format, of 32 elements: exactly the bytes of package
// quantize without importance. For the formats of 16 bits, n counts elements, in
// multiples of 16, for others blocks.
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
)

// Encode stores the first elements of src in dst, as many as the tier can, and returns
// how many: all, all but a rest of less than 16, or none. src must be finite.
func Encode(f format, dst []byte, src []float32) int {
	encode := active.encoders[f]
	if encode == nil {
		return 0
	}
	b := blocks[f]
	n := len(src) / 32
	if b.elements == 1 {
		n = len(src) &^ 15
	}
	if n == 0 {
		return 0
	}
	encode(unsafe.SliceData(dst[:n*b.bytes]), unsafe.SliceData(src), n)
	return n * b.elements
}

// Decode fills dst with the elements of the type of that name in src, and reports
// whether the tier knows it. dst is whole blocks and a multiple of 32.
func Decode(name string, dst []float32, src []byte) bool {
	for f, b := range blocks {
		d := active.decoders[f]
		if f == 0 || b.name != name || d.float32 == nil || len(dst)%d.elements != 0 || len(dst) == 0 {
			continue
		}
		_ = src[:len(dst)/b.elements*b.bytes]
		d.float32(unsafe.SliceData(dst), unsafe.SliceData(src), len(dst)/d.elements)
		return true
	}
	return false
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
