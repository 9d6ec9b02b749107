//go:build !purego

package kernel

import "golang.org/x/sys/cpu"

var avx2Tier = tier{
	name:      "avx2",
	tiles:     [2][]tileFunc{wideTilesAVX2, narrowTilesAVX2},
	widths:    [2]int{16, 8},
	lanes:     8,
	transpose: transposeAVX2,
	toPanels:  toPanelsAVX2,
	dot:       dotAVX2,
	dotRows:   dotF32AVX2,
	axpy:      axpyAVX2,
	adamW:     adamWAVX2,
	peak:      peak{peakAVX2, 12 * 8 * 2},
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
	prefetch: prefetchAMD64,
	decoders: decodersAVX2,
	encoders: encodersAVX2, magnitude: magnitudeAVX2,
	halfEncoders: halfEncodersAVX2, bfloatEncoders: bfloatEncodersAVX2,
	searches: searchesAVX2,
}

var avx512Tier = tier{
	name:      "avx512",
	tiles:     [2][]tileFunc{wideTilesAVX512, narrowTilesAVX512},
	widths:    [2]int{32, 16},
	lanes:     16,
	transpose: transposeAVX512,
	toPanels:  toPanelsAVX512,
	dot:       dotAVX512,
	dotRows:   dotF32AVX512,
	axpy:      axpyAVX512,
	adamW:     adamWAVX512,
	peak:      peak{peakAVX512, 28 * 16 * 2},
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
	prefetch: prefetchAMD64,
	decoders: decodersAVX512,
	encoders: encodersAVX512, magnitude: magnitudeAVX512,
	halfEncoders: halfEncodersAVX512, bfloatEncoders: bfloatEncodersAVX512,
	searches: searchesAVX512,
}

// avx512BF16Tier is avx512Tier with bfloat16.
var avx512BF16Tier = func() tier {
	t := avx512Tier
	t.name = "avx512bf16"
	t.decoders = decodersAVX512BF16
	t.pairs = &pairKernels{
		tiles:      [2][]tileFunc{wideTilesAVX512BF16, narrowTilesAVX512BF16},
		peak:       peak{peakAVX512BF16, 28 * 32 * 2},
		round:      roundBF16AVX512,
		interleave: interleaveAVX512,
		join:       joinAVX512,
	}
	return t
}()

func machineTiers() (tiers []*tier) {
	x := &cpu.X86
	if !x.HasAVX2 || !x.HasFMA || !x.HasF16C || !x.HasBMI2 {
		return nil
	}
	if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL {
		if x.HasAVX512BF16 {
			tiers = append(tiers, &avx512BF16Tier)
		}
		tiers = append(tiers, &avx512Tier)
	}
	return append(tiers, &avx2Tier)
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
func transposeAVX2(dst *float32, stride int, rows *rowPointers, n int)

//go:noescape
func toPanelsAVX2(dst *float32, step int, src *float32, n int)

//go:noescape
func transposeAVX512(dst *float32, stride int, rows *rowPointers, n int)

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
