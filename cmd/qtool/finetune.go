package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"qtool/internal/adapt"
	"qtool/internal/loop"
)

func finetuneCommand() *cli.Command {
	d := loop.DefaultConfig()
	return &cli.Command{
		Name:  "finetune",
		Usage: "train a LoRA adapter on a model, quantized or not",
		UsageText: `qtool finetune [--model MODEL] [--data FILE] --adapter OUT.gguf

qtool finetune --adapter out.gguf
qtool finetune --model base-q4.gguf --data chats.jsonl --adapter mine.gguf --run-dir night
qtool finetune --model base-q4.gguf --data chats.jsonl --adapter mine.gguf --run-dir night --resume`,
		Description: `Without --model or --data it uses the small ones it carries in itself.

DATA is plain text, or JSON lines of {"text"}, {"prompt","completion"},
{"messages":[{"role","content"}]} or {"input_ids","labels"}, or a folder with
train.jsonl and valid.jsonl. Answers are learned, questions are not.

A run that does not fit in memory is refused before it begins, with flags that make it
fit.`,
		Flags: []cli.Flag{
			inputFlag(&cli.StringFlag{Name: "model", Aliases: []string{"m"}, Usage: "the base `MODEL` (default: embedded)"}),
			preFlag(),
			inputFlag(&cli.StringFlag{Name: "data", Aliases: []string{"d"}, Usage: "`FILE` or folder to learn from (default: embedded)"}),
			&cli.StringFlag{Name: "adapter", Aliases: []string{"o"}, Usage: "write the adapter to `OUT.gguf`"},
			&cli.StringFlag{Name: "full", Usage: "train all weights of a small model instead, and write the model to `OUT.gguf`"},
			inputFlag(&cli.StringFlag{Name: "init-adapter", Usage: "start from the adapter in `FILE`"}),

			&cli.IntFlag{Name: "rank", Aliases: []string{"r"}, Value: 16, Usage: "rank of the pairs"},
			&cli.Float64Flag{Name: "alpha", Value: 32, Usage: "scale of the pairs, times the rank"},
			&cli.StringSliceFlag{Name: "targets", Usage: "weights to adapt, by `NAME`, glob or group: attention, ffn, experts, router, all (repeat, or separate by commas; default: all)"},
			&cli.StringFlag{Name: "experts", Value: "all", Usage: "experts that get pairs: all, top:`N` of each layer by use on the data, or numbers as in 1,5,7"},
			&cli.BoolFlag{Name: "merge-only", Usage: "adapt also what llama.cpp would not honour, to merge the adapter into the base"},

			&cli.Float64Flag{Name: "lr", Value: d.Rate, Usage: "peak learning rate"},
			&cli.StringFlag{Name: "lr-schedule", Value: d.Schedule, Usage: strings.Join(loop.Schedules, ", ")},
			&cli.Float64Flag{Name: "warmup", Value: d.Warmup, Usage: "warm-up, as a fraction of the run or a number of steps"},
			&cli.Float64Flag{Name: "weight-decay", Value: d.WeightDecay, Usage: "decoupled weight decay"},
			&cli.Float64Flag{Name: "clip", Value: d.Clip, Usage: "largest norm of the gradient, 0 for any"},
			&cli.Float64Flag{Name: "router-aux-loss", Usage: "coefficient of a loss that balances the load of experts, added up over the layers", DefaultText: "off"},
			&cli.Float64Flag{Name: "router-z-loss", Usage: "coefficient of a loss that keeps the logits of routers small, added up over the layers", DefaultText: "off"},
			&cli.IntFlag{Name: "batch", Value: d.Batch, Usage: "rows computed together"},
			&cli.IntFlag{Name: "grad-accum", Value: d.GradAccum, Usage: "batches whose gradients make one step"},
			&cli.IntFlag{Name: "seq", Usage: "most tokens in a row", DefaultText: fmt.Sprintf("the model's context, at most %d", defaultSeq)},
			&cli.IntFlag{Name: "epochs", Value: d.Epochs, Usage: "times to go through the data"},
			&cli.IntFlag{Name: "steps", Usage: "take just so many steps", DefaultText: "what --epochs needs"},
			&cli.BoolFlag{Name: "packing", Value: true, Usage: "put several examples in a row; they do not see each other"},
			&cli.BoolFlag{Name: "no-packing", Usage: "one example a row"},
			&cli.BoolFlag{Name: "checkpointing", Usage: "compute blocks twice to save memory"},
			&cli.Float64Flag{Name: "eval-split", Value: 0.05, Usage: "part of the data to hold out, where there is no evaluation file"},
			&cli.IntFlag{Name: "eval-every", Usage: "evaluate every `N` steps too", DefaultText: "only before and after"},
			&cli.IntFlag{Name: "eval-tokens", Value: d.EvalTokens, Usage: "evaluate at most about `N` held-out tokens, 0 for all"},
			&cli.Uint64Flag{Name: "seed", Value: d.Seed, Usage: "decides initial weights, order and split"},
			&cli.StringFlag{Name: "precision", Value: d.Precision, Usage: "f32, or auto for what the CPU does best"},

			&cli.StringFlag{Name: "text-field", Usage: "key of the text in JSON records"},
			&cli.StringFlag{Name: "prompt-field", Usage: "key of the prompt"},
			&cli.StringFlag{Name: "completion-field", Usage: "key of the completion"},
			&cli.BoolFlag{Name: "truncate", Usage: "cut records that are longer than --seq"},
			&cli.BoolFlag{Name: "split-text", Usage: "cut longer {\"text\"} records into several"},

			&cli.StringFlag{Name: "sample", Usage: "show the answer to `PROMPT` before and after"},
			&cli.StringFlag{Name: "run-dir", Usage: "keep metrics.jsonl and the checkpoint in `DIR`"},
			&cli.BoolFlag{Name: "resume", Usage: "go on from the checkpoint in --run-dir"},
			&cli.IntFlag{Name: "save-every", Value: d.SaveEvery, Usage: "write the checkpoint every `N` steps, 0 for never"},
			&cli.StringFlag{Name: "max-resident", Usage: "hold at most `SIZE` in memory, the part of the base that is read included", DefaultText: "what is available"},
			forceFlag(),
			&cli.BoolFlag{Name: "plan-only", Usage: "tell from the header of MODEL alone what full rows of --seq tokens would take, and stop"},
			threadsFlag(), jsonFlag(),
		},
		Action: func(c *cli.Context) error {
			if _, err := arguments(c); err != nil {
				return err
			}
			opt, err := finetuneOptionsOf(c)
			if err != nil {
				return err
			}
			f := &finetuning{finetuneOptions: *opt, con: newConsole(c)}
			defer f.close()
			if f.planOnly {
				return f.foretell(c.Context)
			}
			return f.run(c.Context)
		},
	}
}

