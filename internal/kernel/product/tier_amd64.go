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
	tiles:    [2][]tileFunc{wideTilesAVX2, narrowTilesAVX2},
	widths:   [2]int{16, 8},
	toPanels: toPanelsAVX2,
	peak:     peak{peakAVX2, 12 * 8 * 2},
	prefetch: prefetchAMD64,
}

var avx512Tier = tier{
	tiles:    [2][]tileFunc{wideTilesAVX512, narrowTilesAVX512},
	widths:   [2]int{32, 16},
	toPanels: toPanelsAVX512,
	peak:     peak{peakAVX512, 28 * 16 * 2},
	prefetch: prefetchAMD64,
}

// avx512BF16Tier is avx512Tier with bfloat16.
var avx512BF16Tier = func() tier {
	t := avx512Tier
	t.pairs = &pairKernels{
		tiles:      [2][]tileFunc{wideTilesAVX512BF16, narrowTilesAVX512BF16},
		peak:       peak{peakAVX512BF16, 28 * 32 * 2},
		round:      roundBF16AVX512,
		interleave: interleaveAVX512,
		join:       joinAVX512,
	}
	return t
}()

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
