package loop

import (
	"slices"
	"testing"

	"qtool/fixtures"
	"qtool/internal/dataset"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
)

// Before pairs and moments exist, the same memory is predicted as when they do.
func TestMemoryIsPredictedFromShapesAsFromTheRunItself(t *testing.T) {
	pool := product.NewPool(2)
	defer pool.Close()
	for _, checkpointing := range []bool{false, true} {
		c := DefaultConfig()
		c.Batch, c.Checkpointing = 3, checkpointing
		setup := func(shapes bool) Setup {
			d, err := model.Load(fixtures.TinyFamily(1, "llama"), model.Options{})
			if err != nil {
				t.Fatal(err)
			}
			return Setup{Config: c, Decoder: d, Params: pairsOn(t, d, false, shapes), Rows: slices.Repeat([]dataset.Row{{Docs: []dataset.Example{{IDs: make([]int32, 17)}}}}, 12), Pool: pool}
		}
		got, err := PlanMemory(setup(true), 1000, 0)
		if err != nil {
			t.Fatal(err)
		}
		r, err := New(setup(false))
		if err != nil {
			t.Fatal(err)
		}
		want := r.PlanMemory()
		r.Close()
		if got.Activations != want.Activations || got.Parameters != want.Parameters || got.Moments != want.Moments || got.LastGood != want.LastGood || got.Data != want.Data {
			t.Errorf("%+v predicted from shapes, %+v from the run", got, want)
		}
		if got.AtLeast {
			t.Error("nothing limited it")
		}
		little, err := PlanMemory(setup(true), 1000, 100)
		if err != nil {
			t.Fatal(err)
		}
		if !little.AtLeast || little.Total > got.Total {
			t.Errorf("in 100 bytes of address space %+v is predicted of %+v", little, got)
		}
	}
}
