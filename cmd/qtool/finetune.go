package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"qtool/internal/followup"
	"qtool/internal/ollama/create"
	"qtool/train"
)

func finetuneCommand(merge create.MergeFunc) *cli.Command {
	d := train.NewJob().Config
	return &cli.Command{
		Name:  "finetune",
		Usage: "train a LoRA adapter on a model, quantized or not",
		UsageText: `qtool finetune [--model MODEL] [--data FILE] --adapter OUT.gguf

qtool finetune --adapter out.gguf
qtool finetune --model base-q4.gguf --data chats.jsonl --adapter mine.gguf --run-dir night
qtool finetune --model base-q4.gguf --data chats.jsonl --adapter mine.gguf --run-dir night --resume`,
		Description: `Without --model and --data it uses the small ones it carries in itself. --data alone
is learned by that small model; --model alone is refused, but for --plan-only.

DATA is plain text, or JSON records of {"text"}, {"prompt","completion"},
{"messages":[{"role","content"}]}, {"conversations"}, {"instruction","input","output"},
{"question","answer"}, {"input_ids","labels"} and others of docs/data.md, or a folder with
train.jsonl and valid.jsonl. Answers are learned, questions are not.

How long rows are, how many examples they hold and how often the data are gone through
follows from the data, so that small ones get enough optimizer steps; what was chosen is
said, and flags win.

A run that does not fit in memory is refused before it begins, with flags that make it
fit.`,
		Flags: append([]cli.Flag{
			modelFlag(&cli.StringFlag{Name: "model", Aliases: []string{"m"}, Usage: "the base `MODEL` (default: embedded)"}),
			preFlag(),
			dataFlag(),
			&cli.StringFlag{Name: "adapter", Aliases: []string{"o"}, Usage: "write the adapter to `OUT.gguf`"},
			&cli.StringFlag{Name: "ollama", Usage: "after the training, have the running Ollama make the model `NAME` of the result"},
			&cli.StringFlag{Name: "full", Usage: "train all weights of a small model instead, and write the model to `OUT.gguf`"},
			inputFlag(&cli.StringFlag{Name: "init-adapter", Usage: "start from the adapter in `FILE`"}),

			&cli.IntFlag{Name: "rank", Aliases: []string{"r"}, Value: 16, Usage: "rank of the pairs"},
			&cli.Float64Flag{Name: "alpha", Value: 32, Usage: "scale of the pairs, times the rank"},
			&cli.StringSliceFlag{Name: "targets", Usage: "weights to adapt, by `NAME`, glob or group: attention, ffn, experts, router, all (repeat, or separate by commas; default: all)"},
			&cli.StringFlag{Name: "experts", Value: "all", Usage: "experts that get pairs: all, top:`N` of each layer by use on the data, or numbers as in 1,5,7"},
			&cli.BoolFlag{Name: "merge-only", Usage: "adapt also what llama.cpp would not honour, to merge the adapter into the base"},

			&cli.Float64Flag{Name: "lr", Value: d.Rate, Usage: "peak learning rate"},
			&cli.StringFlag{Name: "lr-schedule", Value: d.Schedule, Usage: strings.Join(train.Schedules, ", ")},
			&cli.Float64Flag{Name: "warmup", Value: d.Warmup, Usage: "warm-up, as a fraction of the run or a number of steps"},
			&cli.Float64Flag{Name: "weight-decay", Value: d.WeightDecay, Usage: "decoupled weight decay"},
			&cli.Float64Flag{Name: "clip", Value: d.Clip, Usage: "largest norm of the gradient, 0 for any"},
			&cli.Float64Flag{Name: "label-smoothing", Usage: "part of a target's probability that is spread over all tokens", DefaultText: "off"},
			&cli.Float64Flag{Name: "neftune-alpha", Usage: "NEFTune: in training, add uniform noise up to `ALPHA`/√(tokens·width) to embeddings", DefaultText: "off"},
			&cli.Float64Flag{Name: "router-aux-loss", Usage: "coefficient of a loss that balances the load of experts, added up over the layers", DefaultText: "off"},
			&cli.Float64Flag{Name: "router-z-loss", Usage: "coefficient of a loss that keeps the logits of routers small, added up over the layers", DefaultText: "off"},
			&cli.IntFlag{Name: "batch", Value: d.Batch, Usage: "rows computed together"},
			&cli.IntFlag{Name: "grad-accum", Value: d.GradAccum, Usage: "batches whose gradients make one step"},
			&cli.IntFlag{Name: "seq", Usage: "most tokens in a row", DefaultText: fmt.Sprintf("chosen from the data, at most %d and the model's context", train.DefaultSeq)},
			&cli.IntFlag{Name: "epochs", Usage: "times to go through the data", DefaultText: "chosen from the data, 3 to 10"},
			&cli.IntFlag{Name: "steps", Usage: "take just so many steps", DefaultText: "what --epochs needs"},
			&cli.BoolFlag{Name: "packing", Usage: "put several examples in a row; they do not see each other", DefaultText: "chosen from the data"},
			&cli.BoolFlag{Name: "no-packing", Usage: "one example a row"},
			&cli.BoolFlag{Name: "length-buckets", Usage: "put rows of similar lengths into a batch"},
			&cli.BoolFlag{Name: "checkpointing", Usage: "compute blocks twice to save memory"},
			&cli.Float64Flag{Name: "eval-split", Value: 0.05, Usage: "part of the data to hold out, where there is no evaluation file"},
			&cli.IntFlag{Name: "eval-every", Usage: "evaluate every `N` steps too", DefaultText: "only before and after"},
			&cli.IntFlag{Name: "eval-tokens", Value: d.EvalTokens, Usage: "evaluate at most about `N` held-out tokens, 0 for all"},
			&cli.Uint64Flag{Name: "seed", Value: d.Seed, Usage: "decides initial weights, order and split"},
			&cli.StringFlag{Name: "precision", Value: d.Precision, Usage: "f32, or auto for what the CPU does best"},

			&cli.StringFlag{Name: "sample", Usage: "show the answer to `PROMPT` before and after"},
			noEscapeFlag("--sample"),
			&cli.StringFlag{Name: "run-dir", Usage: "keep metrics.jsonl and the checkpoint in `DIR`"},
			&cli.BoolFlag{Name: "resume", Usage: "go on from the checkpoint in --run-dir"},
			&cli.IntFlag{Name: "save-every", Value: d.SaveEvery, Usage: "write the checkpoint every `N` steps, 0 for never"},
			&cli.StringFlag{Name: "max-resident", Usage: "hold at most `SIZE` in memory, the part of the base that is read included", DefaultText: "what is available"},
			forceFlag(),
			&cli.BoolFlag{Name: "plan-only", Usage: "tell from the header of MODEL alone what full rows of --seq tokens would take, and stop"},
			threadsFlag(), jsonFlag(),
		}, dataFlags()...),
		Action: func(c *cli.Context) error {
			if _, err := arguments(c); err != nil {
				return err
			}
			job, err := finetuneJob(c)
			if err == nil && c.Bool("plan-only") {
				return inFinetune(estimateFinetune(c, job))
			}
			var after *ollamaAfter
			if err == nil {
				after, err = checkOllamaAfter(c, job, merge)
			}
			var next []followup.Line
			if err == nil {
				next, err = runFinetune(c, job)
			}
			if err == nil {
				err = after.make(c)
			}
			if err == nil {
				sayNext(newConsole(c), next)
			}
			return inFinetune(err)
		},
	}
}

