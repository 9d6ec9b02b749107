package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"reflect"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"qtool/gguf"
	"qtool/internal/printable"
	"qtool/internal/source"
	"qtool/quantize"
)

func diffCommand() *cli.Command {
	return &cli.Command{
		Name:  "diff",
		Usage: "compare two models or adapters tensor by tensor",
		UsageText: `qtool diff [flags] A B

qtool diff model-f16.gguf model-q4.gguf
qtool diff --strict hugging-face-folder/ model-f16.gguf
qtool diff --tolerance 0.01 --json old.gguf new.gguf`,
		Description: `A and B are models (GGUF, split or not, or Hugging Face folders) or adapters. Of
every tensor that both have it tells, on decoded values, the largest error, the root
mean square error (RMSE), that relative to A's own root mean square, and the cosine;
besides, metadata that differ and tensors that only one has. The exit code is 0 if
they could be compared, whatever was found, unless --strict or --tolerance asks
for 5.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "strict", Usage: "exit with 5 if anything differs: metadata, names, types, shapes, a single bit"},
			&cli.Float64Flag{Name: "tolerance", Usage: "exit with 5 if a tensor is missing, has another shape or values that are not finite, or a relative error above `R`; types and metadata may differ"},
			preFlag(),
			threadsFlag(),
			jsonFlag(),
		},
		Action: runDiff,
	}
}

// errDiffers is in the chain of the error about files that differ more than asked for.
var errDiffers = errors.New("the files differ")

// diffReport is the JSON of diff.
type diffReport struct {
	A         string           `json:"a"`
	B         string           `json:"b"`
	Metadata  []metadataChange `json:"metadata"`
	OnlyA     []tensorReport   `json:"only_a"`
	OnlyB     []tensorReport   `json:"only_b"`
	Tensors   []tensorChange   `json:"tensors"`
	Identical int              `json:"identical_tensors"`
	Largest   float64          `json:"largest_relative"`
	Worst     string           `json:"worst_tensor,omitempty"` // that has the largest relative error
}

// metadataChange is a key that differs; a side that lacks it is nil.
type metadataChange struct {
	Key string         `json:"key"`
	A   *metadataEntry `json:"a"`
	B   *metadataEntry `json:"b"`
}

// tensorChange is a tensor that both have. It has no numbers if the shapes differ or a
// type cannot be decoded.
type tensorChange struct {
	Name   string `json:"name"`
	TypeA  string `json:"type_a"`
	TypeB  string `json:"type_b"`
	ShapeA []int  `json:"shape_a"`
	ShapeB []int  `json:"shape_b"`
	Note   string `json:"note,omitempty"` // why there are no numbers
	*quantize.Difference
}

func runDiff(c *cli.Context) error {
	args, err := arguments(c, "A", "B")
	if err != nil {
		return err
	}
	if c.Float64("tolerance") < 0 {
		return usagef("diff: --tolerance cannot be negative")
	}
	from, err := modelSources(c, args[0], args[1])
	if err != nil {
		return err
	}
	for i := range from {
		from[i].Adapters = source.LeaveAdapters
	}
	a, err := source.Open(from[0])
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := source.Open(from[1])
	if err != nil {
		return err
	}
	defer b.Close()
	con := newConsole(c)
	r := &diffReport{A: args[0], B: args[1], Metadata: diffMetadata(a.Metadata(), b.Metadata()), OnlyA: onlyIn(a, b), OnlyB: onlyIn(b, a)}
	if err := r.compare(c, con, a, b); err != nil {
		return err
	}
	if err := cmp.Or(a.Unchanged(), b.Unchanged()); err != nil {
		return err
	}
	if con.json {
		err = con.printJSON(r)
	} else {
		err = r.print(con.out)
	}
	if err != nil {
		return err
	}
	return r.judge(c)
}

func diffMetadata(a, b *gguf.Metadata) []metadataChange {
	changes := []metadataChange{}
	describe := func(kv gguf.KV) *metadataEntry {
		e := describeValue(kv, false)
		return &e
	}
	for _, kv := range a.All() {
		other, ok := b.Get(kv.Key)
		switch {
		case gguf.IsHashKey(kv.Key):
		case !ok:
			changes = append(changes, metadataChange{Key: kv.Key, A: describe(kv)})
		case !reflect.DeepEqual(kv.Value, other):
			changes = append(changes, metadataChange{kv.Key, describe(kv), describe(gguf.KV{Key: kv.Key, Value: other})})
		}
	}
	for _, kv := range b.All() {
		if !a.Has(kv.Key) && !gguf.IsHashKey(kv.Key) {
			changes = append(changes, metadataChange{Key: kv.Key, B: describe(kv)})
		}
	}
	return append(changes, diffHashes(a, b)...)
}

// diffHashes is one change for all hashes of tensors and keys.
func diffHashes(a, b *gguf.Metadata) []metadataChange {
	same, change := true, metadataChange{Key: hashKeys}
	for _, side := range []struct {
		md, other *gguf.Metadata
		into      **metadataEntry
	}{{a, b, &change.A}, {b, a, &change.B}} {
		for _, kv := range side.md.All() {
			if !gguf.IsHashKey(kv.Key) {
				continue
			}
			other, _ := side.other.Get(kv.Key)
			same = same && reflect.DeepEqual(kv.Value, other)
			*side.into = &metadataEntry{Key: hashKeys, Type: valueTypeName(kv.Value), Value: hashesOf(side.md).String()}
		}
	}
	if same {
		return nil
	}
	return []metadataChange{change}
}

// onlyIn lists the tensors of m that other lacks.
func onlyIn(m, other gguf.Model) []tensorReport {
	list := []tensorReport{}
	for _, t := range m.Tensors() {
		if _, ok := other.Tensor(t.Name); !ok {
			list = append(list, tensorReport{t.Name, t.Type.String(), t.Shape, t.Size()})
		}
	}
	return list
}

// compare fills in the tensors that both have, in a's order.
func (r *diffReport) compare(c *cli.Context, con *console, a, b gguf.Model) error {
	pool := quantize.NewPool(c.Int("threads"))
	defer pool.Close()
	bar := con.progress()
	defer bar.Done()
	bar.Start(int64(elementsOf(a)), "values", "comparing")
	r.Tensors = []tensorChange{}
	for _, t := range a.Tensors() {
		o, ok := b.Tensor(t.Name)
		if !ok {
			bar.Add(int64(t.Elements()))
			continue
		}
		bar.Remark("%s", printable.Text(t.Name))
		ch := tensorChange{Name: t.Name, TypeA: t.Type.String(), TypeB: o.Type.String(), ShapeA: t.Shape, ShapeB: o.Shape}
		d, err := quantize.Difference{}, error(nil)
		if !gguf.SameShape(t.Shape, o.Shape) {
			ch.Note = "other shape"
		} else if d, err = quantize.Compare(c.Context, t, o, pool, func(n int) { bar.Add(int64(n)) }); errors.Is(err, quantize.ErrUnsupported) {
			ch.Note = "cannot be decoded"
		} else if err != nil {
			return err
		} else {
			ch.Difference = &d
		}
		t.DontNeed()
		o.DontNeed()
		if d.Identical {
			r.Identical++
		}
		if d.Relative > r.Largest {
			r.Largest, r.Worst = d.Relative, t.Name
		}
		r.Tensors = append(r.Tensors, ch)
	}
	return nil
}

func elementsOf(m gguf.Model) (n int) {
	for _, t := range m.Tensors() {
		n += t.Elements()
	}
	return n
}

// judge is the error that --strict and --tolerance ask for.
func (r *diffReport) judge(c *cli.Context) error {
	missing := len(r.OnlyA) + len(r.OnlyB)
	if c.Bool("strict") && (missing > 0 || len(r.Metadata) > 0 || r.Identical < len(r.Tensors)) {
		return fmt.Errorf("%w: %d keys, %d tensors that only one has, %d of %d tensors that both have", errDiffers,
			len(r.Metadata), missing, len(r.Tensors)-r.Identical, len(r.Tensors))
	}
	if !c.IsSet("tolerance") {
		return nil
	}
	if missing > 0 {
		return fmt.Errorf("%w: %d tensors are in one of them only", errDiffers, missing)
	}
	limit := c.Float64("tolerance")
	for _, t := range r.Tensors {
		switch {
		case t.Difference == nil:
			return fmt.Errorf("%w: tensor %q: %s", errDiffers, t.Name, t.Note)
		case t.NotFinite > 0 && !t.Identical:
			return fmt.Errorf("%w: tensor %q has %d values that are not finite", errDiffers, t.Name, t.NotFinite)
		case t.Relative > limit:
			return fmt.Errorf("%w: tensor %q has a relative error of %.3g, more than %g", errDiffers, t.Name, t.Relative, limit)
		}
	}
	return nil
}

func (r *diffReport) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	side := func(e *metadataEntry) string {
		if e == nil {
			return "(missing)"
		}
		return e.text()
	}
	for _, ch := range r.Metadata {
		fmt.Fprintf(w, "%s\t%s\t-> %s\n", printable.Text(ch.Key), side(ch.A), side(ch.B))
	}
	w.Flush()
	for _, only := range []struct {
		in   string
		list []tensorReport
	}{{r.A, r.OnlyA}, {r.B, r.OnlyB}} {
		for _, t := range only.list {
			fmt.Fprintf(w, "%s\t%s\t%s\tonly in %s\n", printable.Text(t.Name), t.Type, formatShape(t.Shape), only.in)
		}
	}
	w.Flush()
	fmt.Fprintf(w, "tensor\ttypes\tmax error\tRMSE\trelative\tcosine\n")
	for _, t := range r.Tensors {
		fmt.Fprintf(w, "%s\t%s\t%s\n", printable.Text(t.Name), t.types(), t.numbers())
	}
	fmt.Fprintf(w, "%d tensors in both, %d identical", len(r.Tensors), r.Identical)
	if r.Worst != "" {
		fmt.Fprintf(w, ", largest relative error %.4g (%s)", r.Largest, printable.Text(r.Worst))
	}
	fmt.Fprintln(w)
	return w.Flush()
}

func (t *tensorChange) types() string {
	if t.TypeA == t.TypeB {
		return t.TypeA
	}
	return t.TypeA + " -> " + t.TypeB
}

func (t *tensorChange) numbers() string {
	switch d := t.Difference; {
	case d == nil && t.Note == "other shape":
		return fmt.Sprintf("%s: %s -> %s", t.Note, formatShape(t.ShapeA), formatShape(t.ShapeB))
	case d == nil:
		return t.Note
	case d.Identical:
		return "identical"
	case d.NotFinite > 0:
		return fmt.Sprintf("%.4g\t%.4g\t%.4g\t%.8f\t%d values not finite", d.MaxError, d.RMSE, d.Relative, d.Cosine, d.NotFinite)
	default:
		return fmt.Sprintf("%.4g\t%.4g\t%.4g\t%.8f", d.MaxError, d.RMSE, d.Relative, d.Cosine)
	}
}
