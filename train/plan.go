package train

import (
	"context"
	"slices"
	"time"

	"qtool/internal/dataset"
)

// Plan says before the run what it will do. Speed and peak memory are 0 until
// [Run.Probe] has measured them.
type Plan struct {
	Architecture    string  `json:"architecture"`
	Parameters      int     `json:"trained_parameters"`
	Tensors         int     `json:"trained_tensors"`
	TrainRows       int     `json:"train_rows"`
	EvalRows        int     `json:"eval_rows"`
	EpochTokens     int     `json:"tokens_per_epoch"`
	EpochScored     int     `json:"scored_tokens_per_epoch"`
	Steps           int     `json:"steps"`
	RowsPerStep     int     `json:"rows_per_step"`
	TotalTokens     int     `json:"tokens"`
	MemoryBytes     int64   `json:"peak_memory_bytes"`
	TokensPerSecond float64 `json:"tokens_per_second"`
	Seconds         float64 `json:"seconds"`
}

// Plan returns the plan.
func (r *Run) Plan() Plan { return r.plan }

func (r *Run) makePlan() Plan {
	p := Plan{
		Architecture: r.Decoder.Architecture, Tensors: len(r.Params),
		TrainRows: len(r.Rows), EvalRows: len(r.HeldOut), Steps: r.totalSteps(), RowsPerStep: r.rowsPerStep(),
	}
	for _, param := range r.Params {
		p.Parameters += len(param.Data)
	}
	p.EpochScored, p.EpochTokens = countScored(r.Rows)
	rows := p.Steps * p.RowsPerStep
	if r.Config.Steps == 0 {
		rows = len(r.Rows) * r.Config.Epochs
	}
	p.TotalTokens = int(float64(p.EpochTokens) / float64(len(r.Rows)) * float64(rows))
	return p
}

// Probe computes the gradients of the largest batch that can occur, throws them
// away, and so measures speed and peak memory.
func (r *Run) Probe(ctx context.Context) (Plan, error) {
	rows := longest(r.Rows, r.Config.Batch)
	_, tokens := countScored(rows)
	r.learner.accumulate(rows, 0) // the first time allocates
	if err := ctx.Err(); err != nil {
		return r.plan, err
	}
	start := time.Now()
	r.learner.accumulate(rows, 0)
	r.learner.clearGradients()
	p := &r.plan
	p.TokensPerSecond = float64(tokens) / time.Since(start).Seconds()
	p.MemoryBytes = r.MemoryBytes()
	p.Seconds = float64(p.TotalTokens) * (1 - float64(r.step)/float64(p.Steps)) / p.TokensPerSecond
	return *p, nil
}

// longest returns the n longest rows.
func longest(rows []dataset.Row, n int) []dataset.Row {
	sorted := slices.Clone(rows)
	slices.SortStableFunc(sorted, func(a, b dataset.Row) int { return b.Len() - a.Len() })
	return sorted[:min(n, len(sorted))]
}
