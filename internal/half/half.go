package half

import "math"

// ToFloat16 rounds to nearest even. NaN becomes 0x7e00 with its sign, as ggml
// makes it; values beyond 65504 become infinite.
func ToFloat16(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b >> 16 & 0x8000)
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000:
		return sign | 0x7e00
	case b >= 0x47800000: // at least 65536
		return sign | 0x7c00
	case b >= 0x38800000: // normal: rebias, round the 13 dropped bits
		b += 0xfff + b>>13&1
		return sign | uint16((b-0x38000000)>>13)
	case b < 0x33000000: // below half of the smallest subnormal
		return sign
	}
	// Subnormal: shift the full significand down to units of 2^-24.
	shift := 126 - b>>23
	m := b&0x7fffff | 0x800000
	h := m >> shift
	rest := m & (1<<shift - 1)
	if mid := uint32(1) << (shift - 1); rest > mid || rest == mid && h&1 == 1 {
		h++
	}
	return sign | uint16(h)
}

// FromFloat16 is exact. Shifting exponent and fraction into place leaves the value
// 2^112 times too small, subnormals too; infinity and NaN need the full exponent.
func FromFloat16(h uint16) float32 {
	f := math.Float32bits(math.Float32frombits(uint32(h&0x7fff)<<13) * 0x1p112)
	if h&0x7c00 == 0x7c00 {
		f |= 0x7f800000
	}
	return math.Float32frombits(uint32(h&0x8000)<<16 | f)
}

// ToBFloat16 rounds to nearest even; a NaN stays a quiet NaN.
func ToBFloat16(f float32) uint16 {
	b := math.Float32bits(f)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// FromBFloat16 is exact.
func FromBFloat16(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }
