package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/gofrs/flock"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/adapt"
	"qtool/internal/atomicfile"
	"qtool/internal/chat"
	"qtool/internal/dataset"
	"qtool/internal/infer"
	"qtool/internal/kernel/product"
	"qtool/internal/loop"
	"qtool/internal/model"
	"qtool/internal/nn"
	"qtool/internal/tokenizer"
	"qtool/lora"
)

// finetuning is one call of finetune: from the files to the verified result.
type finetuning struct {
	finetuneOptions
	con *console

	base    modelFile
	load    model.Options // how decoder is made of base
	decoder *model.Decoder
	budget  *budget              // the memory that there is
	tok     *tokenizer.Tokenizer // nil for a model without vocabulary
	adapter *adapt.Adapter       // nil with --full
	pool    *product.Pool
	rows    []dataset.Row
	heldOut []dataset.Row
	report  finetuneReport
	metrics *loop.Metrics // nil without --run-dir, or if it cannot be written
	lock    *flock.Flock  // of the run directory
	held    *atomicfile.Reservation
	session *loop.Run
	steps   *Progress
}

func (f *finetuning) close() {
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
	if f.base != nil {
		f.base.Close()
	}
}

func (f *finetuning) run(ctx context.Context) error {
	// Little of what is allocated is garbage: do not let that grow to the size of the rest.
	const garbagePercent = 20
	defer debug.SetGCPercent(debug.SetGCPercent(garbagePercent))
	for _, stage := range []func(context.Context) error{
		f.checkFiles, f.openBase, f.lockRunDir, f.readData, f.checkMemory, f.makeAdapter, f.prepare, f.before, f.train, f.after, f.verify, f.write,
	} {
		if err := stage(ctx); err != nil {
			return err
		}
	}
	return f.con.finish(&f.report)
}

// params are what is trained.
func (f *finetuning) params() []*nn.Param {
	if f.adapter != nil {
		return f.adapter.Params()
	}
	return f.decoder.Params()
}

func (f *finetuning) openBase(context.Context) (err error) {
	if f.model == "" {
		f.report.Model = "embedded"
		f.base, err = opened(fixtures.Base())
	} else {
		f.report.Model = f.model
		f.base, err = openModel(source{f.model, f.pre})
	}
	if err != nil {
		return err
	}
	f.load.TrainWeights = f.full != ""
	return f.loadBase()
}

// loadBase makes the decoder and the tokenizer of the open base.
func (f *finetuning) loadBase() error {
	longest, err := model.ContextLength(f.base)
	if err != nil {
		return fmt.Errorf("loading %s: %w", f.report.Model, err)
	}
	if f.seq == 0 {
		f.seq = min(longest, defaultSeq)
	}
	if f.seq > longest {
		return usagef("finetune: --seq %d is more than the context of %d that the model was made for", f.seq, longest)
	}
	f.tok, err = loadTokenizer(f.base)
	if err != nil && !errors.Is(err, tokenizer.ErrNoVocab) { // pre-tokenized data need none
		return fmt.Errorf("reading the vocabulary of %s: %w", f.report.Model, err)
	}
	f.budget = f.newBudget()
	if err := f.checkLoading(); err != nil {
		return err
	}
	f.load.Context = f.seq
	if f.decoder, err = model.Load(f.base, f.load); err != nil {
		return fmt.Errorf("loading %s: %w", f.report.Model, err)
	}
	if len(f.decoder.Routers()) == 0 && (f.config.RouterBalance > 0 || f.config.RouterZ > 0) {
		return usagef("finetune: --router-aux-loss and --router-z-loss are about experts, and %s has none", f.report.Model)
	}
	return nil
}

func (f *finetuning) readData(context.Context) error {
	opts := dataset.Options{
		Seq: f.seq, Context: f.decoder.Context, Truncate: f.truncate, SplitText: f.splitText,
		TextField: f.textField, PromptField: f.promptField, CompletionField: f.completionField,
	}
	tok := dataset.Untokenized(f.decoder.Vocabulary)
	if f.tok != nil {
		tok = dataset.ForTokenizer(f.tok)
		bos := ""
		if id := f.tok.BOS(); id >= 0 {
			bos = f.tok.Vocab().Tokens[id]
		}
		opts.Template = chat.ForModel(f.tok.Vocab().ChatTemplate, bos)
	}
	var data, eval *dataset.Data
	var err error
	if f.data == "" {
		f.report.Data = "embedded"
		data, err = dataset.Read(strings.NewReader(fixtures.FineTuneJSONL), "embedded.jsonl", tok, opts)
	} else {
		f.report.Data = f.data
		data, eval, err = dataset.Load(f.data, tok, opts)
	}
	if err != nil {
		return err
	}
	f.report.Records = data.Report
	a := loop.Arrangement{Seq: f.seq, Packing: f.packing, EvalSplit: f.evalSplit, Seed: f.config.Seed}
	f.rows, f.heldOut = a.Arrange(data, eval)
	return nil
}

