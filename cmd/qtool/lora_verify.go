package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"qtool/gguf"
	"qtool/internal/adapt"
	"qtool/internal/budget"
	"qtool/internal/infer"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
	"qtool/internal/printable"
	"qtool/internal/source"
	"qtool/lora"
)

func loraVerifyCommand() *cli.Command {
	return &cli.Command{
		Name:  "verify",
		Usage: "find out whether an adapter is right for a base, and what it does to it",
		UsageText: `qtool lora verify ADAPTER[:SCALE] --model BASE

qtool lora verify mine.gguf --model model-q4_k_m.gguf
qtool lora verify mine.gguf:0.5 --model ollama:qwen3:0.6b --prompt "Dear diary,"
qtool lora verify --json mine.gguf --model model-q4_k_m.gguf`,
		Description: `Looks at the file (marks, alpha, types, NaN, zero pairs, keys), at the base (names,
shapes, number of experts, tied heads, the model that the adapter was trained on) and at
what llama.cpp and Ollama would make of it, and computes the logits of a text with and
without it. Each finding says what happens where, and what to do.

NMSE is Σ(l'-l)²/Σl² over all logits, KL that of the adapted predictions from those of the
base in nats per token.

Exit codes: 0 nothing is wrong (warnings and notes may be there), 3 the file is broken,
4 it or the base is of a kind that is not computed, 5 it does not do to this base what it
should.`,
		Flags: []cli.Flag{
			modelFlag(&cli.StringFlag{Name: "model", Aliases: []string{"m"}, Usage: "the `BASE`: a .gguf file, a Hugging Face folder or ollama:NAME"}),
			promptFlag("compute the logits of `TEXT` in place of the text that is built in"),
			noEscapeFlag("--prompt"),
			inputFlag(&cli.StringFlag{Name: "data", Usage: "compute the logits of the beginning of `FILE`, a text"}),
			preFlag(),
			threadsFlag(),
			forceFlag(),
			jsonFlag(),
		},
		Action: runLoraVerify,
	}
}

// loraVerifyReport is the JSON of lora verify.
type loraVerifyReport struct {
	Adapter  string  `json:"adapter"`
	Scale    float32 `json:"scale"`
	Model    string  `json:"model"`
	Verified bool    `json:"verified"`
	*lora.Verdict
}

func runLoraVerify(c *cli.Context) error {
	args, err := arguments(c, "ADAPTER[:SCALE]")
	if err != nil {
		return err
	}
	path := c.String("model")
	switch {
	case path == "":
		return usagef("lora verify: --model is missing; usage: qtool lora verify ADAPTER[:SCALE] --model BASE (qtool verify looks at an adapter alone)")
	case c.IsSet("prompt") && c.IsSet("data"):
		return usagef("lora verify: give either --prompt or --data")
	}
	named, err := parseMerged("lora verify", args[0])
	if err != nil {
		return err
	}
	con := newConsole(c)
	o := lora.Verifying{Strength: named.Scale, Threads: c.Int("threads")}
	if o.Text, err = probeText(c, con); err != nil {
		return err
	}
	if err := checkAdapterFile(named.Path); err != nil {
		return err
	}
	if err := checkAdapterMemory(c, con, 2, "verify it on a machine with more memory", named.Path); err != nil {
		return err
	}
	file, err := gguf.Open(named.Path)
	if err != nil {
		return fmt.Errorf("adapter: %w", err)
	}
	defer file.Close()
	base, err := openToRead(c, path)
	if err != nil {
		return err
	}
	defer base.Close()
	if err := checkProbe(c, con, base, path); err != nil {
		return err
	}
	bar := con.progress()
	defer bar.Done()
	stage := lora.Stage("")
	o.Progress = func(s lora.Stage, done, total int64) {
		if s != stage {
			bar.Done()
			bar.Start(total, map[lora.Stage]string{lora.Identifying: "bytes", lora.Probing: "tokens"}[s], string(s))
			stage = s
		}
		bar.Set(done)
	}
	verdict, err := lora.Verify(c.Context, file, base, o)
	if err == nil {
		err = errors.Join(file.Unchanged(), base.Unchanged())
	}
	if err != nil {
		return fmt.Errorf("%s on %s: %w", named.Path, path, err)
	}
	bar.Done()
	r := &loraVerifyReport{named.Path, named.Scale, path, verdict.Err() == nil, verdict}
	if con.json {
		err = con.printJSON(r)
	} else {
		_, err = io.WriteString(con.out, r.text())
	}
	if err == nil && !r.Verified {
		err = fmt.Errorf("%s on %s: %w", named.Path, path, verdict.Err())
	}
	return err
}

// checkAdapterFile refuses what is not there, and a folder.
func checkAdapterFile(path string) error {
	if err := source.Found("", path); err != nil {
		return err
	}
	return adapt.NoFolder(path)
}

