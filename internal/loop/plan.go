package loop

import (
	"context"
	"time"

	"qtool/internal/dataset"
)

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

// Probe computes the gradients of the largest batch to come, throws them away, and
// so measures the speed.
func (r *Run) Probe(ctx context.Context) (Plan, error) {
	rows := r.largestBatches()[0]
	_, tokens := countScored(rows)
	r.loads.capture(r.Decoder)
	defer r.loads.restore(r.Decoder)
	var start time.Time
	err := r.Pool.Within(ctx, func() error {
		r.learner.accumulate(rows, 0) // the first time allocates
		start = time.Now()
		r.learner.accumulate(rows, 0)
		return nil
	})
	if err != nil {
		return r.plan, err
	}
	r.trained.clearGradients(r.Pool)
	p := &r.plan
	p.TokensPerSecond = float64(tokens) / time.Since(start).Seconds()
	p.Seconds = float64(p.TotalTokens) * (1 - float64(r.step)/float64(p.Steps)) / p.TokensPerSecond
	return *p, nil
}

// largestBatches are the batches to come with the most tokens and with the most
// scored ones.
func (r *Run) largestBatches() [2][]dataset.Row {
	type size struct{ scored, tokens int }
	sizes := make([]size, len(r.Rows))
	for i := range r.Rows {
		sizes[i].scored, sizes[i].tokens = countScored(r.Rows[i : i+1])
	}
	var largest [2][]int
	var batch []int
	var most [2]size
	s := newSampler(r.Rows, &r.Config)
	s.Restore(r.sampler.Position())
	const enough = 1 << 22 // rows to look ahead
	for step, drawn := r.step, 0; step < r.totalSteps() && drawn < enough; step++ {
		for left := r.rowsAt(s.Position()); left > 0; {
			var sum size
			batch = batch[:0]
			for range min(left, r.Config.Batch) {
				i, _ := s.Next()
				batch = append(batch, i)
				sum.scored, sum.tokens = sum.scored+sizes[i].scored, sum.tokens+sizes[i].tokens
			}
			left, drawn = left-len(batch), drawn+len(batch)
			if sum.tokens > most[0].tokens {
				most[0], largest[0] = sum, append(largest[0][:0], batch...)
			}
			if sum.scored > most[1].scored {
				most[1], largest[1] = sum, append(largest[1][:0], batch...)
			}
		}
	}
	var rows [2][]dataset.Row
	if len(largest[0]) == 0 { // the run is over
		rows[0] = r.Rows[:min(r.Config.Batch, len(r.Rows))]
	}
	for k := range rows {
		for _, i := range largest[k] {
			rows[k] = append(rows[k], r.Rows[i])
		}
	}
	return rows
}
