package train

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash"
	"math"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/gofrs/flock"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/adapt"
	"qtool/internal/arch"
	"qtool/internal/atomicfile"
	"qtool/internal/budget"
	"qtool/internal/chat"
	"qtool/internal/dataset"
	"qtool/internal/infer"
	"qtool/internal/kernel/product"
	"qtool/internal/loop"
	"qtool/internal/model"
	"qtool/internal/nn"
	"qtool/internal/records"
	"qtool/internal/source"
	"qtool/internal/tokenizer"
	"qtool/internal/usage"
	"qtool/lora"
	"qtool/train/run"
)

// tuning is a job at work: from the files to the verified result.
type tuning struct {
	Job
	planOnly  bool
	chooseSeq bool // Seq is the most that may be chosen
	experts   adapt.Experts

	base    gguf.Model
	opened  source.Model  // base, if it is to be closed
	load    model.Options // how decoder is made of base
	decoder *model.Decoder
	budget  *budget.Budget       // the memory that there is
	tok     *tokenizer.Tokenizer // nil for a model without vocabulary
	// context is the longest sequence that the base was made for, 0 if it does not tell, and
	// vocabulary how many tokens it has.
	context, vocabulary int
	adapter             *adapt.Adapter // nil with --full
	pool                *product.Pool
	rows                []dataset.Row
	heldOut             []dataset.Row // to be evaluated
	// withheld are rows of all that is held out, of which heldOut is a sample.
	withheld []dataset.Row
	set      *records.Set // of Data; nil for the embedded ones
	// template is what conversations are written with; nil if there is none.
	template  *chat.Template
	stdinHash hash.Hash     // of what was read of Stdin
	training  lora.Training // as far as it is known
	report    Report
	metrics   *loop.Metrics // nil without --run-dir, or if it cannot be written
	lock      *flock.Flock  // of the run directory
	held      *atomicfile.Reservation
	session   *loop.Run
	steps     *task // while steps are taken, else nil
}

func (f *tuning) close() {
	if f.pool != nil {
		f.pool.Close()
	}
	if f.metrics != nil {
		f.metrics.Close()
	}
	if f.session != nil {
		f.session.Close()
	}
	f.held.Release()
	if f.lock != nil {
		f.lock.Unlock()
	}
	if f.opened != nil {
		f.opened.Close()
	}
}

// Run does the job: it checks that the result can be written, reads base and data, plans,
// trains, evaluates, and writes what was verified. When ctx ends, it stops after the last
// whole step, with a checkpoint if there is a RunDir.
func (j *Job) Run(ctx context.Context) (*Report, error) {
	if err := j.Check(); err != nil {
		return nil, err
	}
	f, err := newTuning(j)
	if err != nil {
		return nil, err
	}
	defer f.close()
	// Little of what is allocated is garbage: do not let that grow to the size of the rest.
	const garbagePercent = 20
	defer debug.SetGCPercent(debug.SetGCPercent(garbagePercent))
	for _, stage := range []func(context.Context) error{
		f.checkFiles, f.openBase, f.lockRunDir, f.readData, f.identifyInputs, f.checkMemory, f.makeAdapter, f.checkHead, f.prepare, f.before, f.train, f.after,
		f.recordTraining, f.verify, f.write,
	} {
		if err := stage(ctx); err != nil {
			return nil, err
		}
	}
	return &f.report, nil
}

func newTuning(j *Job) (*tuning, error) {
	f := &tuning{Job: *j}
	var err error
	if f.experts, err = adapt.ParseExperts(cmp.Or(j.Experts, "all")); err != nil {
		return nil, usage.Errorf("--%w", err)
	}
	return f, nil
}

// note tells a user something, below the progress of steps.
func (f *tuning) note(format string, args ...any) { f.Observer.note(format, args...) }

// params are what is trained.
func (f *tuning) params() []*nn.Param {
	if f.adapter != nil {
		return f.adapter.Params()
	}
	return f.decoder.Params()
}

