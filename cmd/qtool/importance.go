package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"qtool/gguf"
	"qtool/internal/printable"
	"qtool/quantize"
	"qtool/quantize/imatrix"
)

// importance is what quantize takes from --imatrix; empty without it.
type importance struct {
	file     *imatrix.File // nil without it
	weights  quantize.Importance
	metadata []gguf.KV
}

// Close releases the file, when nothing is quantized with it any more.
func (i *importance) Close() error {
	if i.file == nil {
		return nil
	}
	return i.file.Close()
}

// inputs are the files that importance is read from.
func (i *importance) inputs() []gguf.Source {
	if i.file == nil {
		return nil
	}
	return []gguf.Source{i.file}
}

// importanceFor opens --imatrix, as far as the flags that select from it say. The caller
// closes it.
func importanceFor(c *cli.Context, con *console) (*importance, error) {
	path, include, exclude := c.String("imatrix"), c.StringSlice("include-weights"), c.StringSlice("exclude-weights")
	switch {
	case len(include) > 0 && len(exclude) > 0:
		return nil, usagef("--include-weights and --exclude-weights cannot be used together")
	case path == "" && len(include)+len(exclude) > 0:
		return nil, usagef("--include-weights and --exclude-weights select from an importance matrix: give one with --imatrix")
	case path == "":
		return &importance{}, nil
	}
	f, err := imatrix.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--imatrix: %w", err)
	}
	i := &importance{file: f}
	weights := quantize.SelectImportance(f, include, exclude)
	if weights == nil {
		con.say("importance of no weights is taken from %s: the flags that select from its %d leave none", path, f.Len())
		return i, nil
	}
	n := len(weights.Names())
	con.say("importance of %d weights from %s, %s", n, path, describeChunks(f.Header))
	i.weights, i.metadata = weights, f.Header.Provenance(path, n)
	return i, nil
}

// describeChunks tells how much text a matrix was made of.
func describeChunks(m *imatrix.Matrix) string {
	s := fmt.Sprintf("%d chunks", m.Chunks)
	if m.ChunkSize > 0 {
		s += fmt.Sprintf(" of %d tokens", m.ChunkSize)
	}
	if len(m.Datasets) > 0 {
		s += " of " + strings.Join(m.Datasets, ", ")
	}
	return printable.Text(s)
}

// report names the weights of plan that importance does not reach.
func (i *importance) report(con *console, plan *quantize.Plan) error {
	if i.weights == nil {
		return nil
	}
	known := map[string]bool{}
	for _, name := range i.weights.Names() {
		known[name] = true
	}
	var without []string
	var partly []neverRouted
	for _, t := range plan.Tensors {
		if t.To == t.From || t.To.BlockElements() == 1 {
			continue
		}
		name := plan.SourceName(t.Name)
		if !known[name] {
			without = append(without, t.Name)
			continue
		}
		e, err := i.file.Entry(name)
		if err != nil {
			return err
		}
		if unused := e.Unused(); len(unused) > 0 {
			partly = append(partly, neverRouted{t.Name, unused, len(e.Counts)})
		}
	}
	const shown = 6
	for _, n := range partly[:min(shown, len(partly))] {
		con.say("%v; all their columns weigh the same", n)
	}
	if more := len(partly) - shown; more > 0 {
		con.say("%d more weights have such experts; qtool inspect lists them", more)
	}
	if len(without) > 0 {
		con.say("without importance: %s", abbreviate(without, 8))
	}
	return nil
}

// describeUnused names experts: "2 of 8 experts (3, 7)".
func describeUnused(unused []int, all int) string {
	names := make([]string, len(unused))
	for i, e := range unused {
		names[i] = fmt.Sprint(e)
	}
	return fmt.Sprintf("%d of %d experts (%s)", len(unused), all, abbreviate(names, 16))
}

// abbreviate joins the first names and counts the others.
func abbreviate(names []string, shown int) string {
	if len(names) <= shown {
		return strings.Join(printable.Texts(names), ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(printable.Texts(names[:shown]), ", "), len(names)-shown)
}
