package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"qtool/gguf"
	"qtool/internal/outputs"
	"qtool/internal/printable"
	"qtool/internal/source"
	"qtool/lora"
)

// extractedRank is the highest rank of a pair that --energy takes, unless --rank says more.
const extractedRank = 512

func loraExtractCommand() *cli.Command {
	return &cli.Command{
		Name:  "extract",
		Usage: "make an adapter of the difference of two models",
		UsageText: `qtool lora extract --base A --tuned B (--rank R | --energy SHARE) OUT.gguf

qtool lora extract --base qwen3-0.6b-f16.gguf --tuned qwen3-0.6b-tuned/ --rank 32 tuned.gguf
qtool lora extract --base base/ --tuned tuned/ --energy 0.95 --targets attention tuned.gguf`,
		Description: `Every weight for which llama.cpp takes a LoRA pair, and that differs, gets the pair that is
nearest to the difference of all of its rank: the leading part of the singular value
decomposition. --energy chooses the rank of each tensor. What is kept is printed by kind, as
the share 1 − ‖residual‖²/‖D‖² of the difference D.

What differs and cannot be in an adapter (norms, biases, a tied embedding, settings) is named
on stderr, and so is what looks like quantization alone and gets no pair. Best are two
models in one unquantized type.`,
		Flags: []cli.Flag{
			modelFlag(&cli.StringFlag{Name: "base", Usage: "the `MODEL` that the adapter will be used on: a .gguf file, a Hugging Face folder or ollama:NAME"}),
			modelFlag(&cli.StringFlag{Name: "tuned", Usage: "the `MODEL` that was made of it"}),
			&cli.IntFlag{Name: "rank", Usage: "rank `R` of every pair; with --energy the highest", DefaultText: "with --energy: 512"},
			energyFlag("difference"),
			&cli.StringSliceFlag{Name: "targets", Usage: "weights to compare, by `NAME`, glob or group: attention, ffn, experts, router, all (repeat, or separate by commas)", DefaultText: "all that llama.cpp takes pairs for"},
			&cli.BoolFlag{Name: "merge-only", Usage: "also make pairs that have an effect only once they are merged into the base"},
			&cli.BoolFlag{Name: "noise", Usage: "also make pairs of what looks like quantization alone: an adapter that repairs a quantized base"},
			&cli.StringFlag{Name: "name", Usage: "`NAME` of the adapter", DefaultText: "that of the tuned model"},
			loraSeedFlag("decides the random start of the decomposition"),
			preFlag(),
			threadsFlag(),
			forceFlag(),
			jsonFlag(),
		},
		Action: runLoraExtract,
	}
}

func energyFlag(of string) cli.Flag {
	return &cli.Float64Flag{Name: "energy", Usage: "choose the rank of each pair that holds this `SHARE` of the square of its " + of + ", as in 0.95"}
}

func loraSeedFlag(does string) cli.Flag {
	return &cli.Uint64Flag{Name: "seed", Value: 42, Usage: does}
}

// rankOrEnergy checks the two flags that say how large pairs become.
func rankOrEnergy(c *cli.Context) error {
	energy := c.Float64("energy")
	switch {
	case !c.IsSet("rank") && !c.IsSet("energy"):
		return usagef("lora %s: --rank R or --energy SHARE is missing", c.Command.Name)
	case c.IsSet("rank") && c.Int("rank") < 1:
		return usagef("--rank %d: expected 1 or more", c.Int("rank"))
	case c.IsSet("energy") && !(energy > 0 && energy <= 1):
		return usagef("--energy %g: expected a share above 0 and at most 1, as in 0.95", energy)
	}
	return nil
}

// onlyOutput is the one argument of a command that writes an adapter.
func onlyOutput(c *cli.Context, usage string) (string, error) {
	if c.NArg() != 1 {
		return "", usagef("lora %s: one OUT.gguf is wanted, and there are %d arguments; usage: %s", c.Command.Name, c.NArg(), usage)
	}
	return c.Args().First(), nil
}

func runLoraExtract(c *cli.Context) error {
	x := &extraction{c: c, con: newConsole(c)}
	if err := x.read(); err != nil {
		return err
	}
	var err error
	if x.base, x.tuned, err = openBoth(c, c.String("base"), c.String("tuned")); err != nil {
		return err
	}
	defer x.base.Close()
	defer x.tuned.Close()
	if err := x.checkMemory(); err != nil {
		return err
	}
	bar := x.con.progress()
	defer bar.Done()
	x.options.Progress = perTensor(bar, "weights", "decomposing")
	if x.found, err = lora.Extract(c.Context, x.base, x.tuned, x.options); err != nil {
		return fmt.Errorf("comparing %s with %s: %w", c.String("tuned"), c.String("base"), err)
	}
	bar.Done()
	if err := x.identify(); err != nil {
		return err
	}
	if err := writeAdapter(c.Context, x.found.Adapter, x.output, x.base, x.tuned); err != nil {
		return err
	}
	x.remark()
	return x.report()
}

