package kernel

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestAdamWIsTheTwinBitForBitAndStaysInside(t *testing.T) {
	step := AdamWStep{
		GradScale: 0.7, Beta1: 0.9, Beta2: 0.999, Rest1: 1 - 0.9, Rest2: 1 - 0.999,
		Keep: 1 - 1e-3, Rate: 2e-3, RootScale: 3.1, Epsilon: 1e-8,
	}
	onEachTier(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(41, 42))
		for n := range 70 {
			var got [4]guarded
			var want [4][]float32
			for i := range got {
				got[i] = newGuarded(rng, n, (n+i)%4)
				if i == 3 { // squares are not negative
					for k, x := range got[i].v {
						got[i].v[k] = x * x
					}
				}
			}
			if n%3 == 1 {
				sprinkle(rng, got[1].v)
				sprinkle(rng, got[2].v)
			}
			for i := range got {
				want[i] = slices.Clone(got[i].v)
			}
			step.Apply(got[0].v, got[1].v, got[2].v, got[3].v)
			adamWGo(&step, start(want[0], n), start(want[1], n), start(want[2], n), start(want[3], n), 0, n)
			for i := range got {
				got[i].check(t, "slice")
				for k, x := range got[i].v {
					if y := want[i][k]; x != y && (x == x || y == y) {
						t.Fatalf("%d elements: slice %d[%d] is %g, of the twin %g", n, i, k, x, y)
					}
				}
			}
		}
	})
}
