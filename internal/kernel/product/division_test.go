package product

import (
	"math/rand/v2"
	"slices"
	"testing"

	"qtool/internal/kernel/kerneltest"
	"qtool/internal/work"
)

func TestEveryElementOfABatchIsOneTasksHoweverItIsDivided(t *testing.T) {
	kerneltest.OnEachTier(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 6))
		for _, groups := range [][]int32{{0, 1}, {0, 40}, {0, 700}, {0, 0, 300, 301, 301, 1200}, {0, 31, 60, 95, 130, 161, 190}} {
			for _, workers := range []int{1, 2, 3, 8, 16} {
				for _, far := range []bool{false, true} {
					p := NewPool(workers)
					p.distance.fix(far)
					b := p.Begin(groups)
					x := b.Rows(kerneltest.Random(rng, int(groups[len(groups)-1])*530), 530)
					var outs [][]float32
					for _, n := range []int{16, 300, 1000} {
						w := make([]Matrix, len(groups)-1)
						for e := range w {
							w[e] = Float32Matrix(make([]float32, n*530), n, 530)
						}
						y := make([]float32, int(groups[len(groups)-1])*n)
						b.Forward(y, false, Term{x, w})
						outs = append(outs, y)
					}
					b.divide()
					mark(b.tasks)
					for _, y := range outs {
						if i := slices.IndexFunc(y, func(v float32) bool { return v != 1 }); i >= 0 {
							t.Fatalf("groups %v, %d workers, far %v: element %d of %d is in %g tasks", groups, workers, far, i, len(y), y[i])
						}
					}
					if b.starts[0] != 0 || b.starts[workers] != len(b.tasks) || !slices.IsSorted(b.starts) {
						t.Errorf("%d tasks begin at %v", len(b.tasks), b.starts)
					}
					b.End()
					p.Close()
				}
			}
		}
	})
}

// mark adds 1 to the elements of each task.
func mark(tasks []task) {
	for _, t := range tasks {
		from, _ := work.Share(t.first, t.q.m, t.q.panels)
		_, to := work.Share(t.last-1, t.q.m, t.q.panels)
		for r := from; r < to; r++ {
			for j := t.j0; j < t.j1; j++ {
				t.q.c[r*t.q.n+j]++
			}
		}
	}
}

func TestWorkersHaveEqualSharesOfALargeProduct(t *testing.T) {
	for _, far := range []bool{false, true} {
		p := NewPool(4)
		defer p.Close()
		p.distance.fix(far)
		b := p.BeginOne(1024)
		w := Float32Matrix(make([]float32, 512*512), 512, 512)
		b.Forward(make([]float32, 1024*512), false, Term{b.Rows(make([]float32, 1024*512), 512), []Matrix{w}})
		b.divide()
		for worker := range 4 {
			elements := 0
			for _, t := range b.tasks[b.starts[worker]:b.starts[worker+1]] {
				from, _ := work.Share(t.first, t.q.m, t.q.panels)
				_, to := work.Share(t.last-1, t.q.m, t.q.panels)
				elements += (to - from) * (t.j1 - t.j0)
			}
			if elements != 1024*512/4 {
				t.Errorf("far %v: worker %d has %d elements of %d", far, worker, elements, 1024*512)
			}
		}
		b.End()
	}
}

func TestDistanceIsMeasuredByTwoAndGivenUpByOne(t *testing.T) {
	var d distance
	d.init(2)
	d.ping() // nobody answers
	if d.far {
		t.Error("far from nobody")
	}
	d.pong() // nobody sends
	p := NewPool(3)
	defer p.Close()
	for range 20 {
		p.distance.last = p.distance.last.Add(-2 * distanceEvery)
		p.measureDistance()
	}
	if p.distance.last.IsZero() {
		t.Error("not measured")
	}
}

func TestFarWorkersShareColumnsOfWhatIsMultipliedFast(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	p.distance.fix(true)
	const rows = 2 * leastRows
	for rate, bands := range map[float64]int{leastRows / 2: 2, leastRows: 2, 2 * leastRows: 1} {
		p.distance.rates = [ways]float64{rate, rate}
		b := p.BeginOne(rows)
		w := Float32Matrix(make([]float32, 512*512), 512, 512)
		b.Forward(make([]float32, rows*512), false, Term{b.Rows(make([]float32, rows*512), 512), []Matrix{w}})
		b.divide()
		if got := b.products[0].bands; got != bands {
			t.Errorf("at %g multiplications in a nanosecond rows are divided into %d bands, want %d", rate, got, bands)
		}
		b.End()
	}
}
