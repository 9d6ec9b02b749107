package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"qtool/gguf"
	"qtool/internal/budget"
	"qtool/internal/memory"
	"qtool/internal/outputs"
	"qtool/internal/printable"
	"qtool/internal/source"
	"qtool/lora"
)

func loraConvertCommand() *cli.Command {
	return &cli.Command{
		Name:  "convert",
		Usage: "carry an adapter to and from PEFT and mlx-lm",
		UsageText: `qtool lora convert [flags] IN OUT

qtool lora convert --base model.gguf peft-folder/ mine.gguf
qtool lora convert --base model.gguf mine.gguf peft-folder/
qtool lora convert --to mlx --base hugging-face-folder/ mine.gguf mlx-folder/`,
		Description: `IN and OUT are an adapter in GGUF, or a folder of PEFT (adapter_config.json and
adapter_model.safetensors or .bin) or of mlx-lm (adapter_config.json and
adapters.safetensors). OUT is GGUF if it ends in .gguf, else a folder, which must be
new or empty.

The base tells what GGUF has otherwise than a folder: its architecture, the order of
rows of queries and keys (which follows from the number of heads), what is fused and
cut, how many experts there are. Only its metadata are read; of a Hugging Face folder
config.json is enough. Without --base what the adapter tells must suffice.

Only pairs are converted; DoRA, biases and whole weights are refused by name.`,
		Flags: []cli.Flag{
			modelFlag(&cli.StringFlag{Name: "base", Aliases: []string{"b"}, Usage: "the model `B` that the adapter is for: a .gguf file, a Hugging Face folder or ollama:NAME", DefaultText: "what a folder names, if that is on this machine"}),
			&cli.StringFlag{Name: "to", Usage: "write the `FORM` gguf, peft or mlx", DefaultText: "gguf if OUT ends in .gguf; of an adapter in GGUF peft"},
			&cli.StringFlag{Name: "outtype", Usage: "store halves as `TYPE`: f32, f16 or bf16", DefaultText: "f32, which is exact"},
			&cli.StringFlag{Name: "experts", Usage: "to peft, give experts as `KIND`: modules (transformers 4, one for each expert) or parameters (transformers 5, target_parameters)", DefaultText: "modules"},
			forceFlag(),
			jsonFlag(),
		},
		Action: runLoraConvert,
	}
}

// loraForms are the forms by the names of --to.
var loraForms = map[string]lora.Form{"gguf": lora.GGUF, "peft": lora.PEFT, "mlx": lora.MLX}

// loraTypes are the types of --outtype.
var loraTypes = map[string]gguf.Type{"": gguf.F32, "f32": gguf.F32, "f16": gguf.F16, "bf16": gguf.BF16}

// convertReport is the JSON of lora convert.
type convertReport struct {
	Input        string       `json:"input"`
	From         string       `json:"from"`
	Output       string       `json:"output"`
	To           string       `json:"to"`
	Files        []string     `json:"files"`
	Base         string       `json:"base,omitempty"`
	Architecture string       `json:"architecture"`
	Alpha        float32      `json:"alpha"`
	Type         string       `json:"type"`
	Pairs        int          `json:"pairs"`
	Exact        bool         `json:"exact"` // all factors are those of the input
	Folded       []foldedPair `json:"folded"`
	Joined       []string     `json:"joined"`
	Padded       []string     `json:"padded"`
	Idle         []string     `json:"idle"`
	Ignored      []string     `json:"ignored"` // by llama.cpp
	Rounded      int          `json:"rounded_values"`
}

// foldedPair is a pair whose B was multiplied.
type foldedPair struct {
	Name   string  `json:"name"`
	Factor float32 `json:"factor"`
}

// loraConversion is one run of lora convert.
type loraConversion struct {
	c       *cli.Context
	con     *console
	in, out string
	from    lora.Form
	options lora.FileOptions
	base    string // a path or a name; "" for none
	values  int64
}

func runLoraConvert(c *cli.Context) error {
	v, err := newLoraConversion(c)
	if err != nil {
		return err
	}
	layout, err := v.layout()
	if err != nil {
		return err
	}
	a, read, err := v.read(layout)
	if err != nil {
		return v.needsBase(err)
	}
	saved, err := a.Save(c.Context, v.out, layout, v.options)
	switch {
	case errors.Is(err, lora.ErrMismatch):
		return fmt.Errorf("%s on %s: %w", v.in, v.base, err)
	case errors.Is(err, lora.ErrUnsupported):
		return fmt.Errorf("%s: %w", v.in, err)
	case err != nil:
		return v.needsBase(err)
	}
	return v.report(a, read, saved)
}

