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

// putE2M1 stores x as the nearest of such floats times d, values j and j + len(qs) in
// byte j.
func putE2M1(qs []byte, x []float32, d float32) {
	low, high := x[:len(qs)], x[len(qs):2*len(qs)]
	if _, magnitude := extreme(x); magnitude > 24*d {
		for j := range qs {
			qs[j] = farE2M1(low[j], d) | farE2M1(high[j], d)<<4
		}
		return
	}
	var middles [7]uint32
	for i := range middles {
		middles[i] = math.Float32bits((e2m1[i] + e2m1[i+1]) * 0.5 * d)
	}
	for j := range qs {
		qs[j] = nearestE2M1(low[j], &middles) | nearestE2M1(high[j], &middles)<<4
	}
}

// farE2M1 measures the distance to each float, as ggml does. For x far beyond the range
// the distances round to the same, and the first of them is 0.
func farE2M1(x, d float32) (q byte) {
	least := abs32(x)
	for i, v := range e2m1 {
		if distance := abs32(float32(v*d) - x); distance < least {
			q, least = byte(i), distance
		}
	}
	return q
}

// nearestE2M1 is the float nearest to x, of two the one nearer to zero. Within twice the
// range no distance is rounded, so that comparing with the middles does the same. The
// bits of positive floats compare as the floats do, and differences as signs need no
// branch, which could not be foreseen.
func nearestE2M1(x float32, middles *[7]uint32) byte {
	bits := math.Float32bits(x)
	a := bits &^ (1 << 31)
	q := (middles[0]-a)>>31 + (middles[1]-a)>>31 + (middles[2]-a)>>31 + (middles[3]-a)>>31 +
		(middles[4]-a)>>31 + (middles[5]-a)>>31 + (middles[6]-a)>>31
	negative := bits >> 31 << 3
	return byte(q | negative&-q) // there is no negative zero
}

func encodeMXFP4(dst []byte, src, _ []float32) {
	for ; len(dst) >= 17; dst, src = dst[17:], src[32:] {
		b, x := (*[17]byte)(dst), (*[32]float32)(src)
		_, magnitude := extreme(x[:])
		b[0] = 0
		if magnitude > 0 {
			// Rounding the logarithm to float32 takes a value just below a power of two
			// for one. Below 2^-125 the exponent wraps around, as it does in ggml.
			b[0] = byte(int32(math.Floor(float64(float32(math.Log2(float64(magnitude)))))) - 2 + 127)
		}
		putE2M1(b[1:], x[:], halfE8M0(b[0]))
	}
}

func encodeNVFP4(dst []byte, src, _ []float32) {
	for ; len(dst) >= 36; dst, src = dst[36:], src[64:] {
		b := (*[36]byte)(dst)
		for g := range 4 {
			x, qs := src[16*g:16*g+16], b[4+8*g:12+8*g]
			_, magnitude := extreme(x)
			b[g] = toUE4M3(magnitude / 6)
			if d := halfUE4M3(b[g]); d > 0 {
				putE2M1(qs, x, d)
			} else {
				clear(qs)
			}
		}
	}
}

// toUE4M3 rounds to the nearest float8 of halfUE4M3, ties up; what comes to 256 or more
// becomes the greatest, 448, as in ggml. Below 2^-6 it rounds in steps of 2^-9.
func toUE4M3(x float32) byte {
	switch bits := math.Float32bits(x); {
	case x >= 256:
		return 0x7e
	case x >= 0x1p-6:
		rounded := bits>>20 + bits>>19&1 - (127-7)<<3
		if rounded >= 15<<3 {
			return 0x7e
		}
		return byte(rounded)
	default:
		return byte(min(7, int32(float32(x*512)+0.5)))
	}
}
