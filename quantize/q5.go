package quantize

import (
	"qtool/gguf"
	"qtool/internal/kernel/coding"
)

func init() {
	register(gguf.Q5_0, decodeQ5_0, encodeQ5_0)
	register(gguf.Q5_1, decodeQ5_1, encodeQ5_1)
}

// Q5_0 and Q5_1: as Q4_0 and Q4_1, with the fifth bit of value j in bit j of qh.
//
//	Q5_0  0   2       6          22     value = d * (q - 16)
//	      | d | qh[4] | qs[16]   |
//	Q5_1  0   2   4       8          24 value = d * q + m
//	      | d | m | qh[4] | qs[16]   |

func decodeQ5_0(dst []float32, src []byte) {
	for ; len(src) >= 22; dst, src = dst[32:], src[22:] {
		b, y := (*[22]byte)(src), (*[32]float32)(dst)
		d, qh := float16At(b[:]), le.Uint32(b[2:])
		for j, q := range b[6:] {
			y[j] = float32(int32(uint32(q&15)|qh<<4&16)-16) * d
			y[j+16] = float32(int32(uint32(q>>4)|qh>>12&16)-16) * d
			qh >>= 1
		}
	}
}

func decodeQ5_1(dst []float32, src []byte) {
	for ; len(src) >= 24; dst, src = dst[32:], src[24:] {
		b, y := (*[24]byte)(src), (*[32]float32)(dst)
		d, m, qh := float16At(b[:]), float16At(b[2:]), le.Uint32(b[4:])
		for j, q := range b[8:] {
			y[j] = float32(float32(int32(uint32(q&15)|qh<<4&16))*d) + m
			y[j+16] = float32(float32(int32(uint32(q>>4)|qh>>12&16))*d) + m
			qh >>= 1
		}
	}
}

func encodeQ5_0(dst []byte, src, importance []float32) {
	if importance == nil && coding.Encode(gguf.Q5_0, dst, src) == len(src) {
		return
	}
	symmetric32(src, importance, 16, func(block int, d float32, q *[32]byte) {
		b := dst[22*block:]
		putFloat16(b, d)
		putBit4(b[2:], q)
		putLow4(b[6:], q)
	})
}

func encodeQ5_1(dst []byte, src, importance []float32) {
	if importance == nil && coding.Encode(gguf.Q5_1, dst, src) == len(src) {
		return
	}
	affine32(src, importance, 31, func(block int, d, m float32, q *[32]byte) {
		b := dst[24*block:]
		putFloat16(b, d)
		putFloat16(b[2:], m)
		putBit4(b[4:], q)
		putLow4(b[8:], q)
	})
}