// newLoraConversion reads the command line, and finds out whether the result can be written.
func newLoraConversion(c *cli.Context) (*loraConversion, error) {
	const usage = "usage: qtool lora convert IN OUT"
	args := c.Args().Slice()
	if len(args) != 2 {
		return nil, usagef("lora convert: IN and OUT are wanted, %d arguments were given; %s", len(args), usage)
	}
	v := &loraConversion{c: c, con: newConsole(c), in: args[0], out: args[1], base: c.String("base")}
	if err := source.Found("", v.in); err != nil {
		return nil, err
	}
	var known bool
	if v.options.Type, known = loraTypes[strings.ToLower(c.String("outtype"))]; !known {
		return nil, usagef("--outtype %s: expected f32, f16 or bf16", c.String("outtype"))
	}
	var err error
	if v.from, err = lora.FormOf(v.in); err != nil {
		return nil, err
	}
	isGGUF := strings.EqualFold(filepath.Ext(v.out), ".gguf")
	switch name := strings.ToLower(c.String("to")); {
	case name != "":
		if v.options.Form, known = loraForms[name]; !known {
			return nil, usagef("--to %s: expected gguf, peft or mlx", c.String("to"))
		}
		if isGGUF != (v.options.Form == lora.GGUF) {
			return nil, usagef("--to %s: OUT is %s; an adapter in GGUF ends in .gguf, a folder does not", name, v.out)
		}
	case isGGUF:
		v.options.Form = lora.GGUF
	case v.from == lora.GGUF:
		v.options.Form = lora.PEFT
	default:
		return nil, usagef("lora convert: %s is a folder of %v, and OUT does not end in .gguf; give --to peft or --to mlx for another folder", v.in, v.from)
	}
	switch kind := c.String("experts"); {
	case kind != "" && kind != "modules" && kind != "parameters":
		return nil, usagef("--experts %s: expected modules or parameters", kind)
	case kind != "" && v.options.Form != lora.PEFT:
		return nil, usagef("--experts is about a folder of PEFT, and %s is %v", v.out, v.options.Form)
	default:
		v.options.Parameters = kind == "parameters"
	}
	if v.from == lora.GGUF && v.options.Form == lora.GGUF && v.base != "" {
		return nil, usagef("--base is not needed from GGUF to GGUF, where only the type of storage changes")
	}
	if v.values, err = lora.Values(v.in); err != nil {
		return nil, err
	}
	return v, v.checkOutput()
}

// checkOutput finds out whether there is memory, and room for the result.
func (v *loraConversion) checkOutput() error {
	if v.options.Form == lora.GGUF {
		if err := outputs.Check(slices.Concat([]string{v.in}, source.Paths(v.base)), v.out); err != nil {
			return err
		}
	} else if err := lora.CheckFolder(v.out); err != nil {
		return err
	}
	const copies = 4 // of all values as float32: read, by weight, by tensor, to be written
	b := budget.New("lora convert", v.c.Bool("force"), v.con.sayText)
	if d := (budget.Demand{Need: memory.Need{Own: copies * 4 * v.values}, Of: "the adapter"}); !b.Fits(d) {
		return b.TooSmall(d, "convert it on a machine with more")
	}
	return checkSpace(need{v.options.Form.Files(v.out)[0], 4 * v.values})
}

// layout is that of the base; nil without one.
func (v *loraConversion) layout() (*lora.Layout, error) {
	if v.from == lora.GGUF && v.options.Form == lora.GGUF {
		return nil, nil
	}
	if v.base == "" && v.from != lora.GGUF {
		named, err := lora.BaseOf(v.in)
		if err != nil {
			return nil, err
		}
		if named != "" && isFile(filepath.Join(named, "config.json")) {
			v.base = named
			v.con.say("base: %s, which %s names", printable.Text(named), v.in)
		}
	}
	if v.base == "" {
		return nil, nil
	}
	if info, err := os.Stat(v.base); err == nil && info.IsDir() {
		v.options.Base = v.base
		l, err := lora.LayoutOfFolder(v.base)
		return l, v.ofBase(err)
	}
	m, err := source.OpenShapes(source.Source{Path: v.base, Adapters: source.LeaveAdapters, Note: v.con.sayText})
	if err != nil {
		return nil, v.ofBase(err)
	}
	defer m.Close()
	l, err := lora.LayoutOf(m)
	return l, v.ofBase(err)
}

