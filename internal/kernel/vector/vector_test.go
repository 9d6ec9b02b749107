package vector

import (
	"math/rand/v2"
	"testing"

	"qtool/internal/kernel/kerneltest"
)

func TestDotEqualsTheDefinitionAtEveryLengthAndAlignment(t *testing.T) {
	kerneltest.OnEachTier(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 6))
		for n := range 300 {
			a, b := kerneltest.NewGuarded(rng, n, n%5), kerneltest.NewGuarded(rng, n, n%3)
			if n%4 == 3 {
				kerneltest.Sprinkle(rng, a.V)
			}
			sum, bound := kerneltest.SumOf(0, n, func(i int) (float32, float32) { return a.V[i], b.V[i] })
			if got := Dot(a.V, b.V); !kerneltest.Agrees(got, sum, bound) {
				t.Fatalf("length %d: %g, want %g within %g", n, got, sum, bound)
			}
		}
	})
}

func TestAxpyEqualsTheDefinitionAtEveryLengthAndAlignment(t *testing.T) {
	kerneltest.OnEachTier(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(7, 8))
		for n := range 300 {
			y, x := kerneltest.NewGuarded(rng, n, n%7), kerneltest.NewGuarded(rng, n, n%3)
			if n%4 == 3 {
				kerneltest.Sprinkle(rng, x.V)
				kerneltest.Sprinkle(rng, y.V)
			}
			before := append([]float32(nil), y.V...)
			a := float32(rng.NormFloat64())
			Axpy(y.V, a, x.V)
			y.Check(t, "y")
			for i, got := range y.V {
				sum, bound := kerneltest.SumOf(before[i], 1, func(int) (float32, float32) { return a, x.V[i] })
				if !kerneltest.Agrees(got, sum, bound) {
					t.Fatalf("length %d: y[%d] = %g, want %g", n, i, got, sum)
				}
			}
		}
	})
}

func TestTransposeMovesEveryElementAndNoMoreThanAVectorBeyond(t *testing.T) {
	kerneltest.OnEachTier(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(9, 10))
		lanes := active().Lanes
		for n := 0; n <= 64; n += 4 {
			for stride := 1; stride <= lanes+3; stride++ {
				var rows Rows
				var sources [16]kerneltest.Guarded
				for r := range lanes {
					sources[r] = kerneltest.NewGuarded(rng, max(n, 1), r%4)
					rows[r] = &sources[r].V[0]
				}
				size := 1
				if n > 0 {
					size = (n-1)*stride + lanes
				}
				dst := kerneltest.NewGuarded(rng, size, n/4%4)
				active().Transpose(&dst.V[0], stride, &rows, n)
				dst.Check(t, "dst")
				for k := range n {
					for r := range min(stride, lanes) {
						if dst.V[k*stride+r] != sources[r].V[k] {
							t.Fatalf("n %d stride %d: element [%d,%d] is wrong", n, stride, r, k)
						}
					}
				}
			}
		}
	})
}