// probeText is what --prompt or --data give, "" without.
func probeText(c *cli.Context, con *console) (string, error) {
	switch {
	case c.IsSet("data"):
		return readText(c.Context, con, "data", c.String("data"))
	case !c.IsSet("prompt"):
		return "", nil
	}
	text, err := promptOf(c, con)
	if err == nil && text == "" {
		err = usagef("lora verify: --prompt is empty")
	}
	return text, err
}

// checkProbe refuses a base that does not fit in memory. What cannot be computed with is told
// by the verdict.
func checkProbe(c *cli.Context, con *console, base source.Model, path string) error {
	b := budget.New("lora verify", c.Bool("force"), con.sayText)
	if err := b.CheckLoading(base, path); err != nil {
		return err
	}
	d, err := model.Load(base, model.Options{Shapes: true})
	if err != nil {
		return nil
	}
	n := min(lora.MaxProbeTokens, d.Context)
	return checkRunning(b, c.Int("threads"), running{
		size: n, smaller: nil, otherwise: budget.ModelTooLarge,
		needs: func(pool *product.Pool, n int, most int64) infer.Memory {
			return infer.NewSession(d, nil, pool).EffectMemory(n, most)
		},
	})
}

// subjectsShown is how many tensors or keys of a finding are printed.
const subjectsShown = 4

func (r *loraVerifyReport) text() string {
	var b strings.Builder
	name := printable.Text(r.Adapter)
	if r.Scale != 1 {
		name += fmt.Sprintf(" (strength %g)", r.Scale)
	}
	fmt.Fprintf(&b, "%s on %s\n", name, printable.Text(r.Model))
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	if r.Pairs > 0 {
		fmt.Fprintf(w, "adapter\tfor %s: %s, %d parameters, rank %s, alpha %g, %s\n", printable.Text(r.Architecture), printable.Count(r.Pairs, "pair"), r.Parameters,
			strings.Trim(fmt.Sprint(r.Ranks), "[]"), r.Alpha, strings.Join(r.Types, " "))
	}
	if r.Base.Relation == lora.RelationSame {
		fmt.Fprintf(w, "base\tthe tensors that it was trained on: %v\n", r.Base.Found)
	}
	if p := r.Probe; p != nil {
		fmt.Fprintf(w, "changes\tlogits by an NMSE of %.3g, at most %.3g\n\tpredictions by a KL divergence of %.4g nats a token, at most %.4g\n\tthe likeliest token after %d of %d tokens (%s)\n",
			p.NMSE, p.LargestChange, p.KL, p.LargestKL, p.TopChanges, p.Tokens, probedText(p))
	}
	w.Flush()
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "\n%s: %s (%s)\n", f.Severity, f.Title, f.Code)
		for i, s := range f.Subjects {
			if i == subjectsShown {
				fmt.Fprintf(&b, "  and %d more, which --json lists\n", len(f.Subjects)-i)
				break
			}
			fmt.Fprintf(&b, "  %s%s\n", keyOf(s), s.Text)
		}
		for _, e := range f.Effects {
			fmt.Fprintf(w, "  %s\t%s\n", e.Place, e.Text)
		}
		if f.Next != "" {
			fmt.Fprintf(w, "  next\t%s\n", f.Next)
		}
		w.Flush()
	}
	b.WriteString("\n")
	for _, p := range r.Places {
		fmt.Fprintf(w, "%s\t%s\n", p.Place, placeText(p, r.Places))
	}
	w.Flush()
	return b.String()
}

func keyOf(s lora.Subject) string {
	if s.Key == "" || strings.Contains(s.Text, s.Key) {
		return ""
	}
	return printable.Text(s.Key) + ": "
}

func probedText(p *lora.Probe) string {
	switch {
	case p.Text == lora.ProbeIDs:
		return "ids from all over the vocabulary, since the base has no tokenizer that can be used"
	case p.Text == lora.ProbeBuiltIn:
		return "the text that is built in"
	case p.Tokens < p.Of:
		return fmt.Sprintf("the beginning of the %d of the text", p.Of)
	}
	return "the text that was given"
}

// placeText says what becomes of the adapter at a place.
func placeText(p lora.Effect, all []lora.Effect) string {
	merges := all[len(all)-1].Outcome == lora.Works || all[len(all)-1].Outcome == lora.Caution
	switch {
	case p.Outcome == lora.Works && p.Place == lora.Ollama:
		return "works; versions that take no adapters get it merged by qtool ollama create"
	case p.Outcome == lora.Works:
		return "works"
	case p.Place == lora.Ollama && merges && p.Outcome != lora.Caution:
		return p.Text + "; merged, it works: qtool ollama create --via merge"
	}
	return p.Text
}