// defaultSeq bounds the length of rows where the user does not say: attention
// costs grow with its square.
const defaultSeq = 2048

// finetuneOptions are the flags of finetune.
type finetuneOptions struct {
	model, data                             string // "" is the embedded one
	pre                                     string // the pre-tokenizer of a folder
	adapter, full, init                     string // outputs, and the adapter to start from
	rank                                    int
	alpha                                   float32
	targets                                 []string
	mergeOnly                               bool
	experts                                 adapt.Experts
	config                                  loop.Config
	seq, threads                            int
	packing                                 bool
	evalSplit                               float64
	textField, promptField, completionField string // keys of JSON records
	truncate, splitText                     bool
	sample                                  string
	runDir                                  string
	resume, planOnly, force                 bool
	maxResident                             int64 // bytes; 0 is what is available

	isSet func(flag string) bool
}

func finetuneOptionsOf(c *cli.Context) (*finetuneOptions, error) {
	o := &finetuneOptions{
		model: c.String("model"), data: c.String("data"),
		adapter: c.String("adapter"), full: c.String("full"), init: c.String("init-adapter"),
		rank: c.Int("rank"), alpha: float32(c.Float64("alpha")), mergeOnly: c.Bool("merge-only"),
		seq: c.Int("seq"), threads: c.Int("threads"),
		packing: c.Bool("packing") && !c.Bool("no-packing"), evalSplit: c.Float64("eval-split"),
		textField: c.String("text-field"), promptField: c.String("prompt-field"), completionField: c.String("completion-field"),
		truncate: c.Bool("truncate"), splitText: c.Bool("split-text"),
		sample: c.String("sample"), runDir: c.String("run-dir"), resume: c.Bool("resume"), planOnly: c.Bool("plan-only"), force: c.Bool("force"),
		isSet: c.IsSet,
	}
	var err error
	if o.experts, err = adapt.ParseExperts(c.String("experts")); err != nil {
		return nil, usagef("finetune: --%v", err)
	}
	o.config = loop.DefaultConfig()
	for flag, field := range map[string]*float64{
		"lr": &o.config.Rate, "warmup": &o.config.Warmup, "weight-decay": &o.config.WeightDecay, "clip": &o.config.Clip,
		"router-aux-loss": &o.config.RouterBalance, "router-z-loss": &o.config.RouterZ,
	} {
		*field = c.Float64(flag)
	}
	for flag, field := range map[string]*int{
		"batch": &o.config.Batch, "grad-accum": &o.config.GradAccum, "epochs": &o.config.Epochs, "steps": &o.config.Steps,
		"eval-every": &o.config.EvalEvery, "eval-tokens": &o.config.EvalTokens, "save-every": &o.config.SaveEvery,
	} {
		*field = c.Int(flag)
	}
	o.config.Schedule, o.config.Precision = c.String("lr-schedule"), c.String("precision")
	o.config.Seed, o.config.Checkpointing = c.Uint64("seed"), c.Bool("checkpointing")
	for _, t := range c.StringSlice("targets") {
		o.targets = append(o.targets, strings.FieldsFunc(t, func(r rune) bool { return r == ',' || r == ' ' })...)
	}
	if size := c.String("max-resident"); size != "" {
		var err error
		if o.maxResident, err = parseSize(size); err != nil {
			return nil, err
		}
	}
	if c.IsSet("pre") {
		base, err := modelSource(c, cmp.Or(o.model, "the embedded base"))
		if err != nil {
			return nil, err
		}
		o.pre = base.pre
	}
	if o.model == "" && o.data == "" {
		o.useDemo()
	}
	return o, o.check()
}

