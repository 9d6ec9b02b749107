//go:build !purego

package kernel

var neonTier = tier{
	name:      "neon",
	tiles:     [2][]tileFunc{wideTilesNEON, narrowTilesNEON},
	widths:    [2]int{16, 8},
	lanes:     4,
	transpose: transposeNEON,
	toPanels:  toPanelsNEON,
	dot:       dotNEON,
	dotRows:   dotF32NEON,
	axpy:      axpyNEON,
	peak:      peak{peakNEON, 24 * 4 * 2},
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
	decoders: decodersNEON,
}

// machineTiers needs no detection: every arm64 has NEON.
func machineTiers() []*tier { return []*tier{&neonTier} }

//go:noescape
func dotNEON(a, b *float32, n int) float32

//go:noescape
func axpyNEON(y *float32, a float32, x *float32, n int)

//go:noescape
func transposeNEON(dst *float32, stride int, rows *rowPointers, n int)

//go:noescape
func toPanelsNEON(dst *float32, step int, src *float32, n int)
