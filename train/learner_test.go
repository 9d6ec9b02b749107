package train

import (
	"fmt"
	"testing"

	"qtool/fixtures"
	"qtool/internal/dataset"
	"qtool/internal/kernel"
	"qtool/internal/model"
	"qtool/lora"
)

func TestAStepAllocatesNothingOnceItHasRun(t *testing.T) {
	for _, experts := range []int{0, 4} {
		for _, checkpointing := range []bool{false, true} {
			t.Run(fmt.Sprint(experts, " experts, checkpointing ", checkpointing), func(t *testing.T) {
				d, err := model.Load(fixtures.TinyLlama(1, fixtures.Shape{Experts: experts, Untied: true}), model.Options{})
				if err != nil {
					t.Fatal(err)
				}
				a, err := lora.New(d, lora.Config{Rank: 4, Alpha: 8, Targets: []string{"*"}})
				if err != nil {
					t.Fatal(err)
				}
				if err := a.Attach(d); err != nil {
					t.Fatal(err)
				}
				pool := kernel.NewPool(2)
				defer pool.Close()
				l := newLearner(d, a.Params(), pool, checkpointing)
				opt := NewAdamW(l.gradients.params, 0.9, 0.999, 1e-8, 0)
				var ids []int32
				for i := range 62 {
					ids = append(ids, int32(i))
				}
				row := dataset.Row{Docs: []dataset.Example{{IDs: ids[:21]}, {IDs: ids[21:]}}}
				rows := []dataset.Row{row, row}
				step := func() {
					l.clearGradients()
					l.accumulate(rows, 1e-3)
					opt.Step(l.tape.Pool, 1e-3, min(1, 1/l.gradients.norm(l.tape.Pool)))
				}
				// Scratch grows until each worker has met the largest part.
				allocations := 1.0
				for try := 0; try < 20 && allocations > 0; try++ {
					allocations = testing.AllocsPerRun(10, step)
				}
				if allocations > 0 {
					t.Errorf("%g allocations in a step", allocations)
				}
			})
		}
	}
}
