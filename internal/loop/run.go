package loop

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"time"

	"qtool/internal/atomicfile"
	"qtool/internal/dataset"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
	"qtool/internal/nn"
	"qtool/internal/work"
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
	Pool          *product.Pool
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
	trained *trained
	sampler *dataset.Sampler
	guard   *guard
	step    int           // optimizer steps done, skipped ones included
	rows    []dataset.Row // of the step at hand
	drawn   []int         // their indices in Rows
	sum     float64       // of their losses
	passes  func() error  // allPasses; made once, for a step allocates nothing
	limit   *work.Limit   // of the context limitOf
	limitOf context.Context
	good    snapshot
	loads   loadCounts // of the experts, before the step at hand
	plan    Plan
	// keepsNewest says that the file at CheckpointPath is sound: the next checkpoint does
	// not replace it but the one before it.
	keepsNewest bool
	reserved    []*atomicfile.Reservation // space for checkpoints that are still to come
}

// New prepares a run from its beginning. It checks the configuration and every
// token id.
func New(s Setup) (*Run, error) {
	r, err := newRun(s)
	if err != nil {
		return nil, err
	}
	r.trained = newTrained(r.Params, &r.Config)
	r.guard = newGuard(r.Decoder.Vocabulary)
	for _, router := range r.Decoder.Routers() {
		router.Load.Clear()
	}
	r.passes = r.allPasses
	r.good.capture(r.trained, r.step)
	return r, nil
}

// newRun is a run that can be planned, but not taken.
func newRun(s Setup) (*Run, error) {
	if err := Check(&s.Config); err != nil {
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
	c := &s.Config
	c.Batch = min(c.Batch, len(s.Rows)) // more would compute rows twice
	s.Pool.SetPrecision(KernelPrecision(c.Precision))
	r := &Run{
		Setup:   s,
		learner: newLearner(s.Decoder, s.Params, s.Pool, c),
		sampler: newSampler(s.Rows, c),
	}
	r.plan = r.makePlan()
	return r, nil
}

// newSampler draws rows from the first epoch on.
func newSampler(rows []dataset.Row, c *Config) *dataset.Sampler {
	if !c.LengthBuckets {
		return dataset.NewSampler(len(rows), c.Seed)
	}
	lengths := make([]int, len(rows))
	for i := range rows {
		lengths[i] = rows[i].Len()
	}
	return dataset.NewBucketSampler(lengths, c.Batch, c.Seed)
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
					return fmt.Errorf("%w: label %d is outside the vocabulary of %d tokens", model.ErrInvalid, t, d.Vocabulary)
				}
			}
		}
	}
	return nil
}

// Step is the number of steps done so far; above 0 after a resume.
func (r *Run) Step() int { return r.step }

// LastLoss is the loss of the last step that was applied, of this or an earlier session; 0 if it
// is not known.
func (r *Run) LastLoss() float64 { return r.guard.last }

// rowsPerStep is how many rows a full step takes.
func (r *Run) rowsPerStep() int { return r.Config.Batch * r.Config.GradAccum }

// totalSteps is the length of the run: Steps, or Epochs over the data.
func (r *Run) totalSteps() int { return totalSteps(&r.Config, len(r.Rows)) }

func totalSteps(c *Config, rows int) int {
	if c.Steps > 0 {
		return c.Steps
	}
	each := c.Batch * c.GradAccum
	return (rows*c.Epochs + each - 1) / each
}

