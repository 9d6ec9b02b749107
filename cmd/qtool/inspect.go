package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"qtool/gguf"
	"qtool/internal/adapt"
	"qtool/internal/printable"
	"qtool/internal/source"
	"qtool/quantize/imatrix"
)

func inspectCommand() *cli.Command {
	return &cli.Command{
		Name:  "inspect",
		Usage: "show what is in a model, an adapter or an importance matrix",
		UsageText: `qtool inspect [--all] [--json] MODEL|ADAPTER|IMATRIX

qtool inspect model.gguf
qtool inspect --json adapter.gguf
qtool inspect imatrix.gguf`,
		Description: `Shows metadata, tensors, types and sizes. Of an imatrix, in either form, it shows for
each weight the mean squares of its columns instead of tensors: their sum and its
share in all, the least, largest and mean, the share of columns that are active (above
1e-5), the entropy and how near it is to that of equal columns, the share of columns
more than a deviation above the mean, and the likeness to the layer before.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "show long strings and arrays in full, and the tensors of an imatrix"},
			preFlag(),
			jsonFlag(),
		},
		Action: runInspect,
	}
}

// inspectReport is what inspect prints. Its JSON is a contract.
type inspectReport struct {
	Path     string          `json:"path"`
	Format   formatReport    `json:"format"`
	Metadata []metadataEntry `json:"metadata"`
	Hashes   *hashReport     `json:"hashes,omitempty"` // instead of their keys, unless all are shown
	Tensors  []tensorReport  `json:"tensors"`
	Types    []typeTotal     `json:"types"`
	Total    modelTotal      `json:"total"`
	Adapter  *adapterReport  `json:"adapter,omitempty"`
	Imatrix  *matrixReport   `json:"imatrix,omitempty"`

	all bool // show what would be too long otherwise
}

type formatReport struct {
	Name      string   `json:"name"`
	Version   int      `json:"version,omitempty"`
	ByteOrder string   `json:"byte_order,omitempty"`
	Alignment int      `json:"alignment,omitempty"`
	Files     []string `json:"files,omitempty"`
}

type tensorReport struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Shape []int  `json:"shape"`
	Bytes int64  `json:"bytes"`
}

type typeTotal struct {
	Type       string `json:"type"`
	Tensors    int    `json:"tensors"`
	Parameters int    `json:"parameters"`
	Bytes      int64  `json:"bytes"`
}

type modelTotal struct {
	Tensors       int     `json:"tensors"`
	Parameters    int     `json:"parameters"`
	Bytes         int64   `json:"bytes"`
	BitsPerWeight float64 `json:"bits_per_weight"`
}

type adapterReport struct {
	Architecture string       `json:"architecture"`
	Alpha        float32      `json:"alpha"`
	Parameters   int          `json:"parameters"`
	Pairs        []pairReport `json:"pairs"`
}

type pairReport struct {
	Tensor string  `json:"tensor"`
	Rank   int     `json:"rank"`
	Scale  float32 `json:"scale"`
	A      []int   `json:"a"`
	B      []int   `json:"b"`
}

func runInspect(c *cli.Context) error {
	args, err := arguments(c, "MODEL|ADAPTER|IMATRIX")
	if err != nil {
		return err
	}
	var r *inspectReport
	m, err := openToRead(c, args[0])
	if err != nil {
		r, err = inspectLegacyImatrix(args[0], err)
	} else {
		defer m.Close()
		r, err = inspect(args[0], m, c.Bool("all"))
	}
	if err != nil {
		return err
	}
	con := newConsole(c)
	if con.json {
		return con.printJSON(r)
	}
	return r.print(con.out)
}

func inspect(path string, m gguf.Model, all bool) (*inspectReport, error) {
	r := &inspectReport{Path: path, Format: describeFormat(m), Metadata: []metadataEntry{}, Tensors: []tensorReport{}, all: all}
	for _, kv := range m.Metadata().All() {
		if gguf.IsHashKey(kv.Key) && !all {
			r.Hashes = hashesOf(m.Metadata())
			continue
		}
		r.Metadata = append(r.Metadata, describeValue(kv, all))
	}
	for _, t := range m.Tensors() {
		r.Tensors = append(r.Tensors, tensorReport{t.Name, t.Type.String(), t.Shape, t.Size()})
	}
	r.Types, r.Total = totals(m)
	switch kind, _ := m.Metadata().Str("general.type"); kind {
	case "adapter":
		a, err := adapt.FromModel(m)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		r.Adapter = describeAdapter(a)
	case "imatrix":
		i, err := imatrix.FromModel(m)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		r.Imatrix = describeMatrix(i)
	}
	return r, nil
}

func describeFormat(m gguf.Model) formatReport {
	f := source.File(m)
	if f == nil {
		return formatReport{Name: "Hugging Face"}
	}
	return formatReport{"GGUF", f.Version(), f.ByteOrder().String(), f.Alignment(), f.Paths()}
}

// totals sums the tensors by type, in order of first appearance, and all together.
func totals(m gguf.Model) ([]typeTotal, modelTotal) {
	types, index := []typeTotal{}, map[gguf.Type]int{}
	var all modelTotal
	for _, t := range m.Tensors() {
		i, ok := index[t.Type]
		if !ok {
			i = len(types)
			index[t.Type] = i
			types = append(types, typeTotal{Type: t.Type.String()})
		}
		types[i].Tensors++
		types[i].Parameters += t.Elements()
		types[i].Bytes += t.Size()
		all.Tensors++
		all.Parameters += t.Elements()
		all.Bytes += t.Size()
	}
	if all.Parameters > 0 {
		all.BitsPerWeight = 8 * float64(all.Bytes) / float64(all.Parameters)
	}
	return types, all
}

func describeAdapter(a *adapt.Adapter) *adapterReport {
	r := &adapterReport{Architecture: a.Architecture, Alpha: a.Alpha, Pairs: []pairReport{}}
	for _, p := range a.Pairs {
		r.Parameters += len(p.A.Data) + len(p.B.Data)
		r.Pairs = append(r.Pairs, pairReport{p.Tensor, p.Rank, p.Scale, p.A.Shape, p.B.Shape})
	}
	return r
}

func (r *inspectReport) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s: %s\n\n", r.Path, r.Format)
	for _, e := range r.Metadata {
		fmt.Fprintf(w, "%s\t%s\t%s\n", printable.Text(e.Key), e.Type, e.text())
	}
	if r.Hashes != nil {
		fmt.Fprintf(w, "%s\tarr[str]\t%s, which qtool verify compares\n", hashKeys, r.Hashes)
	}
	if r.Imatrix != nil && !r.all {
		if w.Flush(); len(r.Metadata) > 0 {
			fmt.Fprintln(out)
		}
		r.Imatrix.print(out)
		return nil
	}
	fmt.Fprintln(w)
	for _, t := range r.Tensors {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", printable.Text(t.Name), t.Type, formatShape(t.Shape), printable.Bytes(t.Bytes))
	}
	fmt.Fprintln(w)
	for _, t := range r.Types {
		fmt.Fprintf(w, "%s\t%d tensors\t%d parameters\t%s\n", t.Type, t.Tensors, t.Parameters, printable.Bytes(t.Bytes))
	}
	fmt.Fprintf(w, "total\t%d tensors\t%d parameters\t%s\t%.2f bits per weight\n",
		r.Total.Tensors, r.Total.Parameters, printable.Bytes(r.Total.Bytes), r.Total.BitsPerWeight)
	if r.Adapter != nil {
		r.Adapter.print(w)
	}
	if err := w.Flush(); err != nil || r.Imatrix == nil {
		return err
	}
	fmt.Fprintln(out)
	r.Imatrix.print(out)
	return nil
}

func (a *adapterReport) print(w io.Writer) {
	fmt.Fprintf(w, "\nadapter for %s: %d pairs, %d parameters, alpha %g\n", printable.Text(a.Architecture), len(a.Pairs), a.Parameters, a.Alpha)
	for _, p := range a.Pairs {
		fmt.Fprintf(w, "%s\trank %d\tscale %g\tA %s\tB %s\n", printable.Text(p.Tensor), p.Rank, p.Scale, formatShape(p.A), formatShape(p.B))
	}
}

func (f formatReport) String() string {
	if f.Version == 0 {
		return f.Name
	}
	s := fmt.Sprintf("%s version %d", f.Name, f.Version)
	if f.ByteOrder != "LittleEndian" {
		s += ", " + f.ByteOrder
	}
	if len(f.Files) > 1 {
		s += fmt.Sprintf(", %d files", len(f.Files))
	}
	return s
}

// formatShape gives a shape in ggml order: "64 × 512".
func formatShape(shape []int) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(shape), "[]"), " ", " × ")
}