func (f *finetuning) makeAdapter(ctx context.Context) (err error) {
	f.pool = product.NewPool(f.threads)
	switch {
	case f.full != "":
		return nil
	case f.init != "":
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
func (f *finetuning) attach(a *adapt.Adapter) error {
	if a == nil {
		return nil
	}
	if err := a.Attach(f.decoder); err != nil {
		return fmt.Errorf("%s on %s: %w", f.init, f.report.Model, err)
	}
	return nil
}

// openInit opens the adapter to start from, unless it is open.
func (f *finetuning) openInit() (err error) {
	if f.adapter == nil && f.init != "" {
		f.adapter, err = adapt.OpenSparse(f.init)
	}
	return err
}

// newAdapter makes a fresh adapter.
func (f *finetuning) newAdapter(ctx context.Context) (err error) {
	c := f.pairs(f.rank, f.targets)
	if err := c.Check(f.decoder); err != nil {
		return usagef("finetune: %v", err)
	}
	if c.Experts, err = f.chooseExperts(ctx); err != nil {
		return err
	}
	if f.adapter, err = adapt.New(f.decoder, c); err != nil {
		return usagef("finetune: %v", err)
	}
	return nil
}

// pairs says how to make a fresh adapter, but for its experts.
func (f *finetuning) pairs(rank int, targets []string) adapt.Config {
	return adapt.Config{Rank: rank, Alpha: f.alpha, Targets: targets, MergeOnly: f.mergeOnly, Seed: f.config.Seed, Shapes: f.planOnly}
}

// chooseExperts finds the experts that --experts asks for.
func (f *finetuning) chooseExperts(ctx context.Context) (map[int][]int32, error) {
	if f.planOnly {
		return f.planExperts()
	}
	if err := f.checkExperts(); err != nil {
		return nil, err
	}
	var chosen map[int][]int64
	if f.experts.Top > 0 {
		f.pool.SetPrecision(f.config.KernelPrecision())
		sample := loop.RoutingSample(f.rows)
		bar := f.con.progress()
		bar.Start(int64(len(sample)), "rows", "measuring which experts the data use")
		var err error
		chosen, err = loop.MeasureRouting(ctx, f.decoder, sample, f.pool, func(done int) { bar.Set(int64(done)) })
		bar.Done()
		if err != nil {
			return nil, err
		}
	}
	layers, err := f.experts.ByLayer(f.decoder, chosen)
	if err != nil {
		return nil, usagef("finetune: --%v", err)
	}
	return layers, nil
}

func (f *finetuning) checkExperts() error {
	if f.isSet("experts") && len(f.decoder.Routers()) == 0 {
		return usagef("finetune: --experts %v: %s has no experts", f.experts, f.report.Model)
	}
	return nil
}

// planExperts are as many experts as --experts asks for. Which ones are used most only
// the data tell, and what they take does not depend on that.
func (f *finetuning) planExperts() (map[int][]int32, error) {
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
		return nil, usagef("finetune: --%v", err)
	}
	return layers, nil
}

// prepare makes the run and, if asked to, takes it to where it stopped.
func (f *finetuning) prepare(ctx context.Context) error {
	f.steps = f.con.progress()
	identity, err := f.identity(ctx)
	if err != nil {
		return err
	}
	f.session, err = loop.New(loop.Setup{
		Config: f.config, Decoder: f.decoder, Params: f.params(), Rows: f.rows, HeldOut: f.heldOut,
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
	f.decoder.LimitMapped(f.decoder.LargestPart()) // a rehearsal needs little of it
	f.session.PlanMemory()
	f.report.Plan = f.session.Plan()
	f.limitResident()
	f.report.printPlan(f)
	f.con.detail("measuring the speed of one batch")
	if f.report.Plan, err = f.session.Probe(ctx); err != nil {
		return err
	}
	f.report.printTime(f)
	return nil
}

// identity reads the whole base to record what the result belongs to.
func (f *finetuning) identity(ctx context.Context) (map[string]string, error) {
	var total int64
	for _, t := range f.base.Tensors() {
		total += t.Size()
	}
	bar := f.con.progress()
	bar.Start(total, "bytes", "reading the base")
	base, err := lora.Identify(ctx, f.base, bar.Set)
	bar.Done()
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
		"rows": loop.Fingerprint(f.rows), "held_out": loop.Fingerprint(f.heldOut),
	}, nil
}

// before measures what the model can do at the start. A resumed run that began
// with a fresh adapter measures it without that; any other has forgotten it.
func (f *finetuning) before(ctx context.Context) (err error) {
	measure := f.session.Evaluate
	if f.session.Step() > 0 {
		if f.adapter == nil || f.init != "" {
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

func (f *finetuning) evaluate(ctx context.Context, measure func(context.Context, func(done int)) (float64, error)) (*float64, error) {
	if len(f.heldOut) == 0 {
		return nil, nil
	}
	bar := f.con.progress()
	bar.Start(int64(f.report.Plan.EvalRows), "rows", "evaluating")
	loss, err := measure(ctx, func(done int) { bar.Set(int64(done)) })
	bar.Done()
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
func (f *finetuning) blame(err error) error {
	if tensor, index := f.decoder.FindNotFinite(); tensor != "" {
		return fmt.Errorf("%s: %w: element %d of tensor %q is not a finite number; get an undamaged copy of the model", f.report.Model, model.ErrInvalid, index, tensor)
	}
	return err
}

// sampleLength is how many tokens answer a prompt.
const sampleLength = 60

// sampleTokens are the prompt that is answered before and after; nil if there is none.
func (f *finetuning) sampleTokens() (prompt string, ids []int32) {
	prompt = f.sample
	if prompt == "" && f.data == "" {
		prompt = fixtures.DemoPrompt
	}
	if prompt == "" || f.tok == nil {
		return "", nil
	}
	return prompt, f.tok.Encode(prompt, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true})
}

// answer continues the sample prompt greedily.
func (f *finetuning) answer(ctx context.Context) (string, error) {
	prompt, ids := f.sampleTokens()
	if prompt == "" {
		return "", nil
	}
	f.report.Sample = prompt
	g, err := infer.NewSession(f.decoder, f.tok, f.pool).Generate(ctx, ids, infer.GenerateOptions{MaxTokens: sampleLength}, nil)
	return g.Text, err
}

func (f *finetuning) train(ctx context.Context) error {
	f.steps.Start(int64(f.report.Plan.Steps), "steps", "training")
	f.steps.Set(int64(f.session.Step()))
	err := f.session.Train(ctx)
	f.steps.Done()
	if errors.Is(err, loop.ErrDiverged) {
		return f.blame(err)
	}
	if err != nil && ctx.Err() != nil && f.runDir != "" {
		f.con.say("stopped after step %d; --resume goes on from here", f.session.Step())
	}
	return err
}

// event takes what happens in the run to the progress bar and to metrics.jsonl.
func (f *finetuning) event(e loop.Event) error {
	switch e.Type {
	case loop.StepEvent:
		f.report.Steps, f.report.LastLoss = e.Step, e.Loss
		f.steps.Remark("loss %.4f, %.0f tokens/s", e.Loss, e.TokensPerSecond)
		f.steps.Set(int64(e.Step))
	case loop.ExpertsEvent:
		f.report.Experts = e.Experts
	case loop.SkipEvent:
		f.report.Skipped++
		f.steps.Note("step %d: skipped: %s", e.Step, e.Reason)
	case loop.RollbackEvent:
		f.report.Rollbacks = append(f.report.Rollbacks, fmt.Sprintf("step %d: %s", e.Step, e.Reason))
		f.steps.Note("step %d: rolled back: %s", e.Step, e.Reason)
	case loop.WarningEvent:
		f.steps.Note("step %d: warning: %s", e.Step, e.Reason)
	case loop.EvalEvent:
		if e.Step > 0 && e.Step < f.report.Plan.Steps {
			f.steps.Note("step %d: held-out loss %.4f", e.Step, e.Loss)
		}
	}
	f.record(e)
	return nil
}

func (f *finetuning) after(ctx context.Context) (err error) {
	if f.report.After.Loss, err = f.evaluate(ctx, f.session.Evaluate); err != nil {
		return err
	}
	f.report.After.Answer, err = f.answer(ctx)
	return err
}

// verify binds what will be written to a fresh decoder: it must fit and have an
// effect. The file of an earlier run is not touched before.
func (f *finetuning) verify(ctx context.Context) error {
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
		f.report.LogitChange, err = adapt.Verify(ctx, f.base, f.load, a, tokens[:min(len(tokens), 32)], f.pool)
	}
	if err != nil {
		return fmt.Errorf("the trained adapter is not written: %w", err)
	}
	return nil
}

// write writes the result and reads it back.
func (f *finetuning) write(ctx context.Context) error {
	f.report.Output = f.output()
	f.held.Release()
	if f.adapter == nil {
		return gguf.WriteFile(ctx, f.full, f.decoder.Snapshot(), gguf.WithHashes())
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

// finish prints the report as data or as text.
func (c *console) finish(r *finetuneReport) error {
	if c.json {
		return c.printJSON(r)
	}
	var b bytes.Buffer
	r.print(&b)
	_, err := c.out.Write(b.Bytes())
	return err
}
