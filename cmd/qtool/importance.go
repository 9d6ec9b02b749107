package main

import (
	"fmt"
	"strings"

	"qtool/gguf"
	"qtool/quantize"
	"qtool/quantize/imatrix"
)

// importance is what quantize takes from --imatrix; empty without it.
type importance struct {
	matrix   *imatrix.Matrix
	weights  map[string][]float32
	metadata []gguf.KV
}

func readImportance(con *console, path string) (*importance, error) {
	if path == "" {
		return &importance{}, nil
	}
	m, err := imatrix.Read(path)
	if err != nil {
		return nil, fmt.Errorf("--imatrix: %w", err)
	}
	con.say("importance of %d weights from %s, %s", m.Len(), path, describeChunks(m))
	return &importance{m, m.Weights(), m.Provenance(path, m.Len())}, nil
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
	return printable(s)
}

// report names the weights of plan that importance does not reach.
func (i *importance) report(con *console, plan *quantize.Plan) {
	if i.matrix == nil {
		return
	}
	var without []string
	for _, t := range plan.Tensors {
		if t.To == t.From || t.To.BlockElements() == 1 {
			continue
		}
		if e, ok := i.matrix.Entry(t.Name); !ok {
			without = append(without, t.Name)
		} else if unused := e.Unused(); len(unused) > 0 {
			con.say("%s: no token was routed to %s; all their columns weigh the same", t.Name, describeUnused(unused, len(e.Counts)))
		}
	}
	if len(without) > 0 {
		con.say("without importance: %s", abbreviate(without, 8))
	}
}

// describeUnused names experts: "experts 3, 7 of 8".
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
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), len(names)-shown)
}