func (f *tuning) openBase(context.Context) error {
	if err := f.openModel(); err != nil {
		return err
	}
	f.load.TrainWeights = f.Full != ""
	return f.loadBase()
}

// openModel opens the base, of which only the header is read if the job is only planned.
func (f *tuning) openModel() (err error) {
	f.report.Model = cmp.Or(f.Model, map[bool]string{true: "embedded", false: "the base"}[f.Base == nil])
	switch from := (source.Source{Path: f.Model, Pre: f.Pre, Note: func(text string) { f.note("%s", text) }}); {
	case f.Base != nil:
		f.base = f.Base
	case f.Model == "":
		if len(f.Data) > 0 {
			f.note("no --model: the data are learned by the small model that qtool carries, which is for trying things out")
		}
		f.base, err = fixtures.Base()
	case f.planOnly:
		f.opened, err = source.OpenShapes(from)
		f.base = f.opened
	default:
		f.opened, err = source.Open(from)
		f.base = f.opened
	}
	return err
}

// loadBase makes the decoder and the tokenizer of the open base.
func (f *tuning) loadBase() error {
	longest, err := model.ContextLength(f.base)
	if err != nil {
		return fmt.Errorf("loading %s: %w", f.report.Model, err)
	}
	if f.Seq == 0 {
		f.Seq, f.chooseSeq = min(longest, DefaultSeq), true
	}
	if f.Seq > longest {
		return usage.Errorf("--seq %d is more than the context of %d that the model was made for", f.Seq, longest)
	}
	f.tok, err = tokenizerOf(f.base)
	if err != nil && !errors.Is(err, tokenizer.ErrNoVocab) { // pre-tokenized data need none
		return fmt.Errorf("reading the vocabulary of %s: %w", f.report.Model, err)
	}
	f.budget = f.newBudget()
	if err := f.checkLoading(); err != nil {
		return err
	}
	f.load.Context = f.Seq
	if f.decoder, err = model.Load(f.base, f.load); err != nil {
		return fmt.Errorf("loading %s: %w", f.report.Model, err)
	}
	f.context, f.vocabulary = f.decoder.Context, f.decoder.Vocabulary
	if len(f.decoder.Routers()) == 0 && (f.Config.RouterBalance > 0 || f.Config.RouterZ > 0) {
		return usage.Errorf("--router-aux-loss and --router-z-loss are about experts, and %s has none", f.report.Model)
	}
	return nil
}

func (f *tuning) makeAdapter(ctx context.Context) (err error) {
	f.pool = product.NewPool(f.Threads)
	switch {
	case f.Full != "":
		return nil
	case f.Init != "":
		err = f.openInit()
	default:
		err = f.newAdapter(ctx)
	}
	if err != nil {
		return err
	}
	return f.attach(f.adapter)
}

// attach binds the pairs of an adapter to the decoder, if there is one.
func (f *tuning) attach(a *adapt.Adapter) error {
	if a == nil {
		return nil
	}
	if err := a.Attach(f.decoder); err != nil {
		return fmt.Errorf("%s on %s: %w", f.Init, f.report.Model, err)
	}
	return nil
}

// openInit opens the adapter to start from, unless it is open.
func (f *tuning) openInit() (err error) {
	if f.adapter == nil && f.Init != "" {
		f.adapter, err = adapt.OpenSparse(f.Init)
	}
	return err
}

// newAdapter makes a fresh adapter.
func (f *tuning) newAdapter(ctx context.Context) (err error) {
	c := f.pairs(f.Rank, f.Targets)
	if err := c.Check(f.decoder); err != nil {
		return usage.Errorf("%v", err)
	}
	if c.Experts, err = f.chooseExperts(ctx); err != nil {
		return err
	}
	if f.adapter, err = adapt.New(f.decoder, c); err != nil {
		return usage.Errorf("%v", err)
	}
	return f.sayScaled()
}