func (v *loraConversion) ofBase(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("--base %s: %w", v.base, err)
}

// read opens the adapter. The conversion is nil of one in GGUF, which is what it is.
func (v *loraConversion) read(layout *lora.Layout) (*lora.Adapter, *lora.Conversion, error) {
	if v.from != lora.GGUF {
		return lora.OpenFolder(v.in, layout)
	}
	a, err := lora.Open(v.in)
	return a, &lora.Conversion{}, err
}

// needsBase says how to give the base where it is needed.
func (v *loraConversion) needsBase(err error) error {
	if !errors.Is(err, lora.ErrNeedsBase) {
		return err
	}
	hint := ""
	if v.from != lora.GGUF {
		if named, _ := lora.BaseOf(v.in); named != "" {
			hint = fmt.Sprintf("; %s names %s", v.in, printable.Quote(named))
		}
	}
	return usagef("lora convert: %v; give the model with --base (a .gguf file, a Hugging Face folder or ollama:NAME)%s", err, hint)
}

// report says what was chosen and what was changed.
func (v *loraConversion) report(a *lora.Adapter, read, saved *lora.Conversion) error {
	r := &convertReport{
		Input: v.in, From: v.from.String(), Output: v.out, To: v.options.Form.String(), Files: v.options.Form.Files(v.out), Base: v.base,
		Architecture: a.Architecture, Alpha: a.Alpha, Type: v.options.Type.String(), Pairs: saved.Pairs,
		Joined: slices.Concat([]string{}, read.Joined, saved.Joined), Padded: slices.Concat([]string{}, read.Padded, saved.Padded),
		Idle: slices.Concat([]string{}, read.Idle, saved.Idle), Folded: []foldedPair{}, Ignored: []string{}, Rounded: saved.Rounded,
	}
	for _, f := range slices.Concat(read.Folded, saved.Folded) {
		r.Folded = append(r.Folded, foldedPair(f))
	}
	ignored := a.Ignored()
	for _, t := range ignored {
		r.Ignored = append(r.Ignored, t.Tensor)
	}
	r.Exact = len(r.Folded)+len(r.Joined)+len(r.Padded)+len(r.Idle)+r.Rounded == 0
	if v.con.json {
		return v.con.printJSON(r)
	}
	v.con.say("%s (%s) -> %s (%s): architecture %s, %s stored as %s", v.in, r.From, v.out, r.To, printable.Text(r.Architecture), printable.Count(r.Pairs, "pair"), r.Type)
	v.sayChanges(r)
	if v.base == "" && v.from != v.options.Form {
		v.con.say("without --base its names and shapes were compared with no model")
	}
	if len(ignored) > 0 && v.options.Form == lora.GGUF {
		v.con.say("warning: llama.cpp does not apply %d of the pairs (%s: %s); qtool lora merge does", len(ignored), printable.Text(ignored[0].Tensor), ignored[0].Refused)
	}
	return nil
}

// sayChanges says what is not as it was.
func (v *loraConversion) sayChanges(r *convertReport) {
	if r.Exact {
		v.con.say("all factors are those of %s, bit for bit", v.in)
		return
	}
	if n := len(r.Folded); n > 0 {
		var names []string
		for _, f := range r.Folded {
			names = append(names, fmt.Sprintf("%s by %g", f.Name, f.Factor))
		}
		one := "one alpha for all pairs, whose scale is alpha/rank"
		if v.options.Form == lora.MLX {
			one = "one scale for all pairs"
		}
		v.con.say("%s has %s: B of %s was multiplied (%s)", r.To, one, printable.Count(n, "pair"), abbreviate(names, 4))
	}
	for _, what := range []struct {
		names []string
		text  string
	}{
		{r.Joined, "have the ranks of several pairs, since what was apart is one weight there"},
		{r.Padded, "got ranks of zeros, to be of the same rank as others"},
		{r.Idle, "change nothing and were left out"},
	} {
		if n := len(what.names); n > 0 {
			v.con.say("%s %s: %s", printable.Count(n, "pair"), what.text, abbreviate(what.names, 4))
		}
	}
	if r.Rounded > 0 {
		v.con.say("%s were rounded to %s", printable.Count(r.Rounded, "value"), r.Type)
	}
}
