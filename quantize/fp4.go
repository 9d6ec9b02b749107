package quantize

import "math"

// The 4-bit floats of MXFP4 and NVFP4: sign, two bits of exponent, one of mantissa.
// The table holds twice their value, and the scales below half of theirs, as in ggml.
var e2m1 = [16]float32{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}

// MXFP4: 32 such floats with a power of two, value = 2^(e-128) * e2m1[q].
//
//	0   1          17
//	| e | qs[16]   |    byte j holds values j (low half) and j+16
func decodeMXFP4(dst []float32, src []byte) {
	for ; len(src) >= 17; dst, src = dst[32:], src[17:] {
		b, y := (*[17]byte)(src), (*[32]float32)(dst)
		d := halfE8M0(b[0])
		for j, q := range b[1:] {
			y[j] = e2m1[q&15] * d
			y[j+16] = e2m1[q>>4] * d
		}
	}
}

// halfE8M0 is 2^(e-128), which is subnormal for e below 2.
func halfE8M0(e byte) float32 {
	if e < 2 {
		return math.Float32frombits(0x00200000 << e)
	}
	return math.Float32frombits(uint32(e-1) << 23)
}

// NVFP4: four groups of 16 such floats, each with an unsigned float8 scale.
//
//	0      4          36
//	| d[4] | qs[32]   |   byte j of a group's 8 holds its values j (low half) and j+8
func decodeNVFP4(dst []float32, src []byte) {
	for ; len(src) >= 36; dst, src = dst[64:], src[36:] {
		b := (*[36]byte)(src)
		for g, s := range b[:4] {
			qs, y := (*[8]byte)(b[4+8*g:]), (*[16]float32)(dst[16*g:])
			d := halfUE4M3(s)
			for j, q := range qs {
				y[j] = e2m1[q&15] * d
				y[j+8] = e2m1[q>>4] * d
			}
		}
	}
}

// halfUE4M3 is half the value of a float8 with four bits of exponent (bias 7) and
// three of mantissa. NaN (0x7f) counts as 0. The top bit, a sign, is not used.
func halfUE4M3(x byte) float32 {
	exp, mant := int(x>>3&15), float64(x&7)
	switch {
	case x == 0x7f:
		return 0
	case exp == 0:
		return float32(math.Ldexp(mant, -10))
	}
	return float32(math.Ldexp(8+mant, exp-11))
}
