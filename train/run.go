package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"time"

	"qtool/internal/dataset"
	"qtool/internal/kernel"
	"qtool/internal/model"
	"qtool/internal/nn"
)

// ErrDiverged is in the chain of the error of a run that found no way on: its
// loss or gradients kept failing after the last good state was put back.
var ErrDiverged = errors.New("training diverged")

// Setup is what a run is made of.
type Setup struct {
	Config  Config
	Decoder *model.Decoder
	// Params are trained: an adapter's halves, or the decoder's own weights.
	Params        []*nn.Param
	Rows, HeldOut []dataset.Row // to train on and to evaluate; HeldOut may be empty
	Pool          *kernel.Pool
	// Identity names base, adapter shape and data preparation; a checkpoint
	// continues only a run of the same identity. Keys say what a value names.
	Identity map[string]string
	// CheckpointPath is where checkpoints go; "" is nowhere.
	CheckpointPath string
	// Report is called with every event, from the goroutine that trains; an
	// error from it ends the run.
	Report func(Event) error
}

// Run is one training run.
type Run struct {
	Setup
	learner *learner
	adamw   *AdamW
	sampler *dataset.Sampler
	guard   *guard
	step    int           // optimizer steps done, dropped ones included
	rows    []dataset.Row // of the step at hand
	good    weights
	loads   loadCounts // of the experts, before the step at hand
	plan    Plan
}

// New prepares a run from its beginning. It checks the configuration and every
// token id.
func New(s Setup) (*Run, error) {
	if err := s.Config.Check(); err != nil {
		return nil, err
	}
	if len(s.Rows) == 0 {
		return nil, fmt.Errorf("%w: no rows to train on", dataset.ErrEmpty)
	}
	for _, rows := range [2][]dataset.Row{s.Rows, s.HeldOut} {
		if err := checkTokens(s.Decoder, rows); err != nil {
			return nil, fmt.Errorf("%w: %w", dataset.ErrFormat, err)
		}
	}
	s.HeldOut = firstTokens(s.HeldOut, s.Config.EvalTokens)
	c := &s.Config
	c.Batch = min(c.Batch, len(s.Rows)) // more would compute rows twice
	s.Pool.SetPrecision(c.KernelPrecision())
	r := &Run{
		Setup:   s,
		learner: newLearner(s.Decoder, s.Params, s.Pool, c.Checkpointing),
		adamw:   NewAdamW(s.Params, c.Beta1, c.Beta2, c.Epsilon, c.WeightDecay),
		sampler: dataset.NewSampler(len(s.Rows), c.Seed),
		guard:   newGuard(s.Decoder.Vocabulary),
	}
	r.learner.router.balance, r.learner.router.z = c.RouterBalance, c.RouterZ
	for _, router := range s.Decoder.Routers() {
		router.Load.Clear()
	}
	r.good.capture(r)
	r.plan = r.makePlan()
	return r, nil
}

// checkTokens reports the first id that the vocabulary does not have.
func checkTokens(d *model.Decoder, rows []dataset.Row) error {
	for _, r := range rows {
		for _, doc := range r.Docs {
			if err := d.CheckTokens(doc.IDs); err != nil {
				return err
			}
			for _, t := range doc.Labels {
				if t != dataset.Unscored && (t < 0 || int(t) >= d.Vocabulary) {
					return fmt.Errorf("label %d is outside the vocabulary of %d tokens", t, d.Vocabulary)
				}
			}
		}
	}
	return nil
}

// Step is the number of steps done so far; above 0 after a resume.
func (r *Run) Step() int { return r.step }

// rowsPerStep is how many rows a full step takes.
func (r *Run) rowsPerStep() int { return r.Config.Batch * r.Config.GradAccum }

// totalSteps is the length of the run: Steps, or Epochs over the data.
func (r *Run) totalSteps() int {
	if r.Config.Steps > 0 {
		return r.Config.Steps
	}
	return (len(r.Rows)*r.Config.Epochs + r.rowsPerStep() - 1) / r.rowsPerStep()
}

// nextRows draws the rows of one step. The last step of a run that counts
// epochs takes what is left of them. They are good until the next call.
func (r *Run) nextRows() []dataset.Row {
	r.rows = r.rows[:0]
	for range r.rowsAt(r.sampler.Position()) {
		index, _ := r.sampler.Next()
		r.rows = append(r.rows, r.Rows[index])
	}
	return r.rows
}

// rowsAt is how many rows a step takes that begins at a place in the data.
func (r *Run) rowsAt(p dataset.Position) int {
	if r.Config.Steps > 0 {
		return r.rowsPerStep()
	}
	return min(r.rowsPerStep(), len(r.Rows)*r.Config.Epochs-p.Epoch*len(r.Rows)-p.Index)
}

// goodEvery is how many steps apart the weights are remembered as the last good
// state. It decides what a rollback gives, so it is no setting.
const goodEvery = 25

