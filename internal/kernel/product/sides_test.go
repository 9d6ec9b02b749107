package product

import (
	"math/rand/v2"
	"testing"

	"qtool/internal/kernel/kerneltest"
)

func TestProductsOfSidesAreTheLoop(t *testing.T) {
	kerneltest.OnEachTier(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(31, 32))
		var a Left
		var b Right
		for _, s := range [][3]int{{1, 1, 1}, {2, 5, 3}, {7, 64, 128}, {15, 33, 31}, {29, 17, 49}, {113, 3, 16}, {5, 130, 70}, {28, 8, 96}} {
			m, k, n := s[0], s[1], s[2]
			for form := range 12 {
				add := form >= 6
				form := form % 6
				viewed, transposed := form&1 != 0, form/2 == 1
				lda, ldb := k+3, n+1
				if viewed {
					lda = m + 3
				}
				if transposed {
					ldb = k + 1
				}
				x, y := kerneltest.NewGuarded(rng, (max(m, k)-1)*lda+max(m, k), 1), kerneltest.NewGuarded(rng, (max(n, k)-1)*ldb+max(n, k), 2)
				left, right := func(i, l int) float32 { return x.V[i*lda+l] }, func(l, j int) float32 { return y.V[l*ldb+j] }
				a.Pack(x.V, lda, m, k)
				b.Pack(y.V, ldb, k, n)
				if form/2 == 2 {
					b.View(y.V, ldb, k, n)
				}
				if viewed {
					a.View(x.V, lda, m, k)
					left = func(i, l int) float32 { return x.V[l*lda+i] }
				}
				if transposed {
					b.PackTransposed(y.V, ldb, k, n)
					right = func(l, j int) float32 { return y.V[j*ldb+l] }
				}
				from, to, columns := k/3, k-k/5, n-n/4
				stride := n + 2
				c := kerneltest.NewGuarded(rng, (m-1)*stride+columns, 3)
				before := append([]float32(nil), c.V...)
				for p := range a.Panels() {
					Multiply(c.V, stride, add, &a, p, &b, from, to, columns)
				}
				c.Check(t, "c")
				for i, got := range c.V {
					r, j := i/stride, i%stride
					if j >= columns {
						if got != before[i] {
							t.Fatalf("%v form %d: [%d,%d] was written", s, form, r, j)
						}
						continue
					}
					start := before[i]
					if !add {
						start = 0
					}
					sum, bound := kerneltest.SumOf(start, to-from, func(l int) (float32, float32) { return left(r, from+l), right(from+l, j) })
					if !kerneltest.Agrees(got, sum, bound) {
						t.Fatalf("%v form %d: [%d,%d] = %g, want %g", s, form, r, j, got, sum)
					}
				}
			}
		}
	})
}

func TestProductsOfRoundedSidesAreThoseOfRoundedFactors(t *testing.T) {
	kerneltest.OnEachTier(t, func(t *testing.T) {
		if active().multipliers[inBFloat16] == nil {
			t.Skip("this tier has no bfloat16")
		}
		rng := rand.New(rand.NewPCG(35, 36))
		a, b := Left{Rounded: true}, Right{Rounded: true}
		for _, s := range [][3]int{{1, 1, 1}, {2, 5, 3}, {7, 64, 128}, {15, 33, 31}, {29, 17, 49}, {113, 3, 16}, {5, 130, 70}, {28, 8, 96}} {
			m, k, n := s[0], s[1], s[2]
			for form := range 4 {
				x, y := kerneltest.Random(rng, m*k), kerneltest.Random(rng, k*n)
				left, right := func(i, l int) float32 { return x[i*k+l] }, func(l, j int) float32 { return y[l*n+j] }
				if form&1 == 0 {
					a.Pack(x, k, m, k)
				} else {
					a.View(x, m, m, k)
					left = func(i, l int) float32 { return x[l*m+i] }
				}
				if form&2 == 0 {
					b.View(y, n, k, n)
				} else {
					b.PackTransposed(y, k, k, n)
					right = func(l, j int) float32 { return y[j*k+l] }
				}
				from := k / 3 &^ 1
				c := kerneltest.NewGuarded(rng, m*n, 3)
				before := append([]float32(nil), c.V...)
				for p := range a.Panels() {
					Multiply(c.V, n, true, &a, p, &b, from, k, n)
				}
				c.Check(t, "c")
				for i, got := range c.V {
					sum, bound := kerneltest.SumOf(before[i], k-from, func(l int) (float32, float32) {
						return roundedTo16(left(i/n, from+l)), roundedTo16(right(from+l, i%n))
					})
					if !kerneltest.Agrees(got, sum, bound) {
						t.Fatalf("%v form %d: [%d,%d] = %g, want %g", s, form, i/n, i%n, got, sum)
					}
				}
			}
		}
	})
}

func TestARowOfAProductDependsOnNoOtherRowNorOnTermsThatAreZero(t *testing.T) {
	kerneltest.OnEachTier(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(33, 34))
		const m, k, n = 31, 40, 50
		x, y := kerneltest.Random(rng, m*k), kerneltest.Random(rng, k*n)
		for i := range m {
			clear(x[i*k : i*k+5])
			clear(x[i*k+30 : (i+1)*k])
		}
		var all, one Left
		var b Right
		all.Pack(x, k, m, k)
		b.Pack(y, n, k, n)
		whole := make([]float32, m*n)
		for p := range all.Panels() {
			Multiply(whole, n, true, &all, p, &b, 0, k, n)
		}
		for i := range m {
			row := make([]float32, n)
			one.Pack(x[i*k:], k, 1, k)
			Multiply(row, n, true, &one, 0, &b, 5, 30, n)
			for j, v := range row {
				if v != whole[i*n+j] {
					t.Fatalf("[%d,%d] is %g alone, %g among others", i, j, v, whole[i*n+j])
				}
			}
		}
	})
}
