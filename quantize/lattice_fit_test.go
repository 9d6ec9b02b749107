package quantize

import (
	"math"
	"math/rand/v2"
	"testing"

	"qtool/internal/kernel/coding"
	"qtool/internal/kernel/simd"
)

// Values and weights go to the ends of float32, where inverses are infinite, coordinates
// wrap round and sums are not numbers.
func TestScalesTriedTogetherChooseWhatTheyChooseOneByOne(t *testing.T) {
	kinds := []func(r *rand.Rand) float32{
		func(r *rand.Rand) float32 { return float32(r.NormFloat64()) },
		func(r *rand.Rand) float32 { return float32(r.IntN(33)-16) / 2 },
		func(r *rand.Rand) float32 { return float32(r.IntN(2)) },
		func(r *rand.Rand) float32 { return float32(math.Ldexp(r.NormFloat64(), r.IntN(40)-149)) },
		func(r *rand.Rand) float32 { return float32(math.Ldexp(r.NormFloat64(), r.IntN(250)-125)) },
		func(r *rand.Rand) float32 { return math.MaxFloat32 * float32(r.IntN(3)-1) },
		func(*rand.Rand) float32 { return 0 },
	}
	for _, tier := range simd.Names() {
		undo, err := simd.Use(tier)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(tier, func(t *testing.T) {
			if !coding.CanSearch() {
				t.Skip("nothing is tried together")
			}
			r := rand.New(rand.NewPCG(3, 4))
			for round := range 4000 {
				f := []*latticeFormat{&formatIQ3_XXS, &formatIQ3_S}[round%2]
				g, alone := f.newGroup(), f.newGroup()
				var x [32]float32
				value, weight := kinds[r.IntN(len(kinds))], kinds[r.IntN(len(kinds))]
				for i := range x {
					x[i], g.W[i] = value(r), abs32(weight(r))
				}
				g.set(x[:], f.even)
				alone.PointTrials, alone.index = g.PointTrials, g.index
				top := abs32(x[r.IntN(32)])
				scale, off := g.tryTogether(top, 1, 0)
				back, err := simd.Use("go")
				if err != nil {
					t.Fatal(err)
				}
				wantScale, wantOff := alone.tryEach(top, 1, 0)
				back()
				if math.Float32bits(scale) != math.Float32bits(wantScale) || off != wantOff || g.index != alone.index {
					t.Fatalf("round %d: scale %g, off %x, points %v; one by one %g, %x, %v of\n%v\nweights %v", round,
						scale, off, g.index, wantScale, wantOff, alone.index, x, g.W)
				}
				g.giveBack()
				alone.giveBack()
			}
		})
		undo()
	}
}
