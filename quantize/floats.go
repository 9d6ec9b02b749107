package quantize

import (
	"encoding/binary"
	"math"

	"qtool/gguf"
	"qtool/internal/half"
	"qtool/internal/kernel/coding"
)

func init() {
	register(gguf.F32, decodeF32, encodeF32)
	register(gguf.F16, decodeF16, encodeF16)
	register(gguf.BF16, decodeBF16, encodeBF16)
	register(gguf.F64, decodeF64, nil)
	register(gguf.I8, decodeI8, nil)
	register(gguf.I16, decodeI16, nil)
	register(gguf.I32, decodeI32, nil)
}

var le = binary.LittleEndian

// The plain types store one element after another, little-endian.

func decodeF32(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(le.Uint32(src))
		src = src[4:]
	}
}

func encodeF32(dst []byte, src, _ []float32) {
	for _, v := range src {
		le.PutUint32(dst, math.Float32bits(v))
		dst = dst[4:]
	}
}

func decodeF16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = half.FromFloat16(le.Uint16(src))
		src = src[2:]
	}
}

func encodeF16(dst []byte, src, _ []float32) {
	n := coding.Encode(gguf.F16, dst, src)
	dst = dst[2*n:]
	for _, v := range src[n:] {
		le.PutUint16(dst, half.ToFloat16(v))
		dst = dst[2:]
	}
}

func decodeBF16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = half.FromBFloat16(le.Uint16(src))
		src = src[2:]
	}
}

func encodeBF16(dst []byte, src, _ []float32) {
	n := coding.Encode(gguf.BF16, dst, src)
	dst = dst[2*n:]
	for _, v := range src[n:] {
		le.PutUint16(dst, half.ToBFloat16(v))
		dst = dst[2:]
	}
}

// F64 and the integers hold tables, not weights: they are read for inspection
// and rounded to the nearest float32.

func decodeF64(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = float32(math.Float64frombits(le.Uint64(src[8*i:])))
	}
}

func decodeI8(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = float32(int8(src[i]))
	}
}

func decodeI16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = float32(int16(le.Uint16(src[2*i:])))
	}
}

func decodeI32(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = float32(int32(le.Uint32(src[4*i:])))
	}
}

// float16At reads the binary16 scale at the start of b.
func float16At(b []byte) float32 { return half.FromFloat16(le.Uint16(b)) }

func putFloat16(b []byte, f float32) { le.PutUint16(b, half.ToFloat16(f)) }
