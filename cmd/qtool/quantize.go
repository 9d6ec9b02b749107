package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"qtool/gguf"
	"qtool/internal/convert"
	"qtool/internal/input"
	"qtool/internal/outputs"
	"qtool/internal/printable"
	"qtool/internal/source"
	"qtool/quantize"
)

func quantizeCommand() *cli.Command {
	return &cli.Command{
		Name:  "quantize",
		Usage: "convert a model to GGUF and quantize it",
		UsageText: `qtool quantize [--type TYPE] MODEL OUT.gguf

qtool quantize --type Q8_0 model-f16.gguf model-q8.gguf
qtool quantize --type F16 hugging-face-folder/ model-f16.gguf
qtool quantize --type IQ2_XS --imatrix imatrix.gguf model-f16.gguf model-iq2.gguf
qtool quantize --target-size 4.2GiB --calibration text.txt model-f16.gguf model-4.2g.gguf
qtool quantize --type Q4_0 --dry-run model.gguf
qtool quantize --tensor-type 'ffn_down=Q6_K' --tensor-type 'blk\.[01]\.=Q8_0' model.gguf out.gguf`,
		Description: fmt.Sprintf(`TYPE is one of %s.

A --tensor-type is PATTERN=TYPE: a regular expression that is searched for in the
names of tensors, in any case. The first that finds a tensor decides, whatever the mix
of TYPE says; those of a --tensor-type-file come after those of the command line.

With --target-size or --target-bpw no TYPE is needed: every type that may serve is tried
on rows of every tensor, and those are chosen that together cost the least. What an
error costs is known by experience with each kind of tensor, weighed by the importance
if --imatrix is given, or measured with --calibration, which runs some text through the
model forward and backward and gives the cost as KL divergence in nats per token.`,
			strings.Join(quantize.FileTypes(), ", ")),
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "type", Value: "Q4_K_M", Usage: "file `TYPE` to make; COPY keeps the types"},
			&cli.BoolFlag{Name: "pure", Usage: "give all weights the same type, without the mix of TYPE"},
			&cli.StringSliceFlag{Name: "tensor-type", Usage: "store the tensors that PATTERN finds as TYPE: `PATTERN=TYPE`; may be repeated"},
			inputsFlag(&cli.StringSliceFlag{Name: "tensor-type-file", Usage: "read PATTERN=TYPE from `FILE`, separated by blanks or newlines"}),
			&cli.StringFlag{Name: "output-tensor-type", Usage: "store the output head as `TYPE`"},
			&cli.StringFlag{Name: "token-embedding-type", Usage: "store the token embedding as `TYPE`"},
			&cli.BoolFlag{Name: "leave-output-tensor", Usage: "keep the output head as it is"},
			inputFlag(&cli.StringFlag{Name: "imatrix", Usage: "weigh columns by the importance matrix `FILE`"}),
			&cli.StringSliceFlag{Name: "include-weights", Usage: "take from it only entries whose names contain `PART`; may be repeated"},
			&cli.StringSliceFlag{Name: "exclude-weights", Usage: "take no entries from it whose names contain `PART`; may be repeated"},
			&cli.BoolFlag{Name: "allow-requantize", Usage: "accept a model that is quantized already"},
			&cli.StringFlag{Name: "prune-layers", Usage: "leave out the layers `L,…`, numbers from 0 or ranges such as 20-23"},
			&cli.StringSliceFlag{Name: "override-kv", Usage: "set metadata: `KEY=TYPE:VALUE` with int, float, bool or str as TYPE; may be repeated"},
			&cli.BoolFlag{Name: "keep-split", Usage: "write the same shards that the model has"},
			&cli.StringFlag{Name: "split-max-size", Usage: "write shards of at most `SIZE`, such as 2G or 1.5GiB"},
			&cli.BoolFlag{Name: "hashes", Usage: "record hashes of all that is in the file, which qtool verify compares; off, since llama-quantize's files have none"},
			&cli.BoolFlag{Name: "dry-run", Usage: "print what each tensor would become, and the shards, and write nothing"},
			preFlag(),
			threadsFlag(),
			forceFlag(),
			jsonFlag(),
		}, targetFlags()...),
		Action: runQuantize,
	}
}

