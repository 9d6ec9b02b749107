package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"qtool/internal/outputs"
	"qtool/internal/printable"
	"qtool/internal/source"
	"qtool/lora"
	"qtool/quantize"
)

func loraMergeCommand() *cli.Command {
	return &cli.Command{
		Name:  "merge",
		Usage: "add adapters to the weights of their base",
		UsageText: `qtool lora merge --model BASE ADAPTER[:SCALE]... OUT.gguf

qtool lora merge --model model-q4_k_m.gguf mine.gguf merged.gguf
qtool lora merge --model model-q4_k_m.gguf --keep 0.9 --check-data text.txt mine.gguf merged.gguf
qtool lora merge --model model-q4_k_m.gguf --source model-f16.gguf style.gguf:0.5 facts.gguf merged.gguf
qtool lora merge --model model-f16.gguf --type Q4_K_M --imatrix imatrix.gguf mine.gguf merged.gguf`,
		Description: `ADAPTER is a .gguf file, or a folder of PEFT or mlx-lm as lora convert reads it.

The changed weights W + SCALE·alpha/rank·B·A are stored in the type that W has, or
in that of --type or a target; all others are copied. Storing them loses something: what is
kept of the adapter's change ΔW is printed for every kind of tensor, as the share ⟨D,ΔW⟩/‖ΔW‖²
of it that is in the difference D of the stored weight and W.

--keep raises the types of tensors that keep less. --source takes W from the model before it
was quantized, which costs no bytes. --check-data measures how far the merged model's
predictions are from those of the base with its adapters.

--out-hf writes safetensors in the types of the base, a folder, with all files beside them.`,
		Flags: append([]cli.Flag{
			modelFlag(&cli.StringFlag{Name: "model", Aliases: []string{"m"}, Usage: "the `BASE`: a .gguf file, a Hugging Face folder or ollama:NAME"}),
			modelFlag(&cli.StringFlag{Name: "source", Usage: "add the changes to the weights of `MODEL`, from which the base was quantized"}),
			&cli.Float64Flag{Name: "keep", Usage: "raise the types of tensors until `SHARE` of the change of each survives, as in 0.9"},
			inputFlag(&cli.StringFlag{Name: "check-data", Usage: "compare the merged model with base and adapters on the text of `FILE`"}),
			&cli.IntFlag{Name: "context", Aliases: []string{"c"}, Usage: "with --check-data: windows of `N` tokens", DefaultText: "512, or the model's context if that is less"},
			&cli.IntFlag{Name: "chunks", Usage: "with --check-data: compare `N` windows at most", DefaultText: "all"},
			&cli.StringFlag{Name: "name", Usage: "`NAME` of the merged model", DefaultText: "that of the base and those of the adapters"},
			&cli.BoolFlag{Name: "force-base", Usage: "merge an adapter that was trained on another model"},
			&cli.StringFlag{Name: "type", Usage: "file `TYPE` to make, as with quantize", DefaultText: "the types that the tensors have"},
			&cli.BoolFlag{Name: "pure", Usage: "give all weights the same type, without the mix of TYPE"},
			&cli.StringSliceFlag{Name: "tensor-type", Usage: "store the tensors that PATTERN finds as TYPE: `PATTERN=TYPE`; may be repeated"},
			inputFlag(&cli.StringFlag{Name: "imatrix", Usage: "weigh columns by the importance matrix `FILE`"}),
			&cli.BoolFlag{Name: "allow-requantize", Usage: "with a type or a target: convert tensors that are quantized already"},
			&cli.BoolFlag{Name: "keep-split", Usage: "write the same shards that the base has"},
			&cli.StringFlag{Name: "split-max-size", Usage: "write shards of at most `SIZE`, such as 2G or 1.5GiB"},
			&cli.BoolFlag{Name: "hashes", Usage: "record hashes of all that is in the file, which qtool verify compares"},
			&cli.StringFlag{Name: "out-hf", Usage: "write the Hugging Face folder `FOLDER` instead of OUT.gguf; the base must be one as well"},
			&cli.BoolFlag{Name: "dry-run", Usage: "print what is kept of the changes, and write nothing"},
			preFlag(),
			threadsFlag(),
			forceFlag(),
			jsonFlag(),
		}, targetFlags()...),
		Action: runLoraMerge,
	}
}

// merge is one run of lora merge.
type merge struct {
	c        *cli.Context
	con      *console
	adapters []*mergedAdapter
	output   string
	plan     quantize.Options
	target   *quantize.Target
	keep     float64

	base     source.Model
	identity lora.Base
	weights  *lora.Adapter // all adapters in one
	sum      *lora.Sum
	// weightsPath is the model whose weights are changed: the base, or --source.
	weightsPath string
	check       *mergeCheck // nil without --check-data
	survivals   []lora.Survival
	raised      int
}

