package vector

import (
	"math"
	"testing"

	"qtool/internal/kernel/kerneltest"
)

func TestTanhIsWithinFourUnitsOfTheExactValue(t *testing.T) {
	kerneltest.OnEachTier(t, func(t *testing.T) {
		var in []float32
		for bits := uint64(0); bits < 1<<32; bits += 99991 {
			in = append(in, math.Float32frombits(uint32(bits)))
		}
		for i := range 1000 {
			in = append(in, float32(i)/400, -float32(i)/4000)
		}
		in = append(in, kerneltest.Special...)
		out := make([]float32, len(in))
		Tanh(out, in)
		for i, x := range in {
			if u := unitsApart(out[i], math.Tanh(float64(x))); u > 4 || math.IsNaN(float64(x)) != math.IsNaN(float64(out[i])) {
				t.Fatalf("tanh(%g) = %g, %g units from %g", x, out[i], u, math.Tanh(float64(x)))
			}
		}
	})
}
