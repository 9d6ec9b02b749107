package vector

import (
	"math/rand/v2"
	"slices"
	"testing"

	"qtool/internal/kernel/kerneltest"
)

func TestAdamWIsTheTwinBitForBitAndStaysInside(t *testing.T) {
	step := AdamWStep{
		GradScale: 0.7, Beta1: 0.9, Beta2: 0.999, Rest1: 1 - 0.9, Rest2: 1 - 0.999,
		Keep: 1 - 1e-3, Rate: 2e-3, RootScale: 3.1, Epsilon: 1e-8,
	}
	kerneltest.OnEachTier(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(41, 42))
		for n := range 70 {
			var got [4]kerneltest.Guarded
			var want [4][]float32
			for i := range got {
				got[i] = kerneltest.NewGuarded(rng, n, (n+i)%4)
				if i == 3 { // squares are not negative
					for k, x := range got[i].V {
						got[i].V[k] = x * x
					}
				}
			}
			if n%3 == 1 {
				kerneltest.Sprinkle(rng, got[1].V)
				kerneltest.Sprinkle(rng, got[2].V)
			}
			for i := range got {
				want[i] = slices.Clone(got[i].V)
			}
			step.Apply(got[0].V, got[1].V, got[2].V, got[3].V)
			adamWGo(&step, start(want[0], n), start(want[1], n), start(want[2], n), start(want[3], n), 0, n)
			for i := range got {
				got[i].Check(t, "slice")
				for k, x := range got[i].V {
					if y := want[i][k]; x != y && (x == x || y == y) {
						t.Fatalf("%d elements: slice %d[%d] is %g, of the twin %g", n, i, k, x, y)
					}
				}
			}
		}
	})
}