func runLoraMerge(c *cli.Context) error {
	m, err := newMerge(c)
	if err != nil {
		return err
	}
	text := ""
	if c.IsSet("check-data") {
		if text, err = readText(c.Context, m.con, "check-data", c.String("check-data")); err != nil {
			return err
		}
	}
	calibration, err := readCalibration(c, m.con)
	if err != nil {
		return err
	}
	importance, err := importanceFor(c, m.con)
	if err != nil {
		return err
	}
	defer importance.Close()
	m.plan.Inputs, m.plan.Importance = importance.inputs(), importance.weights
	if err := m.checkMemory(); err != nil {
		return err
	}
	if m.base, err = openModel(c, c.String("model")); err != nil {
		return err
	}
	defer m.base.Close()
	if err := m.openAdapters(); err != nil {
		return err
	}
	unquantized, err := m.add()
	if err != nil {
		return err
	}
	if unquantized != nil {
		defer unquantized.Close()
	}
	if err := m.identify(); err != nil {
		return err
	}
	if c.IsSet("out-hf") {
		return m.writeFolder(c.String("out-hf"))
	}
	if text != "" {
		if m.check, err = newMergeCheck(m, text); err != nil {
			return err
		}
		defer m.check.Close()
	}
	plan, err := m.makePlan(calibration)
	if err != nil {
		return err
	}
	if err := importance.report(m.con, plan); err != nil {
		return err
	}
	m.plan.Metadata = append(importance.metadata, m.metadata()...)
	return m.finish(plan)
}

// newMerge reads the command line.
func newMerge(c *cli.Context) (m *merge, err error) {
	m = &merge{c: c, con: newConsole(c), keep: c.Float64("keep")}
	args := c.Args().Slice()
	if n := len(args); n > 0 && !c.IsSet("out-hf") && (!c.Bool("dry-run") || n > 1 && !isFile(scaledPath(args[n-1]))) {
		m.output, args = args[n-1], args[:n-1]
	}
	const usage = "usage: qtool lora merge --model BASE ADAPTER[:SCALE]... OUT.gguf"
	switch {
	case !c.IsSet("model"):
		return nil, usagef("lora merge: --model is missing; %s", usage)
	case len(args) == 0:
		return nil, usagef("lora merge: an adapter and OUT.gguf (or --out-hf) are wanted; %s", usage)
	case c.IsSet("keep") && !(m.keep > 0 && m.keep < 1):
		return nil, usagef("--keep %g: expected a share between 0 and 1, as in 0.9", m.keep)
	case c.Int("context") < 0 || c.Int("chunks") < 0:
		return nil, usagef("--context and --chunks cannot be negative")
	case !c.IsSet("check-data") && (c.IsSet("context") || c.IsSet("chunks")):
		return nil, usagef("--context and --chunks are for --check-data")
	case c.IsSet("check-data") && c.Bool("dry-run"):
		return nil, usagef("--check-data compares the model that is written, and --dry-run writes none")
	}
	if c.IsSet("out-hf") {
		if err := checkFolderFlags(c); err != nil {
			return nil, err
		}
	}
	for _, arg := range args {
		a, err := parseMerged("lora merge", arg)
		if err != nil {
			return nil, err
		}
		m.adapters = append(m.adapters, a)
	}
	if m.plan, err = quantizeOptions(c); err != nil {
		return nil, err
	}
	if m.target, err = readTarget(c); err != nil {
		return nil, err
	}
	typed := c.IsSet("type") || m.target != nil
	switch {
	case m.target != nil && m.keep > 0:
		return nil, usagef("a target sets the size, and --keep the loss: give one of them")
	case !typed && (c.Bool("pure") || c.Bool("allow-requantize")):
		return nil, usagef("--pure and --allow-requantize are for --type and targets; without them all tensors keep their types")
	}
	if !typed {
		m.plan.FileType, m.plan.KeepOrder = "COPY", true
	}
	if _, err := splitLimit(c); err != nil {
		return nil, err
	}
	if m.output == "" {
		return m, nil
	}
	return m, outputs.CheckModel(m.inputs(), m.output, c.Bool("keep-split") || c.IsSet("split-max-size"))
}

// inputs are all files that are read.
func (m *merge) inputs() []string {
	inputs := slices.Concat(source.Paths(m.c.String("model")), source.Paths(m.c.String("source")),
		[]string{m.c.String("imatrix"), m.c.String("calibration"), m.c.String("check-data")})
	for _, a := range m.adapters {
		inputs = append(inputs, a.Path)
	}
	return inputs
}

