package quantize

import (
	"math"

	"qtool/gguf"
	"qtool/internal/kernel/coding"
)

func init() {
	register(gguf.MXFP4, decodeMXFP4, encodeMXFP4)
	register(gguf.NVFP4, decodeNVFP4, encodeNVFP4)
}

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

// e2m1Middles are those between neighbours.
var e2m1Middles = [7]float32{0.5, 1.5, 2.5, 3.5, 5, 7, 10}

// greatestSize is the greatest magnitude of x, which is finite.
func greatestSize(x []float32) float32 { return math.Float32frombits(coding.Magnitude(x)) }

// levelsE2M1 finds for all groups of x the nearest of such floats times the scale.
func (f *groupFit) levelsE2M1(x []float32) {
	if coding.CanSearch() {
		coding.FP4Levels(f.levels, x, f.count, f.scale, &e2m1Middles)
	}
	for g, d := range f.scale {
		from, to := g*f.count, (g+1)*f.count
		q, x := f.levels[from:to], x[from:to]
		switch {
		case greatestSize(x) > 24*d:
			for j, v := range x {
				q[j] = farE2M1(v, d)
			}
		case !coding.CanSearch():
			var middles [7]uint32
			for i, m := range e2m1Middles {
				middles[i] = math.Float32bits(m * d)
			}
			for j, v := range x {
				q[j] = nearestE2M1(v, &middles)
			}
		}
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
	f := newGroupFit(src, 32)
	defer f.giveBack()
	for i := range f.scale {
		dst[17*i] = exponentMXFP4(greatestSize(src[32*i : 32*i+32]))
		f.scale[i] = halfE8M0(dst[17*i])
	}
	f.levelsE2M1(src)
	for i := range f.scale {
		putLow4(dst[17*i+1:17*i+17], (*[32]byte)(f.levels[32*i:]))
	}
}

// exponentMXFP4 is that of the scale for values up to magnitude.
func exponentMXFP4(magnitude float32) byte {
	if magnitude == 0 {
		return 0
	}
	if b := math.Float32bits(magnitude); b >= 1<<23 && b&(1<<23-1) < 0x7f0000 {
		return byte(int32(b>>23) - 2) // as below, far from the next power of two
	}
	// Rounding the logarithm to float32 takes a value just below a power of two for one.
	// Below 2^-125 the exponent wraps around, as it does in ggml.
	return byte(int32(math.Floor(float64(float32(math.Log2(float64(magnitude)))))) - 2 + 127)
}

func encodeNVFP4(dst []byte, src, _ []float32) {
	f := newGroupFit(src, 16)
	defer f.giveBack()
	for i := range f.scale {
		s := toUE4M3(greatestSize(src[16*i:16*i+16]) / 6)
		dst[36*(i/4)+i%4] = s
		f.scale[i] = halfUE4M3(s)
	}
	f.levelsE2M1(src)
	for i, d := range f.scale {
		qs := dst[36*(i/4)+4+8*(i%4):]
		if !(d > 0) {
			clear(qs[:8])
			continue
		}
		q := f.levels[16*i:]
		le.PutUint64(qs, le.Uint64(q)&lowNibbles|le.Uint64(q[8:])&lowNibbles<<4)
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
