package product

import (
	"qtool/internal/ggml"
	"qtool/internal/kernel/coding"
	"qtool/internal/kernel/simd"
	"qtool/internal/kernel/vector"
)

// tier is what products need of one tier. All tiers compute the same sums in an order of
// their own; on one tier a result never depends on the number of workers or of tokens.
type tier struct {
	multipliers [ways]*multiplier // nil: the tier has no such one
	// prefetch fetches n bytes into the cache; nil where that does nothing.
	prefetch func(p *byte, n int)

	*vector.Transposer
	decoders *[ggml.Types]coding.Decoder
}

// active is the tier in use.
func active() *tier { return tiers[simd.Active()] }

func init() {
	for i, t := range tiers {
		if t == nil {
			continue
		}
		t.Transposer, t.decoders = vector.TransposerOf(simd.Tier(i)), coding.Decoders(simd.Tier(i))
		for w, m := range t.multipliers {
			if m != nil {
				m.tier, m.way = t, way(w)
			}
		}
	}
}

// way numbers the ways to multiply.
type way int

const (
	inFloat32 way = iota
	inBFloat16
	ways
)

// wayNames are what users call them.
var wayNames = [ways]string{"f32", "bf16"}

func (w way) String() string { return wayNames[w] }

// A multiplier is one way to multiply on one tier: what an element of packed panels is, how
// panels are packed, and the micro-kernels that multiply them. Products know no more of it.
type multiplier struct {
	// tiles[w][r-1] multiplies r rows with widths[w] columns; widths fall.
	tiles  [2][]tileFunc
	widths [2]int
	unit   int // terms that one element of packed panels holds
	peak   peak
	packer

	tier *tier
	way  way
}

// tileFunc computes c[i·ldc+j] = sum over l < k of a[l·lda+i]·b[l·ldb+j], or +=
// if add, for a fixed number of rows i and columns j; l, lda and ldb count elements of
// panels. Each sum starts at 0, runs over l in ascending order and is then stored in c or
// added to it.
type tileFunc func(k int, a *float32, lda int, b *float32, ldb int, c *float32, ldc int, add bool)

// A packer makes the elements of panels. All sizes of panels count such elements, all
// positions in a Matrix its own.
type packer interface {
	// pointTo makes s.rows point to terms l0 to l1-1 of rows r to r+rows-1 of w, as elements
	// of panels, one after the other; the last row stands for those that are missing.
	pointTo(t *tier, s *scratch, w *Matrix, r, rows, l0, l1 int)
	// putTerms stores columns from to to-1 of as many rows of w from l on as an element
	// holds, which are its terms.
	putTerms(dst []float32, w *Matrix, l, from, to int)
	// packRows packs columns j0 to j1-1 of rows l0 to l1-1 of w, which are terms, in memory.
	packRows(m *multiplier, s *scratch, memory *[]float32, w *Matrix, l0, l1, j0, j1 int) packedB
}

// tileRows is the most rows that a tile has.
func (m *multiplier) tileRows() int { return len(m.tiles[0]) }

// terms is how many terms are added up before they are added to the result.
func (m *multiplier) terms() int { return termBlock * m.unit }

// multiplierOf chooses what w is multiplied in.
func (t *tier) multiplierOf(w Matrix, precision Precision) *multiplier {
	if m := t.multipliers[inBFloat16]; precision == Auto && m != nil && (w.decode != nil || w.roundable) {
		return m
	}
	return t.multipliers[inFloat32]
}

// goTier is the pure-Go twin of every kernel: the reference that the others
// are tested against and what runs where there is no assembly.
var goTier = tier{
	multipliers: [ways]*multiplier{inFloat32: {
		tiles: [2][]tileFunc{
			{tileGo1x2, tileGo2x2, tileGo3x2},
			{tileGo1x2, tileGo2x2, tileGo3x2},
		},
		widths: [2]int{2, 2},
		unit:   1,
		peak:   peak{peakGo, 6 * 2},
		packer: float32Packer{toPanelsGo},
	}},
}