// perTensor is what lora's functions tell their progress.
func perTensor(bar *Progress, unit, label string) func(tensor string, done, total int64) {
	begun := false
	return func(tensor string, done, total int64) {
		if !begun {
			bar.Start(total, unit, label)
			begun = true
		}
		bar.Remark("%s", printable.Text(tensor))
		bar.Set(done)
	}
}

// openBoth opens two models, with what --pre says of the folders among them.
func openBoth(c *cli.Context, first, second string) (a, b source.Model, err error) {
	from, err := modelSources(c, first, second)
	if err != nil {
		return nil, nil, err
	}
	if a, err = source.Open(from[0]); err != nil {
		return nil, nil, err
	}
	if b, err = source.Open(from[1]); err != nil {
		a.Close()
		return nil, nil, err
	}
	return a, b, nil
}

// writeAdapter writes a, if the disk has room for it and what it was made from is unchanged.
func writeAdapter(ctx context.Context, a *lora.Adapter, path string, from ...gguf.Source) error {
	m, err := a.Model()
	if err != nil {
		return err
	}
	var bytes int64
	for _, t := range m.Tensors() {
		bytes += t.Size()
	}
	if err := checkSpace(need{path, bytes}); err != nil {
		return err
	}
	return a.WriteFile(ctx, path, from...)
}

// extraction is one run of lora extract.
type extraction struct {
	c           *cli.Context
	con         *console
	output      string
	options     lora.Extracting
	base, tuned source.Model
	found       *lora.Extraction
}

// read reads the command line.
func (x *extraction) read() (err error) {
	c := x.c
	const usage = "qtool lora extract --base A --tuned B (--rank R | --energy SHARE) OUT.gguf"
	if x.output, err = onlyOutput(c, usage); err != nil {
		return err
	}
	for _, flag := range []string{"base", "tuned"} {
		if !c.IsSet(flag) {
			return usagef("lora extract: --%s is missing; usage: %s", flag, usage)
		}
	}
	if err := rankOrEnergy(c); err != nil {
		return err
	}
	x.options = lora.Extracting{
		Rank: c.Int("rank"), Energy: c.Float64("energy"), MergeOnly: c.Bool("merge-only"), Noise: c.Bool("noise"),
		Seed: c.Uint64("seed"), Threads: c.Int("threads"), Targets: targetsOf(c),
	}
	if x.options.Rank == 0 {
		x.options.Rank = extractedRank
	}
	return outputs.Check(slices.Concat(source.Paths(c.String("base")), source.Paths(c.String("tuned"))), x.output)
}

// targetsOf are the patterns of --targets.
func targetsOf(c *cli.Context) (patterns []string) {
	for _, t := range c.StringSlice("targets") {
		patterns = append(patterns, strings.FieldsFunc(t, func(r rune) bool { return r == ',' || r == ' ' })...)
	}
	return patterns
}

// checkMemory refuses pairs that are larger than the memory, where their rank is known.
func (x *extraction) checkMemory() error {
	if x.options.Energy > 0 {
		return nil
	}
	targets, err := lora.Targets(x.base)
	if err != nil {
		return fmt.Errorf("%s: %w", x.c.String("base"), err)
	}
	var bytes int64
	for _, t := range targets {
		if t.Refused == "" || x.options.MergeOnly {
			bytes += 4 * int64(min(x.options.Rank, t.In, t.Out)) * int64(t.In+t.Out) * int64(t.Experts)
		}
	}
	return checkOwnMemory(x.c, x.con, bytes, "holding the adapter", "take a lower --rank, or fewer --targets")
}

