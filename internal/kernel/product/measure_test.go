package product

import (
	"testing"
	"time"

	"qtool/internal/kernel/kerneltest"
)

func TestMeasurementsArePositiveOnEveryTier(t *testing.T) {
	kerneltest.OnEachTier(t, func(t *testing.T) {
		p := NewPool(2)
		defer p.Close()
		w := encoded(make([]float32, 64*96), 64, 96)
		for _, precision := range []Precision{Float32, Auto} {
			p.SetPrecision(precision)
			if g := MeasurePeak(p, time.Millisecond); !(g > 0) {
				t.Errorf("peak of %s: %g", p.Precision(), g)
			}
			for _, d := range []Direction{DirectionForward, DirectionBackward} {
				if g := MeasureProduct(p, d, 16, w, time.Millisecond); !(g > 0) {
					t.Errorf("%s in %s: %g", d, p.Precision(), g)
				}
			}
		}
	})
}