// makePlan chooses the types and measures what they keep.
func (m *merge) makePlan(calibration string) (plan *quantize.Plan, err error) {
	if m.target != nil && m.output != "" && !m.c.Bool("dry-run") {
		if err := checkSpace(need{m.output, m.target.DataBytes(m.base)}); err != nil {
			return nil, err
		}
	}
	m.plan.Stored = m.sum.Stored()
	if plan, err = makePlan(m.c, m.con, m.base, m.sum.Model(), m.plan, m.target, calibration); err != nil {
		return nil, fmt.Errorf("%s: %w", m.c.String("model"), err)
	}
	for _, remark := range plan.Remarks {
		m.con.say("%s", remark)
	}
	for _, note := range plan.Notes() {
		m.con.say("%s", note)
	}
	return plan, nil
}

// measure finds out what is kept, and raises types.
func (m *merge) measure(plan *quantize.Plan) (err error) {
	bar := m.con.progress()
	defer bar.Done()
	measuring := lora.Measuring{Threads: m.c.Int("threads"), Candidates: quantize.CandidateTypes(m.plan.Importance != nil)}
	measured := func(label string) func(tensor string, done, total int64) {
		begun := false
		return func(tensor string, done, total int64) {
			if !begun {
				bar.Start(total, "weights", label)
				begun = true
			}
			bar.Remark("%s", printable.Text(tensor))
			bar.Set(done)
		}
	}
	measuring.Progress = measured("measuring what is kept")
	if m.survivals, err = m.sum.Survival(m.c.Context, plan, measuring); err != nil {
		return fmt.Errorf("%s: %w", m.weightsPath, err)
	}
	if m.keep == 0 {
		return nil
	}
	before := plan.ToBytes()
	measuring.Progress = measured("trying types")
	if m.raised, err = m.sum.Keep(m.c.Context, plan, m.survivals, m.keep, measuring); err != nil {
		return fmt.Errorf("%s: %w", m.weightsPath, err)
	}
	bar.Note("--keep %g: %d of %d changed tensors got types of more bits, %s more in all", m.keep, m.raised, len(m.survivals), printable.Bytes(plan.ToBytes()-before))
	var less []string
	for _, s := range m.survivals {
		if s.Share() < m.keep {
			less = append(less, s.Tensor)
		}
	}
	if len(less) > 0 {
		bar.Note("%d tensors keep less all the same, and can have no other type: %s", len(less), abbreviate(less, 8))
	}
	return nil
}

// keptWell is a share of all changes below which a merge is worth a word.
const keptWell = 0.8

// warn says what to do about changes that are mostly lost.
func (m *merge) warn() {
	if len(m.survivals) == 0 {
		return
	}
	all := lora.Together(m.survivals)
	if all.Share() >= keptWell {
		return
	}
	m.con.say("warning: rounding leaves %.0f %% of what the adapters change; --source MODEL, from which the base was quantized, keeps it in as many bytes, --keep 0.9 in more", 100*all.Kept)
}

// finish measures, writes, checks and reports.
func (m *merge) finish(plan *quantize.Plan) error {
	plan.SetMetadata(m.plan.Metadata)
	if m.c.Bool("dry-run") {
		if err := m.measure(plan); err != nil {
			return err
		}
		m.warn()
		return m.report(plan, nil, 0)
	}
	write, err := writeOptions(m.c, plan, m.base)
	if err != nil {
		return err
	}
	if err := checkModel(m.inputs(), m.output, m.sum.Merged(plan), write); err != nil {
		return err
	}
	if err := m.measure(plan); err != nil {
		return err
	}
	merged := m.sum.Merged(plan)
	if m.keep > 0 { // which made it larger
		if err := checkModel(m.inputs(), m.output, merged, write); err != nil {
			return err
		}
	}
	m.warn()
	start := time.Now()
	files, err := writeModel(m.c, m.con, merged, m.output, write)
	if err != nil {
		return err
	}
	seconds := time.Since(start).Seconds()
	for _, line := range plan.Misplaced() {
		m.con.say("%s", line)
	}
	m.con.say("%s: %s, %d of %d tensors changed, written in %.1f s", strings.Join(files, ", "), printable.Bytes(plan.ToBytes()), len(m.survivals), len(plan.Tensors), seconds)
	if m.check != nil {
		if err := m.check.compare(files[0]); err != nil {
			return fmt.Errorf("%s is written, but --check-data: %w", strings.Join(files, ", "), err)
		}
	}
	return m.report(plan, files, seconds)
}
