package product

import (
	"qtool/internal/ggml"
	"qtool/internal/kernel/coding"
	"qtool/internal/kernel/simd"
	"qtool/internal/kernel/vector"
)

// tier is what one tier multiplies with. All tiers compute the same sums in an order of
// their own; on one tier a result never depends on the number of workers or of tokens.
type tier struct {
	// tiles[w][r-1] multiplies r rows with widths[w] columns; widths fall.
	tiles  [2][]tileFunc
	widths [2]int
	// toPanels stores the n pieces of widths[0] elements of src step elements apart.
	toPanels func(dst *float32, step int, src *float32, n int)
	peak     peak
	// prefetch fetches n bytes into the cache; nil where that does nothing.
	prefetch func(p *byte, n int)
	// pairs is nil where bfloat16 is not faster.
	pairs *pairKernels

	*vector.Transposer
	decoders *[ggml.Types]coding.Decoder
}

// tileFunc computes c[i·ldc+j] = sum over l < k of a[l·lda+i]·b[l·ldb+j], or +=
// if add, for a fixed number of rows i and columns j. Each sum starts at 0, runs
// over l in ascending order and is then stored in c or added to it.
type tileFunc func(k int, a *float32, lda int, b *float32, ldb int, c *float32, ldc int, add bool)

// rows is the most rows that a tile has.
func (t *tier) rows() int { return len(t.tiles[0]) }

// active is the tier in use.
func active() *tier { return tiers[simd.Active()] }

func init() {
	for i, t := range tiers {
		if t != nil {
			t.Transposer, t.decoders = vector.TransposerOf(simd.Tier(i)), coding.Decoders(simd.Tier(i))
		}
	}
}

// goTier is the pure-Go twin of every kernel: the reference that the others
// are tested against and what runs where there is no assembly.
var goTier = tier{
	tiles: [2][]tileFunc{
		{tileGo1x2, tileGo2x2, tileGo3x2},
		{tileGo1x2, tileGo2x2, tileGo3x2},
	},
	widths:   [2]int{2, 2},
	toPanels: toPanelsGo,
	peak:     peak{peakGo, 6 * 2},
}