// nextRows draws the rows of one step. The last step of a run that counts
// epochs takes what is left of them. They are good until the next call.
func (r *Run) nextRows() []dataset.Row {
	r.rows, r.drawn = r.rows[:0], r.drawn[:0]
	for range r.rowsAt(r.sampler.Position()) {
		index, _ := r.sampler.Next()
		r.rows, r.drawn = append(r.rows, r.Rows[index]), append(r.drawn, index)
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

// Train runs to the end. When ctx ends, it stops within the operation at hand, stands
// after the last whole step, writes a checkpoint, if there is a place for one, and
// returns the context's error.
func (r *Run) Train(ctx context.Context) error {
	// The memory that a run takes is all there from the first step on. What else
	// is allocated meanwhile is little: it must not be collected only when it is
	// as much again.
	debug.FreeOSMemory()
	const garbagePercent = 3
	defer debug.SetGCPercent(debug.SetGCPercent(garbagePercent))
	defer r.endLimit()
	err := r.steps(ctx)
	if err != nil && !stoppedBy(ctx, err) {
		return err
	}
	return errors.Join(err, r.save())
}

// stoppedBy reports whether err is that ctx ended.
func stoppedBy(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, ctx.Err())
}

// steps takes all steps that are left, and makes sure of what the last one gave.
func (r *Run) steps(ctx context.Context) error {
	for total := r.totalSteps(); r.step < total; {
		if err := r.nextStep(ctx, total); err != nil {
			return err
		}
	}
	if r.trained.updates == 0 && r.step > 0 {
		return fmt.Errorf("%w: every step failed", ErrDiverged)
	}
	if _, err := r.checkWeights(ctx, nil); err != nil {
		return err
	}
	return r.reportExperts()
}

// nextStep takes a step and does what is due after it.
func (r *Run) nextStep(ctx context.Context, total int) error {
	if err := r.oneStep(ctx, total); err != nil {
		return err
	}
	if every := r.Config.SaveEvery; every > 0 && r.step%every == 0 && r.step < total {
		if err := r.saveOnTheWay(); err != nil {
			return err
		}
	}
	if every := r.Config.EvalEvery; every > 0 && r.step%every == 0 && r.step < total {
		if _, err := r.Evaluate(ctx, nil); err != nil {
			return err
		}
	}
	return nil
}

// oneStep takes a step. If ctx ends meanwhile, the run stands where it stood
// before.
func (r *Run) oneStep(ctx context.Context, total int) (err error) {
	start, from, step := time.Now(), r.sampler.Position(), r.step
	_, tokens := countScored(r.nextRows())
	r.loads.capture(r.Decoder)
	defer func() {
		if err != nil && r.step == step {
			r.loads.restore(r.Decoder)
			err = errors.Join(err, r.sampler.Restore(from))
		}
	}()
	sum, err := r.gradients(ctx)
	if err != nil {
		return err
	}
	loss, norm := sum/weightOf(r.rows), r.trained.gradientNorm(r.Pool)
	if refused, err := r.refuse(ctx, loss, norm); refused || err != nil {
		return err
	}
	r.step++
	rate := rateAt(&r.Config, r.step, total) * r.guard.rateScale()
	gradScale := 1.0
	if r.Config.Clip > 0 && norm > r.Config.Clip {
		gradScale = r.Config.Clip / norm
	}
	r.trained.step(r.Pool, rate, gradScale)
	r.guard.applied(loss, r.drawn)
	at := r.sampler.Position()
	return r.report(Event{
		Type: StepEvent, Step: r.step, Epoch: float64(at.Epoch) + float64(at.Index)/float64(len(r.Rows)),
		Loss: loss, Rate: rate, GradNorm: norm, Tokens: tokens,
		TokensPerSecond: float64(tokens) / time.Since(start).Seconds(), MemoryBytes: r.MemoryBytes(),
		RouterBalance: r.learner.router.meanBalance, RouterZ: r.learner.router.meanZ,
	})
}

// gradients computes those of the mean loss of the rows at hand, and returns their
// summed loss. Only this can be stopped half-way: no weight changes meanwhile.
func (r *Run) gradients(ctx context.Context) (sum float64, err error) {
	if r.limit == nil || r.limitOf != ctx {
		r.endLimit()
		r.limit, r.limitOf = work.Until(ctx), ctx
	}
	err = r.Pool.Under(r.limit, r.passes)
	return r.sum, err
}

func (r *Run) endLimit() {
	if r.limit != nil {
		r.limit.Release()
		r.limit = nil
	}
}

// allPasses goes forward and back through the rows at hand.
func (r *Run) allPasses() error {
	_, tokens := countScored(r.rows)
	scale := 1 / float32(weightOf(r.rows))
	r.trained.clearGradients(r.Pool)
	r.learner.router.begin(tokens)
	r.sum = 0
	for from := 0; from < len(r.rows); from += r.Config.Batch {
		r.learner.noise.step, r.learner.noise.row = r.step, from
		s, _ := r.learner.accumulate(r.rows[from:min(from+r.Config.Batch, len(r.rows))], scale)
		r.sum += s
	}
	return nil
}

// refuse decides whether a step with this loss and gradient norm may be applied. If not,
// it counts the step as done without it. Weights whose step may be applied are good ones,
// and are remembered every so often.
func (r *Run) refuse(ctx context.Context, loss, norm float64) (refused bool, err error) {
	broken, due := notFinite(loss, norm), r.step >= r.guard.looked+goodEvery
	if broken != "" || r.guard.looksBad(loss) || due && r.guard.average > r.guard.bound {
		var atHand []int
		if !finite(loss) {
			atHand = r.drawn
		}
		if refused, err = r.checkWeights(ctx, atHand); err != nil {
			return false, err
		}
	}
	switch {
	case refused:
		r.step++
	case broken != "":
		r.step++
		return true, r.skip(broken)
	case due:
		r.good.capture(r.trained, r.step)
		r.guard.looked, r.guard.failures = r.step, 0
	}
	return refused, nil
}

// skip leaves the weights as they are, since the step at hand cannot be computed: its
// rows are not learned. The data go on.
func (r *Run) skip(why string) error {
	r.guard.skipped++
	if err := r.report(Event{Type: SkipEvent, Step: r.step, Reason: why + ", although the weights are sound: its rows are not learned"}); err != nil {
		return err
	}
	if r.guard.skipped >= skipLimit {
		return fmt.Errorf("%w: at step %d %s, and the %d steps before it could not be computed either; check the base for damaged weights (qtool verify), and the data for rows that it cannot compute, or lower the learning rate",
			ErrDiverged, r.step, why, r.guard.skipped-1)
	}
	return nil
}

// checkWeights looks whether the weights are sound, and if they are not puts the last
// good ones back and lowers the learning rate: the same one would spoil them again. The
// data go on. atHand are rows, if any, that could not be computed.
func (r *Run) checkWeights(ctx context.Context, atHand []int) (rolledBack bool, err error) {
	why, err := r.spoilt(ctx, atHand)
	if why == "" || err != nil {
		return false, err
	}
	r.good.restore(r.trained)
	r.guard.failures++
	r.guard.rollbacks++
	err = r.report(Event{Type: RollbackEvent, Step: r.step, Reason: fmt.Sprintf(
		"%s: training diverged; back to the weights of step %d, and on with %g of the learning rate", why, r.good.step, r.guard.rateScale())})
	if err == nil && r.guard.failures >= failureLimit {
		err = fmt.Errorf("%w: %s, after %d rollbacks to step %d; try a much lower learning rate (it was %g, at last %g)",
			ErrDiverged, why, r.guard.failures, r.good.step, r.Config.Rate, r.Config.Rate*r.guard.rateScale())
	}
	return true, err
}

func (r *Run) report(e Event) error {
	if r.Report == nil {
		return nil
	}
	return r.Report(e)
}

// Measure is the mean loss per scored token over the held-out rows, each counted as often as
// its weight says; NaN if there are none. progress, unless nil, gets the rows done so far.
func (r *Run) Measure(ctx context.Context, progress func(done int)) (float64, error) {
	if len(r.HeldOut) == 0 {
		return math.NaN(), nil
	}
	var sum, weight float64
	for from := 0; from < len(r.HeldOut); from += r.Config.Batch {
		to := min(from+r.Config.Batch, len(r.HeldOut))
		err := r.Pool.Within(ctx, func() error {
			s, w := r.learner.loss(r.HeldOut[from:to])
			sum, weight = sum+s, weight+w
			return nil
		})
		if err != nil {
			return 0, err
		}
		if progress != nil {
			progress(to)
		}
	}
	return sum / weight, nil
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
// gradients, parameters, what the optimizer remembers, and the last good state.
func (r *Run) MemoryBytes() int64 {
	return r.learner.tape.PeakBytes() + r.stateBytes()
}

// stateBytes is what is kept of all weights.
func (r *Run) stateBytes() int64 { return r.trained.elements() * r.trained.cost.memory() }