// useDemo sets what suits the embedded model and data, where the user did not.
func (o *finetuneOptions) useDemo() {
	set := func(flag string, apply func()) {
		if !o.isSet(flag) {
			apply()
		}
	}
	set("lr", func() { o.config.Rate = 3e-3 })
	set("batch", func() { o.config.Batch = 4 })
	set("seq", func() { o.seq = 128 })
	set("epochs", func() { o.config.Epochs = 4 })
}

// check finds contradictions that need no model.
func (o *finetuneOptions) check() error {
	switch {
	case o.adapter == "" && o.full == "" && !o.planOnly:
		return usagef("finetune: --adapter OUT.gguf says where to write the result")
	case o.adapter != "" && o.full != "":
		return usagef("finetune: --adapter trains pairs, --full all weights: give one of them")
	case o.full != "" && (o.init != "" || o.shapesPairs()):
		return usagef("finetune: --full trains no pairs: --init-adapter, --rank, --alpha, --targets, --experts and --merge-only do not go with it")
	case o.init != "" && o.shapesPairs():
		return usagef("finetune: --init-adapter brings its own rank, alpha, targets and experts")
	case o.resume && o.runDir == "":
		return usagef("finetune: --resume needs --run-dir, where the checkpoint is")
	case o.seq < 0 || o.seq == 1:
		return usagef("finetune: --seq %d: a row needs at least 2 tokens", o.seq)
	case !(o.evalSplit >= 0 && o.evalSplit < 1):
		return usagef("finetune: --eval-split %g: expected a part of the data, from 0 to below 1", o.evalSplit)
	case o.isSet("packing") && o.isSet("no-packing"):
		return usagef("finetune: --packing and --no-packing contradict each other")
	case o.full == "" && (o.rank < 1 || o.rank > 1<<16):
		return usagef("finetune: --rank %d: expected at least 1", o.rank)
	case o.full == "" && !(o.alpha > 0):
		return usagef("finetune: --alpha %g: expected a positive number", o.alpha)
	}
	if err := o.config.Check(); err != nil {
		return usagef("finetune: %v", err)
	}
	return nil
}

// shapesPairs reports whether the user said how to make new pairs.
func (o *finetuneOptions) shapesPairs() bool {
	return o.isSet("rank") || o.isSet("alpha") || o.isSet("targets") || o.isSet("experts") || o.isSet("merge-only")
}

// output is the file to write.
func (o *finetuneOptions) output() string {
	if o.full != "" {
		return o.full
	}
	return o.adapter
}
