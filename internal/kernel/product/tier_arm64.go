//go:build !purego

package product

import "qtool/internal/kernel/simd"

var tiers = [simd.Tiers]*tier{
	simd.Go:   &goTier,
	simd.NEON: &neonTier,
}

var neonTier = tier{
	multipliers: [ways]*multiplier{inFloat32: {
		tiles:  [2][]tileFunc{wideTilesNEON, narrowTilesNEON},
		widths: [2]int{16, 8},
		unit:   1,
		peak:   peak{peakNEON, 24 * 4 * 2},
		packer: float32Packer{toPanelsNEON},
	}},
}

//go:noescape
func toPanelsNEON(dst *float32, step int, src *float32, n int)
