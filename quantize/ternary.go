package quantize

import (
	"math"

	"qtool/gguf"
	"qtool/internal/kernel/coding"
)

func init() {
	register(gguf.TQ1_0, decodeTQ1_0, encodeTQ1_0)
	register(gguf.TQ2_0, decodeTQ2_0, encodeTQ2_0)
}

// TQ1_0: 256 values of -d, 0 or d. Each byte is a fraction of 256 whose base-3
// digits are the values: multiplying by 3 pushes the next digit over the top.
//
//	0        48      52  54
//	| qs[48] | qh[4] | d |
//
// qs[0:32] holds five digits each, digit n of byte m being value 32*n+m; qs[32:48]
// likewise with strides of 16 from value 160; qh four digits with strides of 4 from
// value 240.
func decodeTQ1_0(dst []float32, src []byte) {
	for ; len(src) >= 54; dst, src = dst[256:], src[54:] {
		b, y := (*[54]byte)(src), (*[256]float32)(dst)
		d := float16At(b[52:])
		level := [3]float32{-1 * d, 0 * d, d}
		decodeTrits(y[:160], b[:32], &level)
		decodeTrits(y[160:240], b[32:48], &level)
		decodeTrits(y[240:], b[48:52], &level)
	}
}

// decodeTrits reads len(y)/len(qs) digits of each byte.
func decodeTrits(y []float32, qs []byte, level *[3]float32) {
	for m, q := range qs {
		for i := m; i < len(y); i += len(qs) {
			t := uint16(q) * 3
			y[i] = level[t>>8]
			q = byte(t)
		}
	}
}

// TQ2_0: 256 values of 2 bits, value = d * (q - 1). Each half of 128 values takes 32
// bytes of qs: values l, l+32, l+64, l+96 are the four bit pairs of byte l.
//
//	0        64  66
//	| qs[64] | d |
func decodeTQ2_0(dst []float32, src []byte) {
	for ; len(src) >= 66; dst, src = dst[256:], src[66:] {
		b := (*[66]byte)(src)
		d := float16At(b[64:])
		level := [4]float32{-1 * d, 0 * d, d, 2 * d}
		for h := range 2 {
			q, y := (*[32]byte)(b[32*h:]), (*[128]float32)(dst[128*h:])
			for l, q := range q {
				y[l] = level[q&3]
				y[l+32] = level[q>>2&3]
				y[l+64] = level[q>>4&3]
				y[l+96] = level[q>>6]
			}
		}
	}
}

// trits rounds 256 values to the digits 0, 1, 2 for -d, 0, d, where d is the greatest
// size. Where the reciprocal of d is infinite, ggml rounds to 0.
func trits(q *[256]byte, x *[256]float32) (d float32) {
	_, d = extreme(x[:])
	inverse := reciprocal(d)
	for i, v := range x {
		t := awayFromZero(float32(v * inverse))
		if t == math.MinInt32 {
			t = 0
		}
		q[i] = byte(t + 1)
	}
	return d
}

func encodeTQ1_0(dst []byte, src, _ []float32) {
	if coding.Encode(gguf.TQ1_0, dst, src) == len(src) {
		return
	}
	var q [256]byte
	for ; len(dst) >= 54; dst, src = dst[54:], src[256:] {
		b := (*[54]byte)(dst)
		putFloat16(b[52:], trits(&q, (*[256]float32)(src)))
		putTrits(b[:32], q[:160])
		putTrits(b[32:48], q[160:240])
		putTrits(b[48:52], q[240:])
	}
}

// putTrits is the reverse of decodeTrits. The fraction is rounded up, so that
// multiplying finds the digits again.
func putTrits(qs, digits []byte) {
	for m := range qs {
		n := uint16(0)
		for j := range 5 {
			n *= 3
			if i := m + j*len(qs); i < len(digits) {
				n += uint16(digits[i])
			}
		}
		qs[m] = byte((n*256 + 242) / 243)
	}
}

func encodeTQ2_0(dst []byte, src, _ []float32) {
	if coding.Encode(gguf.TQ2_0, dst, src) == len(src) {
		return
	}
	var q [256]byte
	for ; len(dst) >= 66; dst, src = dst[66:], src[256:] {
		putFloat16(dst[64:], trits(&q, (*[256]float32)(src)))
		putPairs((*[64]byte)(dst), &q)
	}
}
