package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"qtool/gguf"
	"qtool/internal/input"
	"qtool/internal/printable"
	"qtool/quantize/imatrix"
)

// matrixReport is what inspect tells of an importance matrix. Sums are of mean squares;
// shares are from 0 to 1.
type matrixReport struct {
	Datasets  []string       `json:"datasets"`
	Chunks    int            `json:"chunks"`
	ChunkSize int            `json:"chunk_size,omitempty"` // the legacy form has none
	Entries   []entryReport  `json:"entries"`
	Layers    []layerAverage `json:"layers"`
	Unread    []string       `json:"unread,omitempty"`

	neverRouted []neverRouted // what the entries say of it, by name
}

type entryReport struct {
	Tensor      string   `json:"tensor"`
	Columns     int      `json:"columns"`
	Sum         float64  `json:"sum"`
	Share       float64  `json:"share"` // of the sums of all entries
	Mean        float64  `json:"mean"`
	Min         float64  `json:"min"`
	Max         float64  `json:"max"`
	Deviation   float64  `json:"deviation"`
	Active      float64  `json:"active"`
	Entropy     float64  `json:"entropy"`
	Evenness    float64  `json:"entropy_share"`
	Outstanding float64  `json:"z_density"`
	Cosine      *float64 `json:"cosine,omitempty"` // to the layer before
	Matrices    int      `json:"matrices"`
	NeverRouted []int    `json:"never_routed,omitempty"`
}

type layerAverage struct {
	Layer       int     `json:"layer"`
	Sum         float64 `json:"sum"`
	Outstanding float64 `json:"z_density"`
	Cosine      float64 `json:"cosine"`
}

func describeMatrix(m *imatrix.Matrix) *matrixReport {
	r := &matrixReport{
		Datasets: append([]string{}, m.Datasets...), Chunks: m.Chunks, ChunkSize: m.ChunkSize,
		Entries: []entryReport{}, Layers: []layerAverage{}, Unread: m.Unread, neverRouted: neverRoutedOf(m),
	}
	all := m.Statistics()
	for _, s := range all {
		e := entryReport{
			s.Name, s.Columns, s.Sum, s.ShareOfAllSums, s.Mean, s.Min, s.Max, s.Deviation,
			s.Active, s.Entropy, s.Evenness, s.Outstanding, nil, s.Matrices, s.Unused,
		}
		if s.HasPrevious {
			e.Cosine = &s.Cosine
		}
		r.Entries = append(r.Entries, e)
	}
	for _, l := range imatrix.ByLayer(all) {
		r.Layers = append(r.Layers, layerAverage(l))
	}
	return r
}

// inspectLegacyImatrix describes the file at path if it is an imatrix of the legacy
// form. That has no mark of its own, so notModel, the error of opening it as a model,
// stays unless all of it can be read as one.
func inspectLegacyImatrix(path string, notModel error) (*inspectReport, error) {
	if !errors.Is(notModel, gguf.ErrFormat) {
		return nil, notModel
	}
	f, err := input.Open(path)
	if err != nil {
		return nil, notModel
	}
	defer f.Close()
	if legacy, err := imatrix.IsLegacy(f); err != nil || !legacy {
		return nil, notModel
	}
	m, err := imatrix.Read(path)
	if err != nil {
		return nil, notModel
	}
	return &inspectReport{
		Path: path, Format: formatReport{Name: "imatrix, legacy form"},
		Metadata: []metadataEntry{}, Tensors: []tensorReport{}, Types: []typeTotal{}, Imatrix: describeMatrix(m),
	}, nil
}

func (r *matrixReport) print(w io.Writer) {
	chunks := describeChunks(&imatrix.Matrix{Datasets: r.Datasets, Chunks: r.Chunks, ChunkSize: r.ChunkSize})
	fmt.Fprintf(w, "importance of %d weights, %s\n", len(r.Entries), chunks)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "columns\tsum\tshare\tmin\tmax\tmean\tdeviation\tactive\tentropy\teven\tz > 1\tcosine\t  weight")
	for _, e := range r.Entries {
		cosine := ""
		if e.Cosine != nil {
			cosine = fmt.Sprintf("%.4f", *e.Cosine)
		}
		fmt.Fprintf(t, "%d\t%.2f\t%s\t%.4f\t%.4f\t%.4f\t%.4f\t%s\t%.4f\t%s\t%s\t%s\t  %s\n",
			e.Columns, e.Sum, percent(e.Share), e.Min, e.Max, e.Mean, e.Deviation, percent(e.Active),
			e.Entropy, percent(e.Evenness), percent(e.Outstanding), cosine, printable.Text(e.Tensor))
	}
	t.Flush()
	fmt.Fprintln(w)
	fmt.Fprintln(t, "layer\tmean sum\tz > 1\tcosine\t")
	for _, l := range r.Layers {
		fmt.Fprintf(t, "%d\t%.2f\t%s\t%.4f\t\n", l.Layer, l.Sum, percent(l.Outstanding), l.Cosine)
	}
	t.Flush()
	for _, n := range r.neverRouted {
		fmt.Fprintln(w, n)
	}
	if len(r.Unread) > 0 {
		fmt.Fprintf(w, "not understood: %s\n", abbreviate(r.Unread, 8))
	}
}

func percent(share float64) string { return fmt.Sprintf("%.2f%%", 100*share) }