// sayScaled says which weights get no pairs because this base stores them with scales.
func (f *tuning) sayScaled() error {
	if f.MergeOnly {
		return nil
	}
	all, err := adapt.Select(f.decoder, f.Targets, true)
	if err != nil {
		return usage.Errorf("%v", err)
	}
	var names []string
	reason := ""
	for _, t := range all {
		if name := arch.ShortName(t.Tensor); t.Scaled && !slices.Contains(names, name) {
			names, reason = append(names, name), t.Refused
		}
	}
	if len(names) > 0 {
		f.note("no pairs on %s: %s; --merge-only trains them too, to merge the adapter into the base", strings.Join(names, ", "), reason)
	}
	return nil
}

// pairs says how to make a fresh adapter, but for its experts.
func (f *tuning) pairs(rank int, targets []string) adapt.Config {
	return adapt.Config{Rank: rank, Alpha: f.Alpha, Targets: targets, MergeOnly: f.MergeOnly, Seed: f.Config.Seed, Shapes: f.planOnly}
}

// chooseExperts finds the experts that --experts asks for.
func (f *tuning) chooseExperts(ctx context.Context) (map[int][]int32, error) {
	if f.planOnly {
		return f.planExperts()
	}
	if err := f.checkExperts(); err != nil {
		return nil, err
	}
	var chosen map[int][]int64
	if f.experts.Top > 0 {
		f.pool.SetPrecision(loop.KernelPrecision(f.Config.Precision))
		sample := loop.RoutingSample(f.rows)
		bar := f.Observer.begin(int64(len(sample)), "rows", "measuring which experts the data use")
		var err error
		chosen, err = loop.MeasureRouting(ctx, f.decoder, sample, f.pool, func(done int) { bar.set(int64(done)) })
		bar.end()
		if err != nil {
			return nil, err
		}
	}
	layers, err := f.experts.ByLayer(f.decoder, chosen)
	if err != nil {
		return nil, usage.Errorf("--%v", err)
	}
	return layers, nil
}

func (f *tuning) checkExperts() error {
	if f.Experts != "" && len(f.decoder.Routers()) == 0 {
		return usage.Errorf("--experts %v: %s has no experts", f.experts, f.report.Model)
	}
	return nil
}

// planExperts are as many experts as --experts asks for. Which ones are used most only
// the data tell, and what they take does not depend on that.
func (f *tuning) planExperts() (map[int][]int32, error) {
	if err := f.checkExperts(); err != nil {
		return nil, err
	}
	e := f.experts
	if e.Top > 0 {
		var first adapt.Experts
		for n := range min(e.Top, f.decoder.Experts+1) {
			first.List = append(first.List, int32(n))
		}
		e = first
	}
	layers, err := e.ByLayer(f.decoder, nil)
	if err != nil {
		return nil, usage.Errorf("--%v", err)
	}
	return layers, nil
}

// prepare makes the run and, if asked to, takes it to where it stopped.
func (f *tuning) prepare(ctx context.Context) error {
	identity, err := f.identity(ctx)
	if err != nil {
		return err
	}
	f.session, err = loop.New(loop.Setup{
		Config: f.Config, Decoder: f.decoder, Params: f.params(), Rows: f.rows, HeldOut: f.heldOut,
		Pool: f.pool, Identity: identity, CheckpointPath: f.checkpoint(), Report: f.event,
	})
	if err != nil {
		return err
	}
	if err := f.openRunDir(ctx); err != nil {
		return err
	}
	if err := f.reserveSpace(); err != nil {
		return err
	}
	f.decoder.LimitMapped(f.decoder.LargestBlock()) // a rehearsal needs little of it
	f.session.PlanMemory()
	f.report.Plan = f.session.Plan()
	f.limitResident()
	f.describe()
	f.Observer.plan(&f.report)
	f.warnOfShortRun()
	f.Observer.detail("measuring the speed of one batch")
	if f.report.Plan, err = f.session.Probe(ctx); err != nil {
		return err
	}
	f.Observer.plan(&f.report)
	return nil
}

