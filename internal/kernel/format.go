package kernel

import "math/bits"

// Format is a ggml type that tiers may decode by themselves.
type Format uint8

const (
	otherFormat Format = iota // decoded by the matrix's own function
	formatF16
	formatBF16
	formatQ4_0
	formatQ4_1
	formatQ5_0
	formatQ5_1
	formatQ8_0
	formatIQ4_NL
	formatIQ4_XS
	formatMXFP4
	formatQ2_K
	formatQ3_K
	formatQ4_K
	formatQ5_K
	formatQ6_K
	formatQ1_0
	formatQ2_0
	formatTQ1_0
	formatTQ2_0
	formatNVFP4
	formatIQ1_S
	formatIQ1_M
	formatIQ2_XXS
	formatIQ2_XS
	formatIQ2_S
	formatIQ3_XXS
	formatIQ3_S
	formats
)

// blocks are the elements and bytes of each format's block.
var blocks = [formats]struct {
	name            string
	elements, bytes int
}{
	formatF16:     {"F16", 1, 2},
	formatBF16:    {"BF16", 1, 2},
	formatQ4_0:    {"Q4_0", 32, 18},
	formatQ4_1:    {"Q4_1", 32, 20},
	formatQ5_0:    {"Q5_0", 32, 22},
	formatQ5_1:    {"Q5_1", 32, 24},
	formatQ8_0:    {"Q8_0", 32, 34},
	formatIQ4_NL:  {"IQ4_NL", 32, 18},
	formatIQ4_XS:  {"IQ4_XS", 256, 136},
	formatMXFP4:   {"MXFP4", 32, 17},
	formatQ2_K:    {"Q2_K", 256, 84},
	formatQ3_K:    {"Q3_K", 256, 110},
	formatQ4_K:    {"Q4_K", 256, 144},
	formatQ5_K:    {"Q5_K", 256, 176},
	formatQ6_K:    {"Q6_K", 256, 210},
	formatQ1_0:    {"Q1_0", 128, 18},
	formatQ2_0:    {"Q2_0", 64, 18},
	formatTQ1_0:   {"TQ1_0", 256, 54},
	formatTQ2_0:   {"TQ2_0", 256, 66},
	formatNVFP4:   {"NVFP4", 64, 36},
	formatIQ1_S:   {"IQ1_S", 256, 50},
	formatIQ1_M:   {"IQ1_M", 256, 56},
	formatIQ2_XXS: {"IQ2_XXS", 256, 66},
	formatIQ2_XS:  {"IQ2_XS", 256, 74},
	formatIQ2_S:   {"IQ2_S", 256, 82},
	formatIQ3_XXS: {"IQ3_XXS", 256, 98},
	formatIQ3_S:   {"IQ3_S", 256, 110},
}

// decoder turns whole blocks of a format into elements: exactly the values of
// package quantize, and those rounded to bfloat16. A nil function: none.
type decoder struct {
	elements int // of the blocks that the functions count
	// float32 and bf16 decode that many blocks of each row; strides are in bytes.
	float32 func(dst *float32, src *byte, blocks, rows, dstStride, srcStride int)
	bf16    func(dst *uint16, src *byte, blocks, rows, dstStride, srcStride int)
	// dot adds to each y the sum of the elements of a row times those of x; rows, of
	// that many blocks each, follow each other.
	dot func(x *float32, src *byte, blocks, rows int, y *float32)
}

// OfType is m, known to be stored in the ggml type of that name, so that a tier
// may decode it with instructions of its own instead of m's function. Names
// and shapes that no tier knows change nothing.
func (m Matrix) OfType(name string) Matrix {
	for f, b := range blocks {
		if f > 0 && b.name == name && m.decode != nil && m.Cols%decodableColumns == 0 && m.stride == m.Cols/b.elements*b.bytes {
			m.format, m.shift, m.block = Format(f), uint8(bits.TrailingZeros(uint(b.elements))), b.bytes
		}
	}
	return m
}

// decodableColumns divides the rows that tiers decode: their decoders work on
// 32 elements at least.
const decodableColumns = 32
