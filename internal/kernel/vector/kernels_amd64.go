//go:build !purego

package vector

import "qtool/internal/kernel/simd"

var tiers = [simd.Tiers]*kernels{
	simd.Go:         &goKernels,
	simd.AVX2:       &avx2Kernels,
	simd.AVX512:     &avx512Kernels,
	simd.AVX512BF16: &avx512Kernels,
}

var avx2Kernels = kernels{
	Transposer: Transposer{8, transposeAVX2},
	dot:        dotAVX2,
	axpy:       axpyAVX2,
	adamW:      adamWAVX2,
	elementwise: elementwise{
		exp:            expAVX2,
		highest:        highestAVX2,
		dot64:          dot64AVX2,
		scale:          scaleAVX2,
		swiglu:         swigluAVX2,
		swigluBackward: swigluBackwardAVX2,
		geglu:          gegluAVX2,
		gegluBackward:  gegluBackwardAVX2,
		roundedGeglu:   roundedGegluAVX2,
	},
}

var avx512Kernels = kernels{
	Transposer: Transposer{16, transposeAVX512},
	dot:        dotAVX512,
	axpy:       axpyAVX512,
	adamW:      adamWAVX512,
	elementwise: elementwise{
		exp:            expAVX512,
		highest:        highestAVX512,
		dot64:          dot64AVX512,
		scale:          scaleAVX512,
		swiglu:         swigluAVX512,
		swigluBackward: swigluBackwardAVX512,
		geglu:          gegluAVX512,
		gegluBackward:  gegluBackwardAVX512,
		roundedGeglu:   roundedGegluAVX512,
	},
}

//go:noescape
func dotAVX2(a, b *float32, n int) float32

//go:noescape
func dotAVX512(a, b *float32, n int) float32

//go:noescape
func axpyAVX2(y *float32, a float32, x *float32, n int)

//go:noescape
func axpyAVX512(y *float32, a float32, x *float32, n int)

//go:noescape
func adamWAVX2(s *AdamWStep, w, grad, m, v *float32, n int)

//go:noescape
func adamWAVX512(s *AdamWStep, w, grad, m, v *float32, n int)

//go:noescape
func transposeAVX2(dst *float32, stride int, rows *Rows, n int)

//go:noescape
func transposeAVX512(dst *float32, stride int, rows *Rows, n int)