// identity reads the whole base to record what the result belongs to.
func (f *tuning) identity(ctx context.Context) (map[string]string, error) {
	var total int64
	for _, t := range f.base.Tensors() {
		total += t.Size()
	}
	bar := f.Observer.begin(total, "bytes", "reading the base")
	base, err := lora.Identify(ctx, f.base, bar.set)
	bar.end()
	if err != nil {
		return nil, err
	}
	f.report.BaseSHA256 = base.SHA256
	what := "all weights"
	if f.adapter != nil {
		base.Record(f.adapter.Extra)
		what = fmt.Sprintf("alpha %g", f.adapter.Alpha)
		for _, p := range f.adapter.Pairs {
			for _, half := range []*nn.Param{p.A, p.B} {
				what += " " + half.Name + strings.ReplaceAll(fmt.Sprint(half.Shape), " ", ",")
			}
			if p.Experts != nil {
				what += " experts" + strings.ReplaceAll(fmt.Sprint(p.Experts), " ", ",")
			}
		}
	}
	settings, err := model.SettingsSHA256(f.base)
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"base": base.SHA256, "base settings": settings, "context": strconv.Itoa(f.decoder.Context), "trained": what,
		"rows": loop.Fingerprint(f.rows), "held_out": loop.Fingerprint(f.withheld),
	}, nil
}

// before measures what the model can do at the start. A resumed run that began
// with a fresh adapter measures it without that; any other has forgotten it.
func (f *tuning) before(ctx context.Context) (err error) {
	measure := f.session.Evaluate
	if f.session.Step() > 0 {
		if f.adapter == nil || f.Init != "" {
			return nil
		}
		measure = f.session.Measure // it is no event of this step
		adapt.Detach(f.decoder)
		defer func() { err = errors.Join(err, f.adapter.Attach(f.decoder)) }()
	}
	if f.report.Before.Loss, err = f.evaluate(ctx, measure); err != nil {
		return err
	}
	f.report.Before.Answer, err = f.answer(ctx)
	return err
}

func (f *tuning) evaluate(ctx context.Context, measure func(context.Context, func(done int)) (float64, error)) (*float64, error) {
	if len(f.heldOut) == 0 {
		return nil, nil
	}
	bar := f.Observer.begin(int64(f.report.Plan.EvalRows), "rows", "evaluating")
	loss, err := measure(ctx, func(done int) { bar.set(int64(done)) })
	bar.end()
	if err != nil {
		return nil, err
	}
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return nil, f.blame(fmt.Errorf("the loss on the held-out data is %g although all weights are finite; lower --lr, or start from another adapter", loss))
	}
	return &loss, nil
}

// blame turns an error about a loss that is not finite into one about the weight
// that is not, if there is one.
func (f *tuning) blame(err error) error {
	if tensor, index := f.decoder.FindNotFinite(); tensor != "" {
		return fmt.Errorf("%s: %w: element %d of tensor %q is not a finite number; get an undamaged copy of the model", f.report.Model, model.ErrInvalid, index, tensor)
	}
	return err
}

// sampleLength is how many tokens answer a prompt.
const sampleLength = 60

// sampleTokens are the prompt that is answered before and after; nil if there is none.
func (f *tuning) sampleTokens() (prompt string, ids []int32) {
	prompt = f.Sample
	if prompt == "" && len(f.Data) == 0 {
		prompt = fixtures.DemoPrompt
	}
	if prompt == "" || f.tok == nil {
		return "", nil
	}
	return prompt, f.tok.Encode(prompt, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true})
}

// answer continues the sample prompt greedily.
func (f *tuning) answer(ctx context.Context) (string, error) {
	prompt, ids := f.sampleTokens()
	if prompt == "" {
		return "", nil
	}
	f.report.Sample = prompt
	g, err := infer.NewSession(f.decoder, f.tok, f.pool).Generate(ctx, ids, infer.GenerateOptions{MaxTokens: sampleLength}, nil)
	return g.Text, err
}

