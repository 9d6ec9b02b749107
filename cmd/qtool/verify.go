package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"qtool/gguf"
	"qtool/internal/kernel"
	"qtool/internal/printable"
	"qtool/lora"
	"qtool/quantize"
)

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name:  "verify",
		Usage: "check that a model or adapter is whole and its weights are sound",
		UsageText: `qtool verify [--json] MODEL|ADAPTER

qtool verify model-00001-of-00003.gguf`,
		Description: `Everything is read: the header with all counts, names, offsets and shards, and every
value of every tensor, which must be finite once decoded. An adapter must also be one
that llama.cpp accepts. Damage is exit code 3.`,
		Flags:  []cli.Flag{preFlag(), threadsFlag(), jsonFlag()},
		Action: runVerify,
	}
}

// verifyReport is the JSON of verify.
type verifyReport struct {
	Path     string    `json:"path"`
	Kind     string    `json:"kind"` // model or adapter
	Total    int       `json:"tensors"`
	Values   int       `json:"values"`
	Bytes    int64     `json:"bytes"`
	Damaged  []finding `json:"damaged"`  // tensors with values that are not finite
	Remarks  []finding `json:"remarks"`  // sound, but worth a look
	Verified bool      `json:"verified"` // nothing is damaged
}

type finding struct {
	Tensor string `json:"tensor"`
	Type   string `json:"type"`
	Text   string `json:"text"`
}

func runVerify(c *cli.Context) error {
	args, err := arguments(c, "MODEL|ADAPTER")
	if err != nil {
		return err
	}
	from, err := modelSource(c, args[0])
	if err != nil {
		return err
	}
	m, err := openModel(from)
	if err != nil {
		return err
	}
	defer m.Close()
	con := newConsole(c)
	r := &verifyReport{Path: args[0], Kind: "model", Damaged: []finding{}, Remarks: []finding{}}
	if err := r.examine(c, con, m); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	kind, err := gguf.Or(m.Metadata().Str("general.type"))("model")
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	if kind == "adapter" && len(r.Damaged) == 0 {
		r.Kind = "adapter"
		if _, err := lora.FromModel(m); err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
	}
	r.Verified = len(r.Damaged) == 0
	if con.json {
		err = con.printJSON(r)
	} else {
		err = r.print(con.out)
	}
	if err == nil && !r.Verified {
		err = fmt.Errorf("%s: %w: %d of %d tensors are damaged, the first is %q", args[0], quantize.ErrInvalidWeights, len(r.Damaged), r.Total, r.Damaged[0].Tensor)
	}
	return err
}

// examine reads all tensors.
func (r *verifyReport) examine(c *cli.Context, con *console, m gguf.Model) error {
	pool := kernel.NewPool(c.Int("threads"))
	defer pool.Close()
	bar := con.progress()
	defer bar.Done()
	bar.Start(int64(elementsOf(m)), "values", "verifying")
	for _, t := range m.Tensors() {
		bar.Remark("%s", printable.Text(t.Name))
		h, err := quantize.Examine(c.Context, t, pool, func(n int) { bar.Add(int64(n)) })
		t.DontNeed()
		r.Total++
		r.Values += t.Elements()
		r.Bytes += t.Size()
		note := func(list *[]finding, format string, args ...any) {
			*list = append(*list, finding{t.Name, t.Type.String(), fmt.Sprintf(format, args...)})
		}
		switch {
		case errors.Is(err, quantize.ErrUnsupported):
			note(&r.Remarks, "values of this type cannot be looked into")
		case err != nil:
			return err
		case h.NotFinite > 0:
			note(&r.Damaged, "%d of %d values are not finite, the first is element %d", h.NotFinite, t.Elements(), h.First)
		case h.Zero:
			note(&r.Remarks, "all %d values are 0", t.Elements())
		}
	}
	return nil
}

func (r *verifyReport) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, f := range r.Damaged {
		fmt.Fprintf(w, "damaged\t%s\t%s\t%s\n", printable.Text(f.Tensor), f.Type, f.Text)
	}
	for _, f := range r.Remarks {
		fmt.Fprintf(w, "remark\t%s\t%s\t%s\n", printable.Text(f.Tensor), f.Type, f.Text)
	}
	if r.Verified {
		fmt.Fprintf(w, "%s: %s is whole: %d tensors, %d values, %s\n", r.Path, r.Kind, r.Total, r.Values, formatBytes(r.Bytes))
	}
	return w.Flush()
}
