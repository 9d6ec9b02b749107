package loop

import (
	"math"
	"slices"
	"testing"

	"qtool/internal/kernel/product"
	"qtool/internal/kernel/vector"
	"qtool/internal/nn"
)

// slabParams have sizes around those of a span and of a line of the cache.
func slabParams() (params []*nn.Param) {
	for i, n := range []int{1, 15, 16, 17, spanElements - 1, spanElements, 2*spanElements + 3} {
		p := nn.NewParam(string(rune('a'+i)), n)
		for k := range p.Data {
			p.Data[k] = float32(math.Sin(float64(k + i)))
		}
		params = append(params, p)
	}
	return params
}

// The norm of the gradient decides about clipping: its partial sums are those of at most
// spanElements of one parameter, wherever that lies.
func TestTheNormAddsUpSpansOfEachParameterInOrder(t *testing.T) {
	pool := product.NewPool(3)
	defer pool.Close()
	w := newTrained(slabParams(), &Config{})
	var want float64
	for i, p := range w.Params {
		for k := range p.Grad {
			p.Grad[k] = float32(math.Cos(float64(k * (i + 1))))
		}
		for part := range slices.Chunk(p.Grad, spanElements) {
			want += vector.Dot64(part, part)
		}
	}
	if got := w.gradientNorm(pool); got != math.Sqrt(want) {
		t.Errorf("%v, want %v", got, math.Sqrt(want))
	}
	w.clearGradients(pool)
	for _, p := range w.Params {
		if slices.ContainsFunc(p.Grad, func(g float32) bool { return g != 0 }) {
			t.Errorf("the gradient of %s was not cleared", p.Name)
		}
	}
}

// Every optimizer must change all weights, with the same bits on any number of threads,
// and go on from a copy of weights and states as if there had been no step since.
func TestEveryOptimizerGoesOnFromASnapshotWithTheSameBits(t *testing.T) {
	for name := range optimizers {
		c := DefaultConfig()
		c.Optimizer, c.WeightDecay = name, 0.01
		var want [][]float32
		for _, workers := range []int{1, 3} {
			pool := product.NewPool(workers)
			defer pool.Close()
			w := newTrained(slabParams(), &c)
			step := func() {
				for i := range w.Params {
					from, to := w.Range(i)
					for k := from; k < to; k++ {
						w.Grad[k] = float32(math.Cos(float64((k - from) * w.updates)))
					}
				}
				w.step(pool, 1e-2, 0.5)
			}
			before := slices.Clone(w.Data)
			step()
			for i, p := range w.Params {
				for k, v := range w.Of(i, before) {
					if p.Data[k] == v {
						t.Fatalf("%q: weight %d of %s did not change", name, k, p.Name)
					}
				}
			}
			var kept snapshot
			kept.capture(w, 1)
			step()
			if want == nil {
				for _, v := range w.values() {
					want = append(want, slices.Clone(v))
				}
			}
			kept.restore(w)
			step()
			for i, v := range w.values() {
				if !sameBits(v, want[i]) {
					t.Errorf("%q with %d workers: other bits in %q", name, workers, w.valueNames()[i])
				}
			}
			if n := int64(4 * len(w.states)); n != w.cost.states {
				t.Errorf("%q keeps %d bytes of a weight, its cost says %d", name, n, w.cost.states)
			}
		}
	}
}

func TestAnUnknownOptimizerIsRefused(t *testing.T) {
	c := DefaultConfig()
	c.Optimizer = "sgd-of-the-future"
	if err := Check(&c); err == nil {
		t.Error("no error")
	}
}
