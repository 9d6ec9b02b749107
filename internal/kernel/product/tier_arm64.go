//go:build !purego

package product

import "qtool/internal/kernel/simd"

var tiers = [simd.Tiers]*tier{
	simd.Go:   &goTier,
	simd.NEON: &neonTier,
}

var neonTier = tier{
	tiles:    [2][]tileFunc{wideTilesNEON, narrowTilesNEON},
	widths:   [2]int{16, 8},
	toPanels: toPanelsNEON,
	peak:     peak{peakNEON, 24 * 4 * 2},
}

//go:noescape
func toPanelsNEON(dst *float32, step int, src *float32, n int)