// identify writes into the adapter where it comes from.
func (x *extraction) identify() error {
	bar := x.con.progress()
	defer bar.Done()
	var of [2]lora.Base
	for i, m := range []source.Model{x.base, x.tuned} {
		var total int64
		for _, t := range m.Tensors() {
			total += t.Size()
		}
		bar.Start(total, "bytes", []string{"identifying the base", "identifying the tuned model"}[i])
		var err error
		if of[i], err = lora.Identify(x.c.Context, m, bar.Set); err != nil {
			return err
		}
		bar.Done()
	}
	md := x.found.Adapter.Extra
	tuned := cmp.Or(of[1].Name, modelName(x.c.String("tuned")))
	md.Set("general.name", cmp.Or(x.c.String("name"), tuned))
	of[0].Record(md)
	md.Set("qtool.extract.version", buildVersion().Version)
	md.Set("qtool.extract.tuned.name", tuned)
	md.Set("qtool.extract.tuned.sha256", of[1].SHA256)
	md.Set("qtool.extract.rank", uint32(x.options.Rank))
	if x.options.Energy > 0 {
		md.Set("qtool.extract.energy", x.options.Energy)
	}
	md.Set("qtool.extract.kept", lora.FitTogether(x.found.Fits).Kept)
	md.Set("qtool.extract.seed", x.options.Seed)
	if len(x.options.Targets) > 0 {
		md.Set("qtool.extract.targets", x.options.Targets)
	}
	return nil
}

// manyNoise is a share of quantization in a difference that is worth a word.
const manyNoise = 0.05

// remark tells what is not in the adapter, and why.
func (x *extraction) remark() {
	say := x.con.say
	byWhy := map[string][]string{}
	var whys []string
	for _, l := range x.found.Left {
		if byWhy[l.Why] == nil {
			whys = append(whys, l.Why)
		}
		byWhy[l.Why] = append(byWhy[l.Why], l.Tensor)
	}
	for _, why := range whys {
		say("not in the adapter: %s (%s)", abbreviate(byWhy[why], 4), why)
	}
	for _, s := range x.found.Settings {
		say("not in the adapter: %s", printable.Text(s))
	}
	if n := x.found.Noise; len(n) > 0 {
		var names []string
		for _, l := range n {
			names = append(names, l.Tensor)
		}
		say("%s differ by no more than quantization (%s) and get no pair: %s; --noise makes pairs of them", printable.Count(len(n), "tensor"), n[0].Why, abbreviate(names, 4))
	}
	all := lora.FitTogether(x.found.Fits)
	if all.Noise > manyNoise {
		say("warning: about %.0f %% of what the pairs were made of is the error of quantization, by which base and tuned model differ as well; give both in one unquantized type", 100*all.Noise)
	}
	short := 0
	for _, f := range x.found.Fits {
		if f.Short {
			short++
		}
	}
	if short > 0 {
		say("%s hold less than %g: a rank above %d would be needed, which a higher --rank allows", printable.Count(short, "pair"), x.options.Energy, x.options.Rank)
	}
	if x.found.Adapter.MergeOnly {
		say("llama.cpp does not honour all of these pairs: the adapter is for merging into its base only")
	}
}

// modelName is a model's name by where it lies.
func modelName(path string) string {
	path = strings.TrimRight(path, `/\`)
	return strings.TrimSuffix(path[strings.LastIndexAny(path, `/\:`)+1:], ".gguf")
}

// extractReport is the JSON of lora extract.
type extractReport struct {
	Output    string       `json:"output"`
	Pairs     int          `json:"pairs"`
	Alpha     float32      `json:"alpha"`
	All       fitReport    `json:"all"`
	Kinds     []fitReport  `json:"kinds"`
	Tensors   []fitReport  `json:"tensors"`
	Unchanged []string     `json:"unchanged,omitempty"`
	Noise     []leftReport `json:"quantization_only,omitempty"`
	Left      []leftReport `json:"left_out,omitempty"`
	Settings  []string     `json:"settings,omitempty"`
	MergeOnly bool         `json:"merge_only,omitempty"`
}

// leftReport is a difference that the adapter does not hold.
type leftReport struct {
	Tensor string  `json:"tensor"`
	Why    string  `json:"why"`
	Change float64 `json:"change,omitempty"`
}

func leftReports(of []lora.Left) (out []leftReport) {
	for _, l := range of {
		out = append(out, leftReport(l))
	}
	return out
}

func (x *extraction) report() error {
	r := &extractReport{
		Output: x.output, Pairs: len(x.found.Fits), Alpha: x.found.Adapter.Alpha, Unchanged: x.found.Unchanged,
		Noise: leftReports(x.found.Noise), Left: leftReports(x.found.Left), Settings: x.found.Settings, MergeOnly: x.found.Adapter.MergeOnly,
	}
	r.All, r.Kinds, r.Tensors = describeFits(x.found.Fits)
	if x.con.json {
		return x.con.printJSON(r)
	}
	x.con.say("%s: %s, alpha %g; %s unchanged", x.output, printable.Count(r.Pairs, "pair"), r.Alpha, printable.Count(len(r.Unchanged), "tensor"))
	return printFits(x.con, r.All, r.Kinds, r.Tensors, fitChange, fitNoise)
}