// inFinetune says of wrong usage which command it is of.
func inFinetune(err error) error {
	if errors.Is(err, train.ErrUsage) {
		return fmt.Errorf("finetune: %w", err)
	}
	return err
}

// finetuneJob is what the flags ask for.
func finetuneJob(c *cli.Context) (*train.Job, error) {
	j := train.NewJob()
	j.Model, j.Adapter, j.Full, j.Init = trainedModel(c), c.String("adapter"), c.String("full"), c.String("init-adapter")
	j.Rank, j.Alpha, j.MergeOnly = c.Int("rank"), float32(c.Float64("alpha")), c.Bool("merge-only")
	j.Seq, j.Threads = c.Int("seq"), c.Int("threads")
	j.Packing, j.EvalSplit = packingOf(c), c.Float64("eval-split")
	if err := setData(c, j); err != nil {
		return nil, err
	}
	j.Sample, j.RunDir, j.Resume, j.Force = escaped(c, c.String("sample")), c.String("run-dir"), c.Bool("resume"), c.Bool("force")
	if c.IsSet("experts") {
		j.Experts = c.String("experts")
	}
	for flag, field := range map[string]*float64{
		"lr": &j.Config.Rate, "warmup": &j.Config.Warmup, "weight-decay": &j.Config.WeightDecay, "clip": &j.Config.Clip,
		"label-smoothing": &j.Config.LabelSmoothing, "neftune-alpha": &j.Config.NEFTune,
		"router-aux-loss": &j.Config.RouterBalance, "router-z-loss": &j.Config.RouterZ,
	} {
		*field = c.Float64(flag)
	}
	for flag, field := range map[string]*int{
		"batch": &j.Config.Batch, "grad-accum": &j.Config.GradAccum, "epochs": &j.Config.Epochs, "steps": &j.Config.Steps,
		"eval-every": &j.Config.EvalEvery, "eval-tokens": &j.Config.EvalTokens, "save-every": &j.Config.SaveEvery,
	} {
		*field = c.Int(flag)
	}
	j.Config.Schedule, j.Config.Precision = c.String("lr-schedule"), c.String("precision")
	j.Config.Seed, j.Config.Checkpointing, j.Config.LengthBuckets = c.Uint64("seed"), c.Bool("checkpointing"), c.Bool("length-buckets")
	for _, t := range c.StringSlice("targets") {
		j.Targets = append(j.Targets, strings.FieldsFunc(t, func(r rune) bool { return r == ',' || r == ' ' })...)
	}
	if size := c.String("max-resident"); size != "" {
		var err error
		if j.MaxResident, err = parseSize(size); err != nil {
			return nil, err
		}
	}
	if err := setPre(c, j); err != nil {
		return nil, err
	}
	if j.Model == "" && len(j.Data) == 0 {
		useDemo(c, j)
	}
	return j, checkFinetuneFlags(c, j)
}

