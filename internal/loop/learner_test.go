package loop

import (
	"context"
	"fmt"
	"testing"

	"qtool/fixtures"
)

func TestAStepAllocatesNothingOnceItHasRun(t *testing.T) {
	for _, c := range []struct {
		family        string // "": llama
		experts       int
		checkpointing bool
		full          bool
		fileType      string // of the base
		batch, accum  int
		objective     bool // with noise and smoothing
	}{
		{batch: 2, accum: 1},
		{batch: 1, accum: 3, checkpointing: true},
		{batch: 3, accum: 2, experts: 4},
		{batch: 1, accum: 4, experts: 4, checkpointing: true},
		{batch: 2, accum: 2, fileType: "Q8_0"},
		{batch: 2, accum: 2, fileType: "BF16", experts: 4, checkpointing: true},
		{batch: 2, accum: 1, full: true},
		{batch: 2, accum: 2, objective: true},
		{batch: 1, accum: 2, objective: true, checkpointing: true, full: true},
		{family: "gemma3", batch: 2, accum: 2},
		{family: "gpt-oss", batch: 2, accum: 2},
		{family: "gpt-oss", batch: 1, accum: 2, checkpointing: true, fileType: "Q8_0"},
		{family: "deepseek2", batch: 2, accum: 2},
		{family: "deepseek2", batch: 1, accum: 2, checkpointing: true, fileType: "Q8_0"},
		{family: "longcat-flash", batch: 2, accum: 2, checkpointing: true},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			config := smallConfig()
			config.Batch, config.GradAccum, config.Checkpointing, config.Steps = c.batch, c.accum, c.checkpointing, 1<<20
			base := fixtures.TinyLlama(1, fixtures.Shape{Experts: c.experts, Untied: true})
			if c.family != "" {
				base = fixtures.TinyFamily(1, c.family)
				config.RouterBalance, config.RouterZ = 0.1, 0.1
			}
			if c.fileType != "" {
				base = encoded(t, base, c.fileType)
			}
			if c.objective {
				config.LabelSmoothing, config.NEFTune = 0.1, 5
			}
			r := unevenRun(t, base, config, c.full)
			if c.fileType != "" && r.Pool.Precision() != "bf16" {
				t.Log("this CPU does not multiply in bf16")
			}
			r.PlanMemory() // batches differ from step to step
			ctx := context.Background()
			step := func() {
				if err := r.oneStep(ctx, 1<<20); err != nil {
					t.Fatal(err)
				}
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
