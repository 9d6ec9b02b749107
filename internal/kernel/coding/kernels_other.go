//go:build purego || (!amd64 && !arm64)

package coding

import "qtool/internal/kernel/simd"

var tiers = [simd.Tiers]*kernels{simd.Go: &goKernels}
