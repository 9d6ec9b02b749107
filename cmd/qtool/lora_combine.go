package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"qtool/gguf"
	"qtool/internal/outputs"
	"qtool/internal/printable"
	"qtool/lora"
)

// Densities for who gives none. TIES: that of its authors. DARE: half, which adds noise of the size
// of the change.
const (
	densityTIES = 0.2
	densityDARE = 0.5
)

func loraCombineCommand() *cli.Command {
	return &cli.Command{
		Name:  "combine",
		Usage: "make one adapter of several",
		UsageText: `qtool lora combine [--method METHOD] ADAPTER[:WEIGHT]... OUT.gguf

qtool lora combine style.gguf:0.5 facts.gguf both.gguf
qtool lora combine --method concat --rank 16 style.gguf facts.gguf both.gguf
qtool lora combine --method ties --density 0.2 a.gguf b.gguf c.gguf:0.5 all.gguf`,
		Description: `concat     the sum of all changes, exactly; the ranks add up
linear     adds up the A and the B of equal rank by themselves, as PEFT does: the result also
           has the products of the B of one and the A of another, and is the sum only where
           these vanish; --on change is the sum cut to --rank
ties       keeps the largest values of each, elects a sign for each element, and takes the
           mean of the values that have it (arXiv 2306.01708)
dare       keeps values at random and multiplies them by 1/density (arXiv 2311.03099)
dare-ties  keeps values as dare does and joins them as ties does

ties and dare work on the change B·A of each adapter, as their authors say, and the nearest
pair of --rank is made of the result (PEFT: ties_svd, dare_linear_svd). --on factors works on
A and B themselves (PEFT: ties, dare_linear): faster, of equal ranks only, and not what the
methods are defined for. A pair that one adapter alone has is kept whole.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "method", Usage: "`METHOD`: concat, linear, ties, dare, dare-ties", Value: string(lora.Concat)},
			&cli.StringFlag{Name: "on", Usage: "work on the `WHAT` of each adapter: change or factors", DefaultText: "linear: factors, others: change"},
			&cli.Float64Flag{Name: "density", Usage: "`SHARE` of values that ties and dare keep", DefaultText: "ties: 0.2, dare: 0.5"},
			&cli.IntFlag{Name: "rank", Usage: "cut the pairs to rank `R`, with the least loss", DefaultText: "concat: all, others: the highest of the adapters"},
			&cli.StringFlag{Name: "name", Usage: "`NAME` of the adapter", DefaultText: "those of the adapters"},
			&cli.BoolFlag{Name: "force-base", Usage: "combine adapters that were trained on different models"},
			loraSeedFlag("decides what dare keeps"),
			threadsFlag(),
			forceFlag(),
			jsonFlag(),
		},
		Action: runLoraCombine,
	}
}

// combination is one run of lora combine.
type combination struct {
	c        *cli.Context
	con      *console
	output   string
	adapters []*mergedAdapter
	options  lora.Blending
	base     *lora.Base // of all adapters; nil if it is not known, or not one
}

func runLoraCombine(c *cli.Context) error {
	x := &combination{c: c, con: newConsole(c)}
	if err := x.read(); err != nil {
		return err
	}
	// Held are the adapters, the result, and for a moment both in one pair.
	if err := checkAdapterMemory(c, x.con, 3, "combine fewer at once", pathsOf(x.adapters)...); err != nil {
		return err
	}
	var scaled []lora.Scaled
	for _, a := range x.adapters {
		if err := a.open(c, nil); err != nil {
			return err
		}
		scaled = append(scaled, lora.Scaled{Adapter: a.adapter, Strength: a.Scale})
	}
	if err := x.compareBases(); err != nil {
		return err
	}
	bar := x.con.progress()
	defer bar.Done()
	x.options.Progress = perTensor(bar, "pairs", "combining")
	out, fits, err := lora.Blend(c.Context, x.options, scaled...)
	if err != nil {
		return fmt.Errorf("adapters %s: %w", adapterPaths(x.adapters), err)
	}
	bar.Done()
	out.Extra = x.metadata()
	if err := writeAdapter(c.Context, out, x.output); err != nil {
		return err
	}
	return x.report(out, fits)
}

// read reads the command line.
func (x *combination) read() error {
	c := x.c
	args := c.Args().Slice()
	if len(args) < 2 {
		return usagef("lora combine: an adapter at least and OUT.gguf are wanted; usage: qtool lora combine [--method METHOD] ADAPTER[:WEIGHT]... OUT.gguf")
	}
	x.output, args = args[len(args)-1], args[:len(args)-1]
	method := lora.Method(c.String("method"))
	x.options = lora.Blending{
		Method: method, Factors: method == lora.Linear, Density: c.Float64("density"), Rank: c.Int("rank"),
		Seed: c.Uint64("seed"), Threads: c.Int("threads"),
	}
	switch on := c.String("on"); {
	case !slices.Contains(lora.Methods(), method):
		return usagef("--method %q: there is no such method; these are: %s", method, strings.Trim(fmt.Sprint(lora.Methods()), "[]"))
	case c.IsSet("on") && method == lora.Concat:
		return usagef("--on is not for concat, which keeps all A and B as they are")
	case on == "factors" || on == "change":
		x.options.Factors = on == "factors"
	case c.IsSet("on"):
		return usagef("--on %q: expected change or factors", on)
	}
	switch {
	case c.IsSet("density") && !method.Sparse():
		return usagef("--density is for ties and dare; %s keeps all values", method)
	case c.IsSet("density") && !(x.options.Density > 0 && x.options.Density <= 1):
		return usagef("--density %g: expected a share of values above 0 and at most 1, as in 0.2", x.options.Density)
	case c.IsSet("rank") && x.options.Rank < 1:
		return usagef("--rank %d: expected 1 or more", x.options.Rank)
	case c.IsSet("seed") && !method.Sparse():
		return usagef("--seed is for what is random: ties and dare")
	}
	if method.Sparse() && !c.IsSet("density") {
		x.options.Density = densityDARE
		if method == lora.TIES {
			x.options.Density = densityTIES
		}
		x.con.say("--density is %g, as nothing else was said: that share of the values of each adapter is kept", x.options.Density)
	}
	inputs := []string{}
	for _, arg := range args {
		a, err := parseMerged("lora combine", arg)
		if err != nil {
			return err
		}
		x.adapters, inputs = append(x.adapters, a), append(inputs, a.Path)
	}
	return outputs.Check(inputs, x.output)
}

// compareBases compares the models that the adapters were trained on.
func (x *combination) compareBases() error {
	var first *mergedAdapter
	var base lora.Base
	for _, a := range x.adapters {
		trained, ok := lora.Recorded(a.adapter.Extra)
		if !ok {
			x.con.detail("%s does not say on which model it was trained", a.Path)
			continue
		}
		if first == nil {
			first, base, x.base = a, trained, &trained
			continue
		}
		switch trained.RelationTo(base) {
		case lora.SameBase:
			a.Base = "same"
		case lora.SameModel:
			a.Base = "other quantization"
			x.con.say("%s and %s were trained on the same model in two quantizations, as far as names tell: %s, and %s", first.Path, a.Path, base, trained)
		case lora.OtherModel:
			a.Base = "other model"
			if !x.c.Bool("force-base") {
				return fmt.Errorf("adapter %s: %w: it was trained on %s, and %s on %s; --force-base combines them all the same",
					a.Path, lora.ErrMismatch, trained, first.Path, base)
			}
			x.con.say("warning: %s was trained on %s, and %s on %s; combined all the same, for no recorded base", a.Path, trained, first.Path, base)
			x.base = nil
		}
	}
	return nil
}

// metadata is what the adapter says of where it comes from.
func (x *combination) metadata() *gguf.Metadata {
	md := &gguf.Metadata{}
	var files, names, hashes []string
	var weights []float32
	for _, a := range x.adapters {
		file := filepath.Base(a.Path)
		name, _ := a.adapter.Extra.Str("general.name")
		files, hashes, weights = append(files, file), append(hashes, a.SHA256), append(weights, a.Scale)
		names = append(names, cmp.Or(name, strings.TrimSuffix(file, filepath.Ext(file))))
	}
	md.Set("general.name", cmp.Or(x.c.String("name"), strings.Join(names, " + ")))
	if x.base != nil {
		x.base.Record(md)
	}
	const prefix = "qtool.combine."
	md.Set(prefix+"version", buildVersion().Version)
	md.Set(prefix+"method", string(x.options.Method))
	md.Set(prefix+"adapters", files)
	md.Set(prefix+"adapter_sha256", hashes)
	md.Set(prefix+"weights", weights)
	if x.options.Method != lora.Concat {
		md.Set(prefix+"factors", x.options.Factors)
	}
	if x.options.Method.Sparse() {
		md.Set(prefix+"density", x.options.Density)
		md.Set(prefix+"seed", x.options.Seed)
	}
	if x.options.Rank > 0 {
		md.Set(prefix+"rank", uint32(x.options.Rank))
	}
	for i, a := range x.adapters {
		for _, kv := range a.adapter.Extra.All() {
			if key, ok := strings.CutPrefix(kv.Key, "qtool."); ok {
				md.Set(fmt.Sprintf("%sadapter.%d.%s", prefix, i+1, key), kv.Value)
			}
		}
	}
	return md
}

// combineReport is the JSON of lora combine.
type combineReport struct {
	Output   string           `json:"output"`
	Method   lora.Method      `json:"method"`
	Factors  bool             `json:"factors"`
	Density  float64          `json:"density,omitempty"`
	Alpha    float32          `json:"alpha"`
	Adapters []*mergedAdapter `json:"adapters"`
	All      fitReport        `json:"all"`
	Kinds    []fitReport      `json:"kinds"`
	Tensors  []fitReport      `json:"tensors"`
	Alone    []string         `json:"in_one_alone,omitempty"`
}

func (x *combination) report(out *lora.Adapter, fits []lora.Fit) error {
	r := &combineReport{Output: x.output, Method: x.options.Method, Factors: x.options.Factors, Density: x.options.Density, Alpha: out.Alpha, Adapters: x.adapters}
	r.All, r.Kinds, r.Tensors = describeFits(fits)
	for _, f := range fits {
		if f.Blended == 1 && len(x.adapters) > 1 {
			r.Alone = append(r.Alone, f.Tensor)
		}
	}
	if n := len(r.Alone); n > 0 {
		x.con.say("%s in one adapter alone, kept with its weight: %s", printable.Count(n, "pair"), abbreviate(r.Alone, 4))
	}
	if x.options.Method == lora.Linear && x.options.Factors {
		x.con.say("linear adds up A and B by themselves: the result is %.0f %% off the sum of the changes, by products of the B of one adapter and the A of another; --method concat is the sum", 100*r.All.FromSum)
	}
	if x.con.json {
		return x.con.printJSON(r)
	}
	x.con.say("%s: %s of %s, alpha %g", x.output, printable.Count(len(out.Pairs), "pair"), printable.Count(len(x.adapters), "adapter"), out.Alpha)
	return printFits(x.con, r.All, r.Kinds, r.Tensors, fitFromSum)
}