func runQuantize(c *cli.Context) error {
	names := []string{"MODEL", "OUT.gguf"}
	if c.Bool("dry-run") {
		names[1] = "[OUT.gguf]"
	}
	// Who comes from llama-quantize gives it last.
	if c.NArg() == 3 && slices.Contains(quantize.FileTypes(), strings.ToUpper(c.Args().Get(2))) {
		return usagef("quantize: unexpected argument %q; the type is a flag: --type %[1]s", c.Args().Get(2))
	}
	args, err := arguments(c, names...)
	if err != nil {
		return err
	}
	opts, err := quantizeOptions(c)
	if err != nil {
		return err
	}
	if c.Bool("force") && !c.IsSet("calibration") {
		return usagef("--force is for --calibration; nothing else of quantize is refused for the memory that it needs")
	}
	target, err := readTarget(c)
	if err != nil {
		return err
	}
	if _, err := splitLimit(c); err != nil {
		return err
	}
	inputs := append(append(source.Paths(args[0]), c.String("imatrix"), c.String("calibration")), c.StringSlice("tensor-type-file")...)
	if !c.Bool("dry-run") {
		if err := outputs.CheckModel(inputs, args[1], c.Bool("keep-split") || c.IsSet("split-max-size")); err != nil {
			return err
		}
	}
	con := newConsole(c)
	calibration, err := readCalibration(c, con)
	if err != nil {
		return err
	}
	importance, err := importanceFor(c, con)
	if err != nil {
		return err
	}
	defer importance.Close()
	opts.Inputs = importance.inputs()
	opts.Importance, opts.Metadata = importance.weights, importance.metadata
	m, err := openModel(c, args[0])
	if err != nil {
		return err
	}
	defer m.Close()
	if folder, ok := m.(*convert.Model); ok {
		for _, remark := range folder.Remarks() {
			con.say("%s: %s", args[0], remark)
		}
	}
	if target != nil && !opts.DryRun && len(opts.PruneLayers) == 0 {
		if err := checkSpace(need{args[1], target.DataBytes(m)}); err != nil {
			return err
		}
	}
	plan, err := makePlan(c, con, m, m, opts, target, calibration)
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	if err := importance.report(con, plan); err != nil {
		return err
	}
	for _, remark := range plan.Remarks {
		con.say("%s", remark)
	}
	if err := planShards(c, plan, m); err != nil {
		return err
	}
	if c.Bool("dry-run") {
		if con.json {
			return con.printJSON(plan)
		}
		_, err := io.WriteString(con.out, plan.String())
		return err
	}
	write, err := writeOptions(c, plan, m)
	if err != nil {
		return err
	}
	if err := checkModel(inputs, args[1], plan.Model(), write); err != nil {
		return err
	}
	for _, note := range plan.Notes() {
		con.say("%s", note)
	}
	con.detail("%s", plan)
	return writePlan(c, con, plan, args[1], write)
}

// quantizeOptions reads the flags.
func quantizeOptions(c *cli.Context) (opts quantize.Options, err error) {
	opts = quantize.Options{
		FileType: c.String("type"), Pure: c.Bool("pure"),
		OutputType: c.String("output-tensor-type"), EmbeddingType: c.String("token-embedding-type"),
		LeaveOutput: c.Bool("leave-output-tensor"), AllowRequantize: c.Bool("allow-requantize"),
		KeepOrder: c.Bool("keep-split"), DryRun: c.Bool("dry-run"), Threads: c.Int("threads"),
	}
	if opts.TensorTypes, err = tensorTypes(c); err != nil {
		return opts, err
	}
	for _, s := range c.StringSlice("override-kv") {
		o, err := quantize.ParseOverride(s)
		if err != nil {
			return opts, usagef("--override-kv: %v", err)
		}
		opts.Overrides = append(opts.Overrides, o)
	}
	opts.PruneLayers, err = parseLayers(c.String("prune-layers"))
	return opts, err
}

// maxTypeFile is far above any real list of types.
const maxTypeFile = 64 << 20

// tensorTypes reads --tensor-type and --tensor-type-file.
func tensorTypes(c *cli.Context) ([]quantize.TypePattern, error) {
	var all []quantize.TypePattern
	for _, s := range c.StringSlice("tensor-type") {
		p, err := quantize.ParseTypePattern(s)
		if err != nil {
			return nil, flagError("--tensor-type", err)
		}
		all = append(all, p)
	}
	for _, path := range c.StringSlice("tensor-type-file") {
		text, err := input.ReadFile(path, maxTypeFile)
		if err != nil {
			return nil, fmt.Errorf("--tensor-type-file: %w", err)
		}
		of, err := quantize.ParseTypePatterns(string(text))
		if err != nil {
			return nil, flagError("--tensor-type-file "+path, err)
		}
		all = append(all, of...)
	}
	return all, nil
}

// flagError is about the value of a flag: wrong usage, unless it asks for a type that
// there is not.
func flagError(flag string, err error) error {
	if errors.Is(err, quantize.ErrUnsupported) {
		return fmt.Errorf("%s: %w", flag, err)
	}
	return usagef("%s: %v", flag, err)
}

// maxLayer is more than any model has; ranges end there before they cost memory.
const maxLayer = 1 << 16

// parseLayers reads "3,7,20-23".
func parseLayers(s string) ([]int, error) {
	if s == "" {
		return nil, nil
	}
	var layers []int
	for _, part := range strings.Split(s, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		first, err1 := strconv.Atoi(strings.TrimSpace(from))
		last, err2 := strconv.Atoi(strings.TrimSpace(to))
		if err1 != nil || err2 != nil || first < 0 || last < first || last > maxLayer {
			return nil, usagef("--prune-layers: %q is no layer; give numbers from 0 and ranges, as in 3,7,20-23", part)
		}
		for l := first; l <= last; l++ {
			layers = append(layers, l)
		}
	}
	return layers, nil
}

