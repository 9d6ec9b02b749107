//go:build !purego

package vector

import "qtool/internal/kernel/simd"

var tiers = [simd.Tiers]*kernels{
	simd.Go:   &goKernels,
	simd.NEON: &neonKernels,
}

var neonKernels = kernels{
	Transposer: Transposer{4, transposeNEON},
	dot:        dotNEON,
	axpy:       axpyNEON,
	elementwise: elementwise{
		exp:            expNEON,
		highest:        highestNEON,
		dot64:          dot64NEON,
		scale:          scaleNEON,
		swiglu:         swigluNEON,
		swigluBackward: swigluBackwardNEON,
		geglu:          gegluNEON,
		gegluBackward:  gegluBackwardNEON,
		roundedGeglu:   roundedGegluNEON,
	},
}

//go:noescape
func dotNEON(a, b *float32, n int) float32

//go:noescape
func axpyNEON(y *float32, a float32, x *float32, n int)

//go:noescape
func transposeNEON(dst *float32, stride int, rows *Rows, n int)
