//go:build !purego

package product

import "qtool/internal/kernel/simd"

var tiers = [simd.Tiers]*tier{
	simd.Go:         &goTier,
	simd.AVX2:       &avx2Tier,
	simd.AVX512:     &avx512Tier,
	simd.AVX512BF16: &avx512BF16Tier,
}

var avx2Tier = tier{
	prefetch: prefetchAMD64,
	multipliers: [ways]*multiplier{inFloat32: {
		tiles:  [2][]tileFunc{wideTilesAVX2, narrowTilesAVX2},
		widths: [2]int{16, 8},
		unit:   1,
		peak:   peak{peakAVX2, 12 * 8 * 2},
		packer: float32Packer{toPanelsAVX2},
	}},
}

var avx512Tier = tier{
	prefetch:    prefetchAMD64,
	multipliers: [ways]*multiplier{inFloat32: inFloat32OnAVX512()},
}

// avx512BF16Tier is avx512Tier with bfloat16.
var avx512BF16Tier = tier{
	prefetch: prefetchAMD64,
	multipliers: [ways]*multiplier{inFloat32: inFloat32OnAVX512(), inBFloat16: {
		tiles:  [2][]tileFunc{wideTilesAVX512BF16, narrowTilesAVX512BF16},
		widths: [2]int{32, 16},
		unit:   2,
		peak:   peak{peakAVX512BF16, 28 * 32 * 2},
		packer: &bfloat16Packer{roundBF16AVX512, interleaveAVX512, joinAVX512},
	}},
}

func inFloat32OnAVX512() *multiplier {
	return &multiplier{
		tiles:  [2][]tileFunc{wideTilesAVX512, narrowTilesAVX512},
		widths: [2]int{32, 16},
		unit:   1,
		peak:   peak{peakAVX512, 28 * 16 * 2},
		packer: float32Packer{toPanelsAVX512},
	}
}

//go:noescape
func toPanelsAVX2(dst *float32, step int, src *float32, n int)

//go:noescape
func toPanelsAVX512(dst *float32, step int, src *float32, n int)

//go:noescape
func roundBF16AVX512(dst *uint16, src *float32, n int)

//go:noescape
func interleaveAVX512(dst *float32, a, b *uint16, n int)

//go:noescape
func joinAVX512(dst, a, b *float32, n int)

//go:noescape
func prefetchAMD64(p *byte, n int)