// Train runs to the end. When ctx is cancelled it writes a checkpoint, if there
// is a place for one, and returns the context's error.
func (r *Run) Train(ctx context.Context) error {
	// The memory that a run takes is all there from the first step on. What else
	// is allocated meanwhile is little: it must not be collected only when it is
	// as much again.
	debug.FreeOSMemory()
	const garbagePercent = 3
	defer debug.SetGCPercent(debug.SetGCPercent(garbagePercent))
	total := r.totalSteps()
	for r.step < total {
		if err := ctx.Err(); err != nil {
			return errors.Join(err, r.save())
		}
		switch err := r.oneStep(ctx, total); {
		case ctx.Err() != nil && errors.Is(err, ctx.Err()):
			continue
		case err != nil:
			return err
		}
		if r.step%goodEvery == 0 && r.guard.bad == 0 {
			r.good.capture(r)
		}
		if every := r.Config.SaveEvery; every > 0 && r.step%every == 0 {
			if err := r.save(); err != nil {
				return err
			}
		}
		if every := r.Config.EvalEvery; every > 0 && r.step%every == 0 && r.step < total {
			if _, err := r.Evaluate(ctx, nil); err != nil {
				return err
			}
		}
	}
	if r.adamw.updates == 0 && r.step > 0 {
		return fmt.Errorf("%w: every step failed", ErrDiverged)
	}
	if r.guard.bad > 0 { // what came last may be broken
		if err := r.rollBack(); err != nil {
			return err
		}
	}
	return errors.Join(r.reportExperts(), r.save())
}

// oneStep takes a step. If ctx ends meanwhile, the run stands where it stood
// before.
func (r *Run) oneStep(ctx context.Context, total int) error {
	start, before := time.Now(), r.sampler.Position()
	rows := r.nextRows()
	scored, tokens := countScored(rows)
	r.learner.clearGradients()
	r.learner.router.begin(tokens)
	r.loads.capture(r.Decoder)
	var sum float64
	for from := 0; from < len(rows); from += r.Config.Batch {
		if err := ctx.Err(); err != nil {
			r.loads.restore(r.Decoder)
			return errors.Join(err, r.sampler.Restore(before))
		}
		s, _ := r.learner.accumulate(rows[from:min(from+r.Config.Batch, len(rows))], 1/float32(scored))
		sum += s
	}
	r.step++
	loss, norm := sum/float64(scored), r.learner.gradients.norm(r.Pool)
	if why := r.guard.refuse(loss, norm); why != "" {
		return r.drop(why)
	}
	rate := rateAt(&r.Config, r.step, total)
	gradScale := 1.0
	if r.Config.Clip > 0 && norm > r.Config.Clip {
		gradScale = r.Config.Clip / norm
	}
	r.adamw.Step(r.Pool, rate, gradScale)
	r.guard.applied(loss)
	at := r.sampler.Position()
	return r.report(Event{
		Type: StepEvent, Step: r.step, Epoch: float64(at.Epoch) + float64(at.Index)/float64(len(r.Rows)),
		Loss: loss, Rate: rate, GradNorm: norm, Tokens: tokens,
		TokensPerSecond: float64(tokens) / time.Since(start).Seconds(), MemoryBytes: r.MemoryBytes(),
		RouterBalance: r.learner.router.meanBalance, RouterZ: r.learner.router.meanZ,
	})
}

// drop leaves the weights as they are and, when steps keep failing, puts the
// last good state back. The data go on: the same rows would fail again.
func (r *Run) drop(why string) error {
	r.guard.bad++
	if err := r.report(Event{Type: SkipEvent, Step: r.step, Reason: why}); err != nil {
		return err
	}
	if r.guard.bad%badLimit != 0 {
		return nil
	}
	if r.guard.bad >= 3*badLimit {
		return fmt.Errorf("%w: at step %d %s, and %d steps before it failed too; try a lower learning rate (now %g), or check the base for damaged weights",
			ErrDiverged, r.step, why, r.guard.bad-1, r.Config.Rate)
	}
	return r.rollBack()
}

func (r *Run) rollBack() error {
	r.good.restore(r)
	return r.report(Event{Type: RollbackEvent, Step: r.step, Reason: fmt.Sprintf("%d steps failed in a row; back to the weights of step %d", r.guard.bad, r.good.step)})
}

func (r *Run) report(e Event) error {
	if r.Report == nil {
		return nil
	}
	return r.Report(e)
}

// Measure is the mean loss per scored token over the held-out rows, NaN if there
// are none. progress, unless nil, gets the rows done so far.
func (r *Run) Measure(ctx context.Context, progress func(done int)) (float64, error) {
	if len(r.HeldOut) == 0 {
		return math.NaN(), nil
	}
	var sum float64
	var scored int
	for from := 0; from < len(r.HeldOut); from += r.Config.Batch {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		to := min(from+r.Config.Batch, len(r.HeldOut))
		s, n := r.learner.loss(r.HeldOut[from:to])
		sum, scored = sum+s, scored+n
		if progress != nil {
			progress(to)
		}
	}
	return sum / float64(scored), nil
}

// Evaluate is Measure as an event of the run.
func (r *Run) Evaluate(ctx context.Context, progress func(done int)) (float64, error) {
	start := time.Now()
	loss, err := r.Measure(ctx, progress)
	if err != nil || math.IsNaN(loss) || math.IsInf(loss, 0) {
		return loss, err
	}
	_, tokens := countScored(r.HeldOut)
	return loss, r.report(Event{Type: EvalEvent, Step: r.step, Loss: loss, Tokens: tokens, TokensPerSecond: float64(tokens) / time.Since(start).Seconds()})
}

// MemoryBytes is what the run holds besides the mapped base: activations,
// gradients, parameters, moments and the last good state.
func (r *Run) MemoryBytes() int64 {
	return r.learner.tape.PeakBytes() + r.stateBytes()
}

// stateBytes counts parameter, gradient, two moments, and the copy of all but
// the gradient that is kept as the last good state.
func (r *Run) stateBytes() int64 {
	var n int64
	for _, p := range r.Params {
		n += int64(len(p.Data))
	}
	return n * 4 * 7
}
