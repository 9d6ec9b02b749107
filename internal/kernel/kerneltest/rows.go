package kerneltest

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"

	"qtool/internal/ggml"
	"qtool/internal/half"
)

// DecodedTypes are the types of weights that every tier with assembly decodes: all but those
// that are used in place, are no weights, or are what llama.cpp multiplies with.
func DecodedTypes() (all []ggml.Type) {
	for t := range ggml.All() {
		switch t {
		case ggml.F32, ggml.F64, ggml.I8, ggml.I16, ggml.I32, ggml.I64, ggml.Q8_1, ggml.Q8_K:
		default:
			all = append(all, t)
		}
	}
	return all
}

// scalesOf says where a block has its float16 scales: F16 is scale alone.
func scalesOf(typ ggml.Type) []int {
	if typ == ggml.F16 {
		return []int{0}
	}
	return slices.DeleteFunc(slices.Clone(ggml.TraitsOf(typ).Scales), func(at int) bool { return at == ggml.Scattered })
}

// specialScales are infinite, not numbers, subnormal, zero and the greatest.
var specialScales = []uint16{0x7c00, 0xfc00, 0x7e00, 0xfe01, 0x0001, 0x83ff, 0x0000, 0x8000, 0x7bff, 0xfbff}

// Rows are blocks of random bits whose scales are small numbers, or, unless
// finite, any and some special ones.
func Rows(rng *rand.Rand, typ ggml.Type, rows, cols int, finite bool) []byte {
	size, _ := typ.RowSize(cols)
	data := make([]byte, rows*int(size))
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	for i := range len(data) / typ.BlockBytes() {
		scale := func() uint16 {
			switch {
			case finite:
				return half.ToFloat16(float32(rng.NormFloat64()) / 64)
			case i%2 == 0:
				return specialScales[rng.IntN(len(specialScales))]
			}
			return uint16(rng.Uint32())
		}
		block := data[i*typ.BlockBytes():][:typ.BlockBytes()]
		for _, at := range scalesOf(typ) {
			binary.LittleEndian.PutUint16(block[at:], scale())
		}
		switch typ {
		case ggml.IQ1_M: // a quarter of the scale on top of each word
			d := scale()
			for w := range 4 {
				top := &block[49+2*w]
				*top = *top&15 | byte(d>>(4*w))<<4
			}
		case ggml.MXFP4: // 0 and 1 are subnormal
			if finite {
				block[0] = byte(120 + rng.IntN(8))
			} else if i < 3 {
				block[0] = [3]byte{0, 1, 255}[i]
			}
		case ggml.NVFP4: // 0x7f is not a number, below 8 is subnormal
			if !finite {
				binary.LittleEndian.PutUint32(block, 0x03020100+0x04040404*uint32(i+28))
			}
		case ggml.BF16:
			if finite {
				binary.LittleEndian.PutUint16(block, half.ToBFloat16(float32(rng.NormFloat64())))
			}
		}
	}
	return data
}
