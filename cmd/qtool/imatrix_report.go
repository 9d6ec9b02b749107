package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"qtool/internal/printable"
	"qtool/quantize/imatrix"
)

// imatrixReport is what imatrix says at its end, with --json as it is here. Tokens and
// Seconds are of this run, all else is of the file.
type imatrixReport struct {
	Output    string   `json:"output"`
	Entries   int      `json:"entries"`
	Datasets  []string `json:"datasets"`
	Chunks    int      `json:"chunks"`
	ChunkSize int      `json:"chunk_size"`
	Tokens    int      `json:"tokens"`
	Seconds   float64  `json:"seconds"`
	*perplexityOf
	NeverRouted []neverRouted `json:"never_routed"`

	matrix *imatrix.Matrix
}

// neverRouted names experts that no token was routed to.
type neverRouted struct {
	Tensor  string `json:"tensor"`
	Experts []int  `json:"experts"`
	Of      int    `json:"of"`
}

func neverRoutedOf(m *imatrix.Matrix) []neverRouted {
	list := []neverRouted{}
	for _, e := range m.Entries() {
		if unused := e.Unused(); len(unused) > 0 {
			list = append(list, neverRouted{e.Name, unused, len(e.Counts)})
		}
	}
	return list
}

func (n neverRouted) String() string {
	return fmt.Sprintf("%s: no token was routed to %s", printable.Text(n.Tensor), describeUnused(n.Experts, n.Of))
}

// writesLegacy reports whether the legacy form is asked for.
func writesLegacy(c *cli.Context) bool {
	return c.Bool("legacy") || imatrix.LegacyName(c.String("output"))
}

// writeImatrix writes the file that r is about.
func writeImatrix(ctx context.Context, c *cli.Context, r *imatrixReport) error {
	r.Output = c.String("output")
	return r.matrix.WriteFile(ctx, r.Output, writesLegacy(c))
}

// print fills in what the matrix holds and prints the report.
func (r *imatrixReport) print(con *console) error {
	m := r.matrix
	r.Entries, r.Datasets, r.Chunks, r.ChunkSize = m.Len(), m.Datasets, m.Chunks, m.ChunkSize
	r.NeverRouted = neverRoutedOf(m)
	if con.json {
		return con.printJSON(r)
	}
	fmt.Fprintf(con.out, "%s: importance of %d weights, %s\n", r.Output, r.Entries, describeChunks(m))
	if p := r.perplexityOf; p != nil {
		fmt.Fprintf(con.out, "perplexity %.4f ± %.4f\n", p.Perplexity, p.Error)
	}
	for _, n := range r.NeverRouted {
		fmt.Fprintln(con.out, n)
	}
	if r.Seconds > 0 {
		con.say("%d tokens in %.1f s, %.0f tokens/s", r.Tokens, r.Seconds, float64(r.Tokens)/r.Seconds)
	}
	return nil
}