// planShards lists in plan the shards that its model is written into, which was made from m;
// those of a dry run may have no name yet.
func planShards(c *cli.Context, plan *quantize.Plan, m gguf.Model) error {
	split, err := splitOptions(c, plan, m)
	if err != nil || len(split) == 0 {
		return err
	}
	output := c.Args().Get(1)
	if output == "" {
		output = "OUT.gguf"
	}
	if plan.Shards, err = gguf.ShardFiles(output, plan.Model(), split...); err != nil {
		return fmt.Errorf("%s: %w", output, err)
	}
	return nil
}

// writeOptions says how the model of plan is written, which was made from m.
func writeOptions(c *cli.Context, plan *quantize.Plan, m gguf.Model) ([]gguf.WriteOption, error) {
	opts, err := splitOptions(c, plan, m)
	if c.Bool("hashes") {
		opts = append(opts, gguf.WithHashes())
	}
	return opts, err
}

// splitLimit is the value of --split-max-size, 0 without it.
func splitLimit(c *cli.Context) (int64, error) {
	size := c.String("split-max-size")
	switch {
	case size == "":
		return 0, nil
	case c.Bool("keep-split"):
		return 0, usagef("--keep-split and --split-max-size contradict each other")
	}
	limit, err := parseSize(size)
	if err != nil {
		return 0, fmt.Errorf("--split-max-size: %w", err)
	}
	return limit, nil
}

// splitOptions says into which shards the model of plan is written, which was made from m.
func splitOptions(c *cli.Context, plan *quantize.Plan, m gguf.Model) ([]gguf.WriteOption, error) {
	limit, err := splitLimit(c)
	switch {
	case err != nil:
		return nil, err
	case limit > 0:
		return []gguf.WriteOption{gguf.WithSplit(limit)}, nil
	case c.Bool("keep-split"):
		return keptShards(plan, m)
	}
	return nil, nil
}

// keptShards has the shards of m, less those that pruning leaves empty.
func keptShards(plan *quantize.Plan, m gguf.Model) ([]gguf.WriteOption, error) {
	file, ok := m.(*gguf.File)
	if !ok {
		return nil, usagef("--keep-split needs a GGUF model; divide this one with --split-max-size")
	}
	shardOf, rest := map[string]int{}, file.Tensors()
	sizes := make([]int, len(file.ShardSizes()))
	for shard, n := range file.ShardSizes() {
		for _, t := range rest[:n] {
			shardOf[t.Name] = shard
		}
		rest = rest[n:]
	}
	for _, t := range plan.Tensors {
		sizes[shardOf[plan.SourceName(t.Name)]]++
	}
	kept := sizes[:0]
	for shard, n := range sizes {
		if n > 0 || shard == 0 {
			kept = append(kept, n)
		}
	}
	return []gguf.WriteOption{gguf.WithShards(kept...)}, nil
}

// checkModel finds out whether m can be written to output: the names of all files, once they
// are known, and the space on the disk.
func checkModel(inputs []string, output string, m gguf.Model, write []gguf.WriteOption) error {
	paths, err := gguf.ShardPaths(output, m, write...)
	if err != nil {
		return fmt.Errorf("%s: %w", output, err)
	}
	if err := outputs.Check(inputs, paths...); err != nil {
		return err
	}
	size, err := gguf.FileSize(m, write...)
	if err != nil {
		return fmt.Errorf("%s: %w", output, err)
	}
	return checkSpace(need{paths[0], size})
}

// writePlan writes the model that plan makes.
func writePlan(c *cli.Context, con *console, plan *quantize.Plan, output string, write []gguf.WriteOption) error {
	con.say("%s: %d tensors, %s to %s, %.2f bits per weight", plan.FileType, len(plan.Tensors),
		printable.Bytes(plan.FromBytes()), printable.Bytes(plan.ToBytes()), plan.BitsPerWeight())
	start := time.Now()
	files, err := writeModel(c, con, plan.Model(), output, write)
	if err != nil {
		return err
	}
	for _, line := range plan.Misplaced() {
		con.say("%s", line)
	}
	seconds := time.Since(start).Seconds()
	if con.json {
		return con.printJSON(struct {
			Output  string         `json:"output"`
			Files   []string       `json:"files"`
			Seconds float64        `json:"seconds"`
			Plan    *quantize.Plan `json:"plan"`
		}{output, files, seconds, plan})
	}
	con.say("%s: done in %.1f s", strings.Join(files, ", "), seconds)
	return nil
}

// writeModel writes m with a progress bar and lists the files that it became.
func writeModel(c *cli.Context, con *console, m gguf.Model, output string, split []gguf.WriteOption) ([]string, error) {
	files, err := gguf.ShardPaths(output, m, split...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", output, err)
	}
	var total int64
	for _, t := range m.Tensors() {
		total += t.Size()
	}
	bar := con.progress()
	defer bar.Done()
	bar.Start(total, "bytes", "writing")
	err = gguf.WriteFile(c.Context, output, m, append(split, gguf.WithThreads(c.Int("threads")), gguf.WithProgress(func(t *gguf.Tensor, written, _ int64) {
		bar.Remark("%s", printable.Text(t.Name))
		bar.Set(written)
	}))...)
	return files, err
}
