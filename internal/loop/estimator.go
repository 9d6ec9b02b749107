package loop

import (
	"context"
	"math"
	"slices"
	"time"

	"qtool/internal/dataset"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
	"qtool/internal/nn"
)

// Estimator is an estimate, and can measure the time that a step takes.
type Estimator struct {
	Estimate
	learner *learner
	batches int     // of a step
	work    nn.Work // of a batch
	rows    []dataset.Row
}

// NewEstimator estimates steps of full batches of rows of seq tokens, on a decoder of
// [model.Options.Shapes] that trains params. program is what the program takes besides.
// Before that takes more than most bytes of address space it is given up, AtLeast is set,
// and what is multiplied is not known; 0 is no limit.
func NewEstimator(c Config, d *model.Decoder, params []*nn.Param, pool *product.Pool, seq int, program, most int64) *Estimator {
	pool.SetPrecision(KernelPrecision(c.Precision))
	l := newLearner(d, params, pool, &c)
	row := dataset.Row{Docs: []dataset.Example{{IDs: make([]int32, seq+1)}}}
	f := &Estimator{learner: l, batches: c.GradAccum, rows: []dataset.Row{row}}
	stream := 4 * float64(c.Batch) * float64(seq) * float64(d.Embedding) // of a batch, between two blocks
	whole := most == 0 || stream <= float64(most)
	if whole {
		f.rows = slices.Repeat(f.rows, c.Batch)
		_, whole = l.tape.RehearseWithin(most, f.batch)
	}
	if whole {
		l.tape.Rehearse(func() { l.loss(f.rows[:1]) }) // what the guard looks at
		l.tape.EvenRouting = true
		f.work = l.tape.Rehearse(f.batch)
	}

	e := &f.Estimate
	e.Architecture, e.Layers, e.Seq, e.StepTokens = d.Architecture, len(d.Layers), seq, seq*c.Batch*c.GradAccum
	for _, p := range params {
		e.Trained += elements(p)
	}
	each := weightCostOf(&c)
	e.Memory = memoryOf(l.tape, d, e.Trained, each, int64(c.Batch)*row.Bytes(), program)
	if !whole {
		e.Memory.AtLeast = true
		e.Memory.Activations = max(e.Memory.Activations, int64(min(stream, math.MaxInt64/4)))
		e.Memory.AddUp()
	}
	e.BaseBytes, e.LargestBlock = d.SourceBytes(), d.LargestBlock()
	e.ResultBytes, e.CheckpointBytes, e.OptimizerBytes = e.Trained*each.weight, e.Trained*each.checkpoint, e.Trained*each.step
	e.DiskBytes = e.BaseBytes + e.ResultBytes + 2*e.CheckpointBytes
	if e.Memory.MappedBase > 0 {
		// What is computed again was just read, so that it is not read once more.
		cost := d.Cost(c.Batch, seq)
		e.ReadBytes = float64(c.GradAccum) * (2*cost.PassBytes + cost.HeadBytes + cost.LookupBytes)
	}
	// A multiplication and an addition each.
	e.FLOPsPerToken = 2 * total(f.work) / float64(seq*c.Batch)
	return f
}

// elements is the number of weights of p, whose data may be only some of them.
func elements(p *nn.Param) int64 {
	n := int64(1)
	for _, d := range p.Shape {
		n *= int64(d)
	}
	return n
}

func (e *Estimator) batch() { e.learner.accumulate(e.rows, 0) }

// Time measures how long the batches of a step take, in seconds, with weights that are
// all zero and never wait for memory, and with an even use of the experts: a whole
// batch, or where that is more than short, at so many FLOPs per second, the head and
// one block, from which the rest is told.
func (e *Estimator) Time(ctx context.Context, peak float64, short time.Duration) (seconds float64, err error) {
	l, whole := e.learner, e.learner.decoder
	defer func() { l.decoder = whole }()
	least := e.FLOPsPerToken * float64(e.StepTokens) / float64(e.batches) / peak
	if least <= short.Seconds() {
		seconds, _, err = e.timed(ctx, whole)
		return seconds * float64(e.batches), err
	}
	head, headWork, err := e.timed(ctx, whole.Excerpt())
	if err != nil {
		return 0, err
	}
	block, blockWork, err := e.timed(ctx, whole.Excerpt(whole.Blocks()/2))
	if err != nil {
		return 0, err
	}
	if block <= head { // too short to be told apart: all as fast as these two
		seconds = (head + block) * total(e.work) / (headWork + blockWork)
	} else {
		seconds = head + (block-head)*(total(e.work)-headWork)/(blockWork-headWork)
	}
	return seconds * float64(e.batches), nil
}

func total(w nn.Work) float64 { return w.Products + w.Attention }

// timed is how long a batch through d takes, and what it multiplies: the least of some
// times, the first of which touches memory, or one that is long enough for itself.
func (e *Estimator) timed(ctx context.Context, d *model.Decoder) (seconds, work float64, err error) {
	e.learner.decoder = d
	work = total(e.learner.tape.Rehearse(e.batch))
	const long, times = 3, 3
	seconds = math.Inf(1)
	for i, last := 0, 0.0; i < times && last < long; i++ {
		start := time.Now()
		err := e.learner.tape.Pool.Within(ctx, func() error {
			e.batch()
			return nil
		})
		if err != nil {
			return 0, 0, err
		}
		last = time.Since(start).Seconds()
		seconds = min(seconds, last)
	}
	return seconds, work, nil
}
