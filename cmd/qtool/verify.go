package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"qtool/gguf"
	"qtool/internal/adapt"
	"qtool/internal/panics"
	"qtool/internal/printable"
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
that llama.cpp accepts. Damage is exit code 3.

A file with hashes of its contents is compared with them: adapters and models that
finetune writes have them, and those of quantize --hashes. Hashes that another program
copied to other tensors prove nothing, and a remark says so.`,
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
	Hashes   string    `json:"hashes"`   // none, agree, differ or foreign
	Damaged  []finding `json:"damaged"`  // what has values that are not finite, or is not as its hash says
	Remarks  []finding `json:"remarks"`  // sound, but worth a look
	Verified bool      `json:"verified"` // nothing is damaged
}

// finding is about a tensor, a metadata key, or if both are empty about the file.
type finding struct {
	Tensor string `json:"tensor"`
	Key    string `json:"key,omitempty"`
	Type   string `json:"type"`
	Text   string `json:"text"`
}

// subject names what the finding is about.
func (f finding) subject() string {
	switch {
	case f.Tensor != "":
		return printable.Text(f.Tensor)
	case f.Key != "":
		return printable.Text(f.Key)
	}
	return "the file"
}

// What verifyReport says of hashes.
const (
	hashesNone    = "none"
	hashesAgree   = "agree"
	hashesDiffer  = "differ"
	hashesForeign = "foreign" // of other tensors
)

func runVerify(c *cli.Context) error {
	args, err := arguments(c, "MODEL|ADAPTER")
	if err != nil {
		return err
	}
	m, err := openToRead(c, args[0])
	if err != nil {
		return err
	}
	defer m.Close()
	con := newConsole(c)
	r := &verifyReport{Path: args[0], Kind: "model", Damaged: []finding{}, Remarks: []finding{}}
	if err := r.examine(c, con, m); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	if err := m.Unchanged(); err != nil {
		return err
	}
	kind, err := gguf.Or(m.Metadata().Str("general.type"))("model")
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	if kind == "adapter" && len(r.Damaged) == 0 {
		r.Kind = "adapter"
		if _, err := adapt.FromModel(m); err != nil {
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
		err = fmt.Errorf("%s: %w", args[0], r.damage())
	}
	return err
}

// examine reads all tensors, and at the same time hashes those of a file with hashes.
func (r *verifyReport) examine(c *cli.Context, con *console, m gguf.Model) error {
	pool := quantize.NewPool(c.Int("threads"))
	defer pool.Close()
	bar := con.progress()
	defer bar.Done()
	bar.Start(int64(elementsOf(m)), "values", "verifying")
	hashed := gguf.Hashed(m)
	sums := make([]string, len(m.Tensors()))
	for i, t := range m.Tensors() {
		bar.Remark("%s", printable.Text(t.Name))
		var hashErr error
		hashing := panics.Go(func() {
			if hashed {
				sums[i], hashErr = t.SHA256(c.Context)
			}
		})
		h, err := quantize.Examine(c.Context, t, pool, func(n int) { bar.Add(int64(n)) })
		(<-hashing).Raise()
		if hashErr != nil {
			return hashErr
		}
		t.DontNeed()
		if err := r.note(t, h, err); err != nil {
			return err
		}
	}
	r.Hashes = hashesNone
	if !hashed {
		return nil
	}
	return r.compareHashes(c.Context, m, sums)
}

// note adds what [quantize.Examine] found in t.
func (r *verifyReport) note(t *gguf.Tensor, h quantize.Health, err error) error {
	r.Total++
	r.Values += t.Elements()
	r.Bytes += t.Size()
	add := func(list *[]finding, format string, args ...any) {
		*list = append(*list, finding{Tensor: t.Name, Type: t.Type.String(), Text: fmt.Sprintf(format, args...)})
	}
	switch {
	case errors.Is(err, quantize.ErrUnsupported):
		add(&r.Remarks, "values of this type cannot be looked into")
	case err != nil:
		return err
	case h.NotFinite > 0:
		add(&r.Damaged, "%d of %d values are not finite, the first is element %d", h.NotFinite, t.Elements(), h.First)
	case h.Zero:
		add(&r.Remarks, "all %d values are 0", t.Elements())
	}
	return nil
}

// compareHashes adds what is not as the hashes say.
func (r *verifyReport) compareHashes(ctx context.Context, m gguf.Model, sums []string) error {
	report, err := gguf.CompareHashes(ctx, m, sums)
	if err != nil {
		return err
	}
	r.Hashes = hashesAgree
	if report.Rewritten {
		r.Hashes = hashesForeign
		r.Remarks = append(r.Remarks, finding{Text: "its hashes are of other tensors and were not compared: another program made it and copied them"})
	}
	for _, d := range report.Damage {
		r.Hashes = hashesDiffer
		f := finding{Tensor: d.Tensor, Key: d.Key, Text: d.Reason}
		if t, ok := m.Tensor(d.Tensor); ok {
			f.Type = t.Type.String()
		}
		r.Damaged = append(r.Damaged, f)
	}
	for _, list := range []struct {
		keys []string
		text string
	}{{report.Added, "was added by another program"}, {report.Removed, "was removed by another program"}} {
		for _, key := range list.keys {
			if r.Hashes == hashesAgree {
				r.Remarks = append(r.Remarks, finding{Key: key, Text: list.text})
			}
		}
	}
	return nil
}

// damage sums up what is damaged.
func (r *verifyReport) damage() error {
	tensors := map[string]bool{}
	for _, f := range r.Damaged {
		if f.Tensor != "" {
			tensors[f.Tensor] = true
		}
	}
	first := r.Damaged[0]
	switch {
	case first.Tensor != "":
		return fmt.Errorf("%w: %d of %d tensors are damaged, the first is %q", quantize.ErrInvalidWeights, len(tensors), r.Total, first.Tensor)
	case first.Key != "":
		return fmt.Errorf("%w: metadata key %q is damaged", quantize.ErrInvalidWeights, first.Key)
	}
	return fmt.Errorf("%w: the file %s", quantize.ErrInvalidWeights, first.Text)
}

func (r *verifyReport) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, f := range r.Damaged {
		fmt.Fprintf(w, "damaged\t%s\t%s\t%s\n", f.subject(), f.Type, f.Text)
	}
	for _, f := range r.Remarks {
		fmt.Fprintf(w, "remark\t%s\t%s\t%s\n", f.subject(), f.Type, f.Text)
	}
	if r.Verified {
		agree := ""
		if r.Hashes == hashesAgree {
			agree = ", as its hashes say"
		}
		fmt.Fprintf(w, "%s: %s is whole: %d tensors, %d values, %s%s\n", r.Path, r.Kind, r.Total, r.Values, printable.Bytes(r.Bytes), agree)
	}
	return w.Flush()
}
