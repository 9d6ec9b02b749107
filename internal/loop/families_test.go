package loop

import (
	"math"
	"testing"

	"qtool/fixtures"
	"qtool/internal/adapt"
	"qtool/internal/dataset"
	"qtool/internal/kernel/product"
	"qtool/internal/kernel/vector"
	"qtool/internal/model"
)

// The gradient of all pairs of a whole model, where llama.cpp honours them or not,
// against the change of the loss along it.
func TestTheLossOfEveryFamilyFallsAlongItsGradientAsPredicted(t *testing.T) {
	for _, name := range fixtures.Families() {
		t.Run(name, func(t *testing.T) {
			d, err := model.Load(fixtures.TinyFamily(2, name), model.Options{})
			if err != nil {
				t.Fatal(err)
			}
			a, err := adapt.New(d, adapt.Config{Rank: 3, Alpha: 3, Targets: []string{"*"}, MergeOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			for k, p := range a.Params() {
				for i := range p.Data {
					p.Data[i] = 0.1 * float32(math.Sin(float64(7*i+k)))
				}
			}
			if err := a.Attach(d); err != nil {
				t.Fatal(err)
			}
			pool := product.NewPool(2)
			defer pool.Close()
			weights := newTrained(a.Params(), &Config{})
			l := newLearner(d, a.Params(), pool, &Config{})
			rows := []dataset.Row{{Docs: []dataset.Example{{IDs: []int32{5, 9, 33, 2, 60, 7, 7, 1}}, {IDs: []int32{12, 48, 3, 3, 9}}}}}
			l.accumulate(rows, 1)
			norm := weights.gradientNorm(pool)
			along := func(step float64) float64 {
				for _, p := range a.Params() {
					vector.Axpy(p.Data, float32(step/norm), p.Grad)
				}
				sum, _ := l.accumulate(rows, 0)
				return sum
			}
			const h = 5e-3 // so small that, with these weights, no token changes its experts
			slope := (along(h) - along(-2*h)) / (2 * h)
			if math.Abs(slope-norm) > 5e-3*norm {
				t.Errorf("the loss changes by %g a step, its gradient is %g", slope, norm)
			}
		})
	}
}
