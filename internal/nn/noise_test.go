package nn

import (
	"math"
	"slices"
	"testing"

	"qtool/internal/kernel/product"
)

func TestNoiseIsUniformAndDecidedByTheKeyOfItsRow(t *testing.T) {
	noise := &Noise{Keys: []uint64{7, 8, 7}, Magnitudes: []float32{0.5, 0.5, 0.5}}
	const cols = 20001
	run := func(workers int) *Var {
		pool := product.NewPool(workers)
		defer pool.Close()
		x := Constant(make([]float32, 3*cols), 3, cols)
		NewTape(pool).AddNoise(x, noise)
		return x
	}
	x := run(1)
	if !slices.Equal(x.Data, run(3).Data) {
		t.Error("another number of threads gives other noise")
	}
	if !slices.Equal(x.Row(0), x.Row(2)) || slices.Equal(x.Row(0), x.Row(1)) {
		t.Error("equal keys must give equal noise, other keys other noise")
	}
	var sum, squares float64
	for _, v := range x.Row(0) {
		if v < -0.5 || v > 0.5 {
			t.Fatalf("%g is more than the magnitude", v)
		}
		sum, squares = sum+float64(v), squares+float64(v)*float64(v)
	}
	if mean, variance := sum/cols, squares/cols; math.Abs(mean) > 0.01 || math.Abs(variance-0.25/3) > 0.005 {
		t.Errorf("mean %g and variance %g, want 0 and %g", mean, variance, 0.25/3)
	}
}
