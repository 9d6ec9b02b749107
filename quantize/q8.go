package quantize

import (
	"qtool/gguf"
	"qtool/internal/kernel/coding"
)

func init() {
	register(gguf.Q8_0, decodeQ8_0, encodeQ8_0)
}

// Q8_0: 32 signed bytes and one scale, value = d * q.
//
//	0   2          34
//	| d | qs[32]   |

func decodeQ8_0(dst []float32, src []byte) {
	for ; len(src) >= 34; dst, src = dst[32:], src[34:] {
		b, y := (*[34]byte)(src), (*[32]float32)(dst)
		d := float16At(b[:])
		for j, q := range b[2:] {
			y[j] = float32(int8(q)) * d
		}
	}
}

func encodeQ8_0(dst []byte, src, _ []float32) {
	if coding.Encode(gguf.Q8_0, dst, src) == len(src) {
		return
	}
	for ; len(dst) >= 34; dst, src = dst[34:], src[32:] {
		b, x := (*[34]byte)(dst), (*[32]float32)(src)
		_, magnitude := extreme(x[:])
		d := magnitude / 127
		inverse := reciprocal(d)
		putFloat16(b[:], d)
		for j, v := range x {
			b[2+j] = byte(awayFromZero(float32(v * inverse)))
		}
	}
}
