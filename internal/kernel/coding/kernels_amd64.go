//go:build !purego

package coding

import "qtool/internal/kernel/simd"

var tiers = [simd.Tiers]*kernels{
	simd.Go: &goKernels,
	simd.AVX2: {
		decoders: decodersAVX2,
		encoders: encodersAVX2, magnitude: magnitudeAVX2,
		halfEncoders: halfEncodersAVX2, bfloatEncoders: bfloatEncodersAVX2,
		lanes: 8, searches: searchesAVX2,
	},
	simd.AVX512: {
		decoders: decodersAVX512,
		encoders: encodersAVX512, magnitude: magnitudeAVX512,
		halfEncoders: halfEncodersAVX512, bfloatEncoders: bfloatEncodersAVX512,
		lanes: 16, searches: searchesAVX512,
	},
	simd.AVX512BF16: {
		decoders: decodersAVX512BF16,
		encoders: encodersAVX512, magnitude: magnitudeAVX512,
		halfEncoders: halfEncodersAVX512, bfloatEncoders: bfloatEncodersAVX512,
		lanes: 16, searches: searchesAVX512,
	},
}
