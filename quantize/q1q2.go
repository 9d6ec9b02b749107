package quantize

import (
	"qtool/gguf"
	"qtool/internal/kernel/coding"
)

func init() {
	register(gguf.Q1_0, decodeQ1_0, encodeQ1_0)
	register(gguf.Q2_0, decodeQ2_0, encodeQ2_0)
}

// Q1_0: 128 signs and one scale; value = d or -d. Bit j%8 of qs[j/8] is set for d.
//
//	0   2          18
//	| d | qs[16]   |
func decodeQ1_0(dst []float32, src []byte) {
	for ; len(src) >= 18; dst, src = dst[128:], src[18:] {
		b, y := (*[18]byte)(src), (*[128]float32)(dst)
		d := float16At(b[:])
		signed := [2]float32{-d, d}
		for i, q := range b[2:] {
			for j := range 8 {
				y[8*i+j] = signed[q>>j&1]
			}
		}
	}
}

// Q2_0: 64 values of 2 bits, value = d * (q - 1), so -d, 0, d, 2d. Value j is in
// bits 2*(j%4) of qs[j/4].
//
//	0   2          18
//	| d | qs[16]   |
func decodeQ2_0(dst []float32, src []byte) {
	for ; len(src) >= 18; dst, src = dst[64:], src[18:] {
		b, y := (*[18]byte)(src), (*[64]float32)(dst)
		d := float16At(b[:])
		level := [4]float32{-1 * d, 0 * d, d, 2 * d}
		for i, q := range b[2:] {
			y[4*i] = level[q&3]
			y[4*i+1] = level[q>>2&3]
			y[4*i+2] = level[q>>4&3]
			y[4*i+3] = level[q>>6]
		}
	}
}

// The scale of Q1_0 is the mean size, that of Q2_0 the greatest.

func encodeQ1_0(dst []byte, src, _ []float32) {
	if coding.Encode(gguf.Q1_0, dst, src) == len(src) {
		return
	}
	for ; len(dst) >= 18; dst, src = dst[18:], src[128:] {
		b, x := (*[18]byte)(dst), (*[128]float32)(src)
		var sum float32
		for _, v := range x {
			sum += abs32(v)
		}
		putFloat16(b[:], sum/128)
		for i := range 16 {
			var signs byte
			for j, v := range x[8*i : 8*i+8] {
				if v >= 0 {
					signs |= 1 << j
				}
			}
			b[2+i] = signs
		}
	}
}

func encodeQ2_0(dst []byte, src, _ []float32) {
	if coding.Encode(gguf.Q2_0, dst, src) == len(src) {
		return
	}
	for ; len(dst) >= 18; dst, src = dst[18:], src[64:] {
		b, x := (*[18]byte)(dst), (*[64]float32)(src)
		_, d := extreme(x[:])
		inverse := reciprocal(d)
		putFloat16(b[:], d)
		for i := range 16 {
			var pairs byte
			for j, v := range x[4*i : 4*i+4] {
				pairs |= byte(max(0, min(3, awayFromZero(float32(v*inverse))+1))) << (2 * j)
			}
			b[2+i] = pairs
		}
	}
}
