package quantize

import (
	"qtool/gguf"
	"qtool/internal/kernel/coding"
)

func init() {
	register(gguf.Q4_0, decodeQ4_0, encodeQ4_0)
	register(gguf.Q4_1, decodeQ4_1, encodeQ4_1)
}

// Q4_0 and Q4_1: blocks of 32 values of 4 bits. Byte j of qs holds value j in its
// low and value j+16 in its high half.
//
//	Q4_0  0   2          18     value = d * (q - 8)
//	      | d | qs[16]   |
//	Q4_1  0   2   4          20 value = d * q + m
//	      | d | m | qs[16]   |

func decodeQ4_0(dst []float32, src []byte) {
	for ; len(src) >= 18; dst, src = dst[32:], src[18:] {
		b, y := (*[18]byte)(src), (*[32]float32)(dst)
		d := float16At(b[:])
		for j, q := range b[2:] {
			y[j] = float32(int32(q&15)-8) * d
			y[j+16] = float32(int32(q>>4)-8) * d
		}
	}
}

func decodeQ4_1(dst []float32, src []byte) {
	for ; len(src) >= 20; dst, src = dst[32:], src[20:] {
		b, y := (*[20]byte)(src), (*[32]float32)(dst)
		d, m := float16At(b[:]), float16At(b[2:])
		for j, q := range b[4:] {
			y[j] = float32(float32(q&15)*d) + m
			y[j+16] = float32(float32(q>>4)*d) + m
		}
	}
}

func encodeQ4_0(dst []byte, src, importance []float32) {
	if importance == nil && coding.Encode(gguf.Q4_0, dst, src) == len(src) {
		return
	}
	symmetric32(src, importance, 8, func(block int, d float32, q *[32]byte) {
		b := dst[18*block:]
		putFloat16(b, d)
		putLow4(b[2:], q)
	})
}

func encodeQ4_1(dst []byte, src, importance []float32) {
	if importance == nil && coding.Encode(gguf.Q4_1, dst, src) == len(src) {
		return
	}
	affine32(src, importance, 15, func(block int, d, m float32, q *[32]byte) {
		b := dst[20*block:]
		putFloat16(b, d)
		putFloat16(b[2:], m)
		putLow4(b[4:], q)
	})
}
