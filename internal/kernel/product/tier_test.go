package product

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"qtool/internal/half"
	"qtool/internal/kernel/kerneltest"
)

func TestBFloat16KernelsRoundAndInterleaveEveryLengthAndNoMore(t *testing.T) {
	kerneltest.OnEachTier(t, func(t *testing.T) {
		if active().multipliers[inBFloat16] == nil {
			t.Skip("no bfloat16")
		}
		p := active().multipliers[inBFloat16].packer.(*bfloat16Packer)
		rng := rand.New(rand.NewPCG(27, 28))
		guardedPairs := func(n, offset int) (all, v []uint16) {
			all = slices.Repeat([]uint16{0xdead}, n+2*kerneltest.Guard+16)
			return all, all[kerneltest.Guard+offset:][:n]
		}
		check := func(name string, all, v []uint16, offset int) {
			t.Helper()
			for i, x := range all {
				if (i < kerneltest.Guard+offset || i >= kerneltest.Guard+offset+len(v)) && x != 0xdead {
					t.Fatalf("%s: element %d outside of its %d was overwritten", name, i-kerneltest.Guard-offset, len(v))
				}
			}
		}
		for n := 16; n <= 320; n += 16 {
			src, offset := kerneltest.NewGuarded(rng, n, n/16%5), n/16%7
			kerneltest.Sprinkle(rng, src.V)
			all, rounded := guardedPairs(n, offset)
			p.round(&rounded[0], &src.V[0], n)
			check("round", all, rounded, offset)
			for i, x := range src.V {
				want := half.ToBFloat16(x)
				if want&0x7f80 == 0 {
					want &= 0x8000 // the instruction takes subnormals for zero
				}
				if rounded[i] != want && (x == x || rounded[i]&0x7fff <= 0x7f80) {
					t.Fatalf("round(%g) = %#04x, want %#04x", x, rounded[i], want)
				}
			}
			dst := kerneltest.NewGuarded(rng, n, n/16%3)
			_, other := guardedPairs(n, 1)
			for i := range other {
				other[i] = uint16(rng.Uint32())
			}
			p.interleave(&dst.V[0], &rounded[0], &other[0], n)
			dst.Check(t, "interleave")
			for i, pair := range dst.V {
				if want := uint32(rounded[i]) | uint32(other[i])<<16; math.Float32bits(pair) != want {
					t.Fatalf("pair %d of %d is %#08x, want %#08x", i, n, math.Float32bits(pair), want)
				}
			}
		}
	})
}

func TestPackedRowsAreThereAndNothingBeyond(t *testing.T) {
	kerneltest.OnEachTier(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(13, 14))
		m := active().multipliers[inFloat32]
		wide := m.widths[0]
		for n := 0; n <= 5*wide; n++ {
			src, step := kerneltest.NewGuarded(rng, n, n%4), wide*(1+n%3)+n%2
			dst := kerneltest.NewGuarded(rng, max(n-1, 0)/wide*step+wide, n%5)
			before := append([]float32(nil), dst.V...)
			m.packer.(float32Packer).packRow(packedB{dst.V, step, wide}, wide, 0, src.V)
			dst.Check(t, "dst")
			for i, x := range src.V {
				at := i/wide*step + i%wide
				if dst.V[at] != x {
					t.Fatalf("%d elements, panels %d apart: element %d is wrong", n, step, i)
				}
				before[at] = x
			}
			if !slices.Equal(dst.V, before) {
				t.Fatalf("%d elements, panels %d apart: others were overwritten", n, step)
			}
		}
	})
}

func TestEveryTileEqualsTheDefinitionAndStaysInside(t *testing.T) {
	kerneltest.OnEachTier(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(11, 12))
		m := active().multipliers[inFloat32]
		for w, tiles := range m.tiles {
			width := m.widths[w]
			for r, tile := range tiles {
				for _, k := range []int{0, 1, 2, 3, 17, 49, 51, 64, 102} {
					t.Run(fmt.Sprintf("%dx%d/%d", r+1, width, k), func(t *testing.T) {
						checkTile(t, rng, tile, r+1, width, k, true)
						checkTile(t, rng, tile, r+1, width, k, false)
					})
				}
			}
		}
	})
}

func checkTile(t *testing.T, rng *rand.Rand, tile tileFunc, rows, width, k int, add bool) {
	lda, ldb, ldc := rows+rng.IntN(3), width+rng.IntN(3), width+rng.IntN(3)
	span := func(ld, inner, n int) int { return max(n-1, 0)*ld + inner }
	a := kerneltest.NewGuarded(rng, span(lda, rows, k), rng.IntN(4))
	b := kerneltest.NewGuarded(rng, span(ldb, width, k), rng.IntN(4))
	c := kerneltest.NewGuarded(rng, span(ldc, width, rows), rng.IntN(4))
	if k == 17 {
		kerneltest.Sprinkle(rng, a.V)
		kerneltest.Sprinkle(rng, b.V)
	}
	before := append([]float32(nil), c.V...)
	tile(k, &a.V[0], lda, &b.V[0], ldb, &c.V[0], ldc, add)
	c.Check(t, "c")
	for i, got := range c.V {
		row, column := i/ldc, i%ldc
		if column >= width {
			if got != before[i] {
				t.Fatalf("the gap at [%d,%d] was overwritten", row, column)
			}
			continue
		}
		start := before[i]
		if !add {
			start = 0
		}
		sum, bound := kerneltest.SumOf(start, k, func(l int) (float32, float32) { return a.V[l*lda+row], b.V[l*ldb+column] })
		if !kerneltest.Agrees(got, sum, bound) {
			t.Fatalf("[%d,%d] = %g, want %g within %g", row, column, got, sum, bound)
		}
	}
}