// packingOf is what --packing and --no-packing say; --packing=false is the latter.
func packingOf(c *cli.Context) train.Packing {
	switch {
	case c.Bool("no-packing") || c.IsSet("packing") && !c.Bool("packing"):
		return train.PackingOff
	case c.Bool("packing"):
		return train.PackingOn
	}
	return train.PackingAuto
}

// setPre takes --pre.
func setPre(c *cli.Context, j *train.Job) error {
	if !c.IsSet("pre") {
		return nil
	}
	base, err := modelSource(c, cmp.Or(j.Model, "the embedded base"))
	j.Pre = base.Pre
	return err
}

// useDemo sets what suits the embedded model and data, where the user did not.
func useDemo(c *cli.Context, j *train.Job) {
	demo := train.NewJob()
	demo.UseDemo()
	for flag, use := range map[string]func(){
		"lr":     func() { j.Config.Rate = demo.Config.Rate },
		"batch":  func() { j.Config.Batch = demo.Config.Batch },
		"epochs": func() { j.Config.Epochs = demo.Config.Epochs },
		"seq":    func() { j.Seq = demo.Seq },
	} {
		if !c.IsSet(flag) {
			use()
		}
	}
	if j.Packing == train.PackingAuto {
		j.Packing = demo.Packing
	}
}

