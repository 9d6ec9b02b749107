//go:build purego || (!amd64 && !arm64)

package product

import "qtool/internal/kernel/simd"

var tiers = [simd.Tiers]*tier{simd.Go: &goTier}
