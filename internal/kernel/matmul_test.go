package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func random(rng *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return v
}

// encoded stores each element negated, so that a missed decode shows.
func encoded(v []float32, rows, cols int) Matrix {
	data := make([]byte, 4*len(v))
	view, _ := Float32View(data)
	for i, x := range v {
		view[i] = -x
	}
	return EncodedMatrix(data, rows, cols, 4*cols, func(dst []float32, src []byte) {
		s, _ := Float32View(src)
		for i := range dst {
			dst[i] = -s[i]
		}
	})
}

func TestProductsEqualTheDefinitionForOddShapesAndAnyWorkers(t *testing.T) {
	for _, workers := range []int{1, 3} {
		p := NewPool(workers)
		defer p.Close()
		for _, s := range [][3]int{{1, 1, 1}, {3, 5, 7}, {2, 16, 32}, {9, 33, 20}, {17, 4, 65}, {0, 3, 4}} {
			tokens, rows, cols := s[0], s[1], s[2]
			t.Run(fmt.Sprint(workers, s), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(1, 2))
				x, dy, w := random(rng, tokens*cols), random(rng, tokens*rows), random(rng, rows*cols)
				y, dx, dw := make([]float32, tokens*rows), make([]float32, tokens*cols), make([]float32, rows*cols)
				m := encoded(w, rows, cols)
				Forward(p, y, x, tokens, m)
				Backward(p, dx, dy, tokens, m)
				AddOuter(p, dw, dy, x, tokens, rows, cols)
				near(t, "y", y, func(i int) (s float64) {
					for k := range cols {
						s += float64(x[i/rows*cols+k]) * float64(w[i%rows*cols+k])
					}
					return s
				})
				near(t, "dx", dx, func(i int) (s float64) {
					for k := range rows {
						s += float64(dy[i/cols*rows+k]) * float64(w[k*cols+i%cols])
					}
					return s
				})
				near(t, "dw", dw, func(i int) (s float64) {
					for k := range tokens {
						s += float64(dy[k*rows+i/cols]) * float64(x[k*cols+i%cols])
					}
					return s
				})
			})
		}
	}
}

func near(t *testing.T, name string, got []float32, want func(i int) float64) {
	t.Helper()
	for i, g := range got {
		if w := want(i); math.Abs(float64(g)-w) > 1e-5*(1+math.Abs(w)) {
			t.Fatalf("%s[%d] = %g, want %g", name, i, g, w)
		}
	}
}

func TestResultsDoNotDependOnWorkersOrTokens(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	const tokens, rows, cols = 37, 50, 96
	x, dy := random(rng, tokens*cols), random(rng, tokens*rows)
	m := Float32Matrix(random(rng, rows*cols), rows, cols)
	run := func(workers, tokens int) (y, dx []float32) {
		p := NewPool(workers)
		defer p.Close()
		y, dx = make([]float32, tokens*rows), make([]float32, tokens*cols)
		Forward(p, y, x, tokens, m)
		Backward(p, dx, dy, tokens, m)
		return y, dx
	}
	y1, dx1 := run(1, tokens)
	for _, c := range [][2]int{{2, tokens}, {5, tokens}, {2, 1}, {3, 20}} {
		y, dx := run(c[0], c[1])
		for i := range y {
			if y[i] != y1[i] {
				t.Fatalf("%v: y[%d] differs", c, i)
			}
		}
		for i := range dx {
			if dx[i] != dx1[i] {
				t.Fatalf("%v: dx[%d] differs", c, i)
			}
		}
	}
}

func TestPoolRunsEveryTaskOnceAndPassesPanicsOn(t *testing.T) {
	p := NewPool(4)
	defer p.Close()
	for _, n := range []int{0, 1, 2, 100} {
		seen := make([]int32, n)
		p.Run(n, func(_, task int) { seen[task]++ })
		for i, s := range seen {
			if s != 1 {
				t.Fatalf("task %d of %d ran %d times", i, n, s)
			}
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("the panic of a task was lost")
		}
	}()
	p.Run(10, func(_, task int) {
		if task == 7 {
			panic("seven")
		}
	})
}

func BenchmarkForward(b *testing.B) {
	p := NewPool(0)
	defer p.Close()
	const tokens, rows, cols = 256, 512, 512
	rng := rand.New(rand.NewPCG(1, 2))
	x, y := random(rng, tokens*cols), make([]float32, tokens*rows)
	w := Float32Matrix(random(rng, rows*cols), rows, cols)
	for b.Loop() {
		Forward(p, y, x, tokens, w)
	}
	b.ReportMetric(2*tokens*rows*cols*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}

func BenchmarkBackward(b *testing.B) {
	p := NewPool(0)
	defer p.Close()
	const tokens, rows, cols = 256, 512, 512
	rng := rand.New(rand.NewPCG(1, 2))
	dy, dx := random(rng, tokens*rows), make([]float32, tokens*cols)
	w := Float32Matrix(random(rng, rows*cols), rows, cols)
	for b.Loop() {
		Backward(p, dx, dy, tokens, w)
	}
	b.ReportMetric(2*tokens*rows*cols*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}