func (f *tuning) train(ctx context.Context) error {
	f.steps = f.Observer.begin(int64(f.report.Plan.Steps), "steps", "training")
	f.steps.set(int64(f.session.Step()))
	err := f.session.Train(ctx)
	f.steps.end()
	f.steps = nil
	if errors.Is(err, loop.ErrDiverged) {
		return f.blame(err)
	}
	if err != nil && ctx.Err() != nil && f.RunDir != "" {
		f.note("stopped after step %d; --resume goes on from here", f.session.Step())
	}
	return err
}

// event takes what happens in the run to the observer, the report and metrics.jsonl.
func (f *tuning) event(e run.Event) error {
	switch e.Type {
	case run.StepEvent:
		f.report.Steps, f.report.LastLoss = e.Step, e.Loss
	case run.ExpertsEvent:
		f.report.Experts = e.Experts
	case run.EvalEvent:
		f.report.evaluated(e.Step, e.Loss)
	case run.SkipEvent:
		f.report.Skipped++
	case run.RollbackEvent:
		f.report.Rollbacks = append(f.report.Rollbacks, fmt.Sprintf("step %d: %s", e.Step, e.Reason))
	}
	var err error
	if f.Observer.Event != nil {
		err = f.Observer.Event(e)
	}
	if e.Type == run.StepEvent && f.steps != nil {
		f.steps.set(int64(e.Step))
	}
	f.record(e)
	return err
}

func (f *tuning) after(ctx context.Context) (err error) {
	if f.report.After.Loss, err = f.evaluate(ctx, f.session.Evaluate); err != nil {
		return err
	}
	f.report.judge()
	f.report.After.Answer, err = f.answer(ctx)
	return err
}

// verify binds what will be written to a fresh decoder: it must fit and have an
// effect. The file of an earlier run is not touched before.
func (f *tuning) verify(ctx context.Context) error {
	f.session.Close()
	f.session = nil
	if f.adapter != nil {
		f.decoder = nil // it may hold a converted copy of the base
	}
	debug.FreeOSMemory() // the memory of the run is enough for all that follows
	if f.adapter == nil {
		return nil
	}
	a, err := adapt.FromModelSparse(f.adapter.Model())
	if err == nil {
		tokens := f.rows[0].Docs[0].Tokens()
		e, verifyErr := adapt.Verify(ctx, f.base, f.load, a, tokens[:min(len(tokens), 32)], f.pool)
		f.report.LogitChange, err = e.Largest, verifyErr
	}
	if err != nil {
		return fmt.Errorf("the trained adapter is not written: %w", err)
	}
	return nil
}

// write writes the result and reads it back.
func (f *tuning) write(ctx context.Context) error {
	f.report.Output = f.output()
	f.held.Release()
	if f.adapter == nil {
		return gguf.WriteFile(ctx, f.Full, f.decoder.Snapshot(), gguf.WithHashes())
	}
	if err := f.adapter.WriteFile(ctx, f.report.Output); err != nil {
		return err
	}
	f.report.MergeOnly = f.adapter.MergeOnly
	if err := adapt.ReadBack(f.report.Output); err != nil {
		return fmt.Errorf("reading the written adapter back: %w", err)
	}
	return nil
}

// describe fills in what the plan is about.
func (f *tuning) describe() {
	r := &f.report
	r.Layers, r.Context, r.HeldOut, r.Seq = len(f.decoder.Layers), f.decoder.Context, len(f.heldOut), f.Seq
	r.Converted = f.copies(r.Plan.Memory.Copied)
	if f.adapter == nil {
		return
	}
	r.Pairs = len(f.adapter.Pairs)
	for _, p := range f.adapter.Pairs {
		if name := arch.ShortName(p.Tensor); !slices.Contains(r.Targets, name) {
			r.Targets = append(r.Targets, name)
		}
	}
}

func tokenizerOf(m gguf.Model) (*tokenizer.Tokenizer, error) {
	v, err := tokenizer.VocabFromMetadata(m.Metadata())
	if err != nil {
		return nil, err
	}
	return tokenizer.New(v)
}
