//go:build !purego

package coding

import "qtool/internal/kernel/simd"

var tiers = [simd.Tiers]*kernels{
	simd.Go:   &goKernels,
	simd.NEON: {decoders: decodersNEON},
}
