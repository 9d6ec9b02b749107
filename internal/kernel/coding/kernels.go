package coding

import (
	"qtool/internal/ggml"
	"qtool/internal/kernel/simd"
)

// kernels are one tier's functions over encoded rows; nil: in Go, or by package quantize.
type kernels struct {
	decoders [ggml.Types]Decoder
	encoders [ggml.Types]encodeFunc
	// halfEncoders take float16 elements, bfloatEncoders bfloat16; nil: by way of float32.
	halfEncoders, bfloatEncoders [ggml.Types]halfEncodeFunc
	// magnitude is the greatest of the bits of n elements without their signs, n a
	// multiple of 16.
	magnitude func(v *float32, n int) uint32
	lanes     int // elements of a vector, which some searches count
	searches
}

// active are the kernels of the tier in use.
func active() *kernels { return tiers[simd.Active()] }

// goKernels has none: package quantize is the twin of every decoder, encoder and search.
var goKernels kernels