// checkFinetuneFlags finds contradictions of flags that [train.Job.Check] does not see.
func checkFinetuneFlags(c *cli.Context, j *train.Job) error {
	newPairs := c.IsSet("rank") || c.IsSet("alpha") || c.IsSet("targets") || c.IsSet("experts") || c.IsSet("merge-only")
	switch {
	case j.Full != "" && (j.Init != "" || newPairs):
		return usagef("--full trains no pairs: --init-adapter, --rank, --alpha, --targets, --experts and --merge-only do not go with it")
	case j.Init != "" && newPairs:
		return usagef("--init-adapter brings its own rank, alpha, targets and experts")
	case c.IsSet("epochs") && c.Int("epochs") < 1:
		return usagef("--epochs %d: expected at least 1", c.Int("epochs"))
	case c.IsSet("packing") && c.IsSet("no-packing"):
		return usagef("--packing and --no-packing contradict each other")
	}
	return nil
}

// runFinetune does the job, prints the report as data or as text, and tells what can be done
// next.
func runFinetune(c *cli.Context, j *train.Job) (next []followup.Line, err error) {
	con := newConsole(c)
	j.Observer = finetuneObserver(con, j)
	r, err := j.Run(c.Context)
	if err != nil {
		return nil, err
	}
	next = followup.Trained{
		Model: j.Model, Pre: c.String("pre"), Adapter: j.Adapter, Full: j.Full, MergeOnly: r.MergeOnly, Ollama: c.IsSet("ollama"),
	}.Lines()
	if con.json {
		return next, con.printJSON(struct {
			*train.Report
			Next []followup.Line `json:"next"`
		}{r, next})
	}
	var b bytes.Buffer
	printFinetune(&b, r)
	_, err = con.out.Write(b.Bytes())
	return next, err
}

// estimateFinetune prints what the job would take.
func estimateFinetune(c *cli.Context, j *train.Job) error {
	con := newConsole(c)
	j.Observer = finetuneObserver(con, j)
	e, err := j.Estimate(c.Context)
	if err != nil {
		return err
	}
	if con.json {
		return con.printJSON(e)
	}
	printEstimate(con.out, j, e)
	return nil
}

// finetuneObserver shows on a console what a job does.
func finetuneObserver(con *console, j *train.Job) train.Observer {
	var bar *Progress // of the task at hand
	var plan train.Plan
	note := func(format string, args ...any) {
		if bar != nil {
			bar.Note(format, args...)
		} else {
			con.say(format, args...)
		}
	}
	return train.Observer{
		Note:   func(text string) { note("%s", text) },
		Detail: func(text string) { con.detail("%s", text) },
		Plan: func(r *train.Report) {
			if plan = r.Plan; plan.TokensPerSecond == 0 {
				printPlan(con, j, r)
			} else {
				printTime(con, j, r)
			}
		},
		Progress: func(p train.Progress) {
			switch {
			case bar == nil:
				bar = con.progress()
				bar.Start(p.Total, p.Unit, p.Task)
			case p.Over:
				bar.Done()
				bar = nil
			default:
				bar.Set(p.Done)
			}
		},
		Event: func(e train.Event) error {
			switch e.Type {
			case train.StepEvent:
				bar.Remark("loss %.4f, %.0f tokens/s", e.Loss, e.TokensPerSecond)
			case train.SkipEvent:
				note("step %d: skipped: %s", e.Step, e.Reason)
			case train.RollbackEvent:
				note("step %d: rolled back: %s", e.Step, e.Reason)
			case train.WarningEvent:
				note("step %d: warning: %s", e.Step, e.Reason)
			case train.EvalEvent:
				if e.Step > 0 && e.Step < plan.Steps {
					note("step %d: held-out loss %.4f", e.Step, e.Loss)
				}
			}
			return nil
		},
	}
}
