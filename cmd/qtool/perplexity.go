package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"qtool/internal/budget"
	"qtool/internal/infer"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
	"qtool/internal/source"
	"qtool/internal/tokenizer"
)

func perplexityCommand() *cli.Command {
	return &cli.Command{
		Name:  "perplexity",
		Usage: "measure how well a model predicts a text",
		UsageText: `qtool perplexity MODEL --data FILE [flags]

qtool perplexity model.gguf --data wiki.test.raw --context 512
qtool perplexity model.gguf --lora adapter.gguf --data valid.txt --chunks 20 --json
qtool perplexity model-q4.gguf --baseline model-f16.gguf --data wiki.test.raw`,
		Description: `The method is llama-perplexity's: the text is cut into windows, each beginning
with BOS in place of its first token if the model adds one, and the second half
of each window is scored.

With --baseline both models read the text side by side, and what is lost from one
to the other is told as llama-perplexity --kl-divergence does; no file of logits is
needed. Adapters given with --lora are MODEL's alone.`,
		Flags: []cli.Flag{
			inputFlag(&cli.StringFlag{Name: "data", Aliases: []string{"f"}, Usage: "score the text of `FILE`; \"-\" is standard input"}),
			modelFlag(&cli.StringFlag{Name: "baseline", Usage: "tell how far MODEL's predictions are from those of the model `M2`"}),
			adapterFlag(),
			&cli.IntFlag{Name: "context", Aliases: []string{"c"}, Usage: "windows of `N` tokens", DefaultText: "512, or the model's context if that is less"},
			&cli.IntFlag{Name: "chunks", Usage: "score `N` windows at most", DefaultText: "all"},
			preFlag(),
			threadsFlag(),
			forceFlag(),
			jsonFlag(),
		},
		Action: runPerplexity,
	}
}

// perplexityReport is the JSON of perplexity.
type perplexityReport struct {
	perplexityOf
	Context int `json:"context"`
	Chunks  int `json:"chunks"`
	Scored  int `json:"scored_tokens"`
	Tokens  int `json:"tokens"`
	*divergenceReport
}

// perplexityOf is what one model gets.
type perplexityOf struct {
	Perplexity float64 `json:"perplexity"`
	Error      float64 `json:"standard_error"`
	NLL        float64 `json:"nll"`
}

// divergenceReport is what --baseline adds.
type divergenceReport struct {
	Baseline    perplexityOf       `json:"baseline"`
	LogRatio    infer.Estimate     `json:"ln_perplexity_ratio"`
	Ratio       infer.Estimate     `json:"perplexity_ratio"`
	Difference  infer.Estimate     `json:"perplexity_difference"`
	Correlation float64            `json:"correlation"`
	KL          infer.Distribution `json:"kl_divergence"`
	DeltaP      infer.Distribution `json:"delta_p"`
	RMS         infer.Estimate     `json:"rms_delta_p"`
	SameTop     infer.Estimate     `json:"same_top"`
}

func runPerplexity(c *cli.Context) error {
	args, err := arguments(c, "MODEL")
	if err != nil {
		return err
	}
	con, data := newConsole(c), c.String("data")
	switch {
	case data == "":
		return usagef("perplexity: --data is missing")
	case c.Int("context") < 0 || c.Int("chunks") < 0:
		return usagef("perplexity: --context and --chunks cannot be negative")
	}
	text, err := readText(c.Context, con, "data", data)
	if err != nil {
		return err
	}
	paths := args
	if c.IsSet("baseline") {
		paths = append(paths, c.String("baseline"))
	}
	models, err := modelSources(c, paths...)
	if err != nil {
		return err
	}
	opt := infer.PerplexityOptions{Context: c.Int("context"), Chunks: c.Int("chunks")}
	var ids []int32
	l, err := loadForRun(c, con, models[0], c.StringSlice("lora"), func(l *loaded) (err error) {
		ids, err = l.checkText(text, tokenizer.EncodeOptions{AddSpecial: true}, func(tokens, context int) error {
			return infer.CheckPerplexity(tokens, context, opt)
		})
		return err
	})
	if err != nil {
		return err
	}
	defer l.Close()
	if _, err := l.tokenizer(); err != nil {
		return err
	}
	r, err := measurePerplexity(c, con, l, ids, opt, models[1:])
	if err != nil {
		return err
	}
	if err := l.file.Unchanged(); err != nil {
		return err
	}
	if con.json {
		return con.printJSON(r)
	}
	_, err = io.WriteString(con.out, r.text())
	return err
}

func measurePerplexity(c *cli.Context, con *console, l *loaded, ids []int32, opt infer.PerplexityOptions, baseline []source.Source) (*perplexityReport, error) {
	bar := con.progress()
	defer bar.Done()
	opt.Progress = func(sofar infer.Perplexity, total int) {
		if sofar.Chunks == 0 {
			bar.Start(int64(total), "windows", "perplexity")
			return
		}
		bar.Remark("%.4f so far", sofar.Value)
		bar.Set(int64(sofar.Chunks))
	}
	if len(baseline) == 0 {
		if err := checkPerplexity(c, l, nil, len(ids), opt); err != nil {
			return nil, err
		}
		p, err := l.session().Perplexity(c.Context, ids, opt)
		return reportPerplexity(p, len(ids)), err
	}
	base, err := loadForRun(c, con, baseline[0], nil, nil)
	if err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	defer base.Close()
	if err := checkPerplexity(c, l, base, len(ids), opt); err != nil {
		return nil, err
	}
	d, err := l.session().Compare(c.Context, base.session(), ids, opt)
	if err == nil {
		err = base.file.Unchanged()
	}
	r := reportPerplexity(d.Model, len(ids))
	r.divergenceReport = &divergenceReport{
		perplexityFrom(d.Baseline), d.LogRatio, d.Ratio, d.Difference, d.Correlation, d.KL, d.DeltaP, d.RMS, d.SameTop,
	}
	return r, err
}

// checkPerplexity refuses windows that do not fit. base is nil without a baseline.
func checkPerplexity(c *cli.Context, l, base *loaded, tokens int, opt infer.PerplexityOptions) error {
	models, memory := []*model.Decoder{l.decoder}, l.memory
	if base != nil {
		base.memory.Warned = memory.Warned
		models, memory = append(models, base.decoder), base.memory
	}
	n, err := infer.Window(tokens, opt, models...)
	if err != nil {
		return err
	}
	return checkRunning(memory, c.Int("threads"), running{
		size: n, smaller: windowsBelow(n),
		needs: func(pool *product.Pool, n int, most int64) infer.Memory {
			var baseline *infer.Session
			if base != nil {
				baseline = infer.NewSession(base.decoder, base.tokens, pool)
			}
			return infer.NewSession(l.decoder, l.tokens, pool).PerplexityMemory(tokens, baseline, infer.PerplexityOptions{Context: n}, most)
		},
		advice: "with --context %d", otherwise: budget.ModelTooLarge,
	})
}

func reportPerplexity(p infer.Perplexity, tokens int) *perplexityReport {
	return &perplexityReport{perplexityFrom(p), p.Context, p.Chunks, p.Scored, tokens, nil}
}

func perplexityFrom(p infer.Perplexity) perplexityOf { return perplexityOf{p.Value, p.Error, p.NLL} }

func (r *perplexityReport) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "perplexity %.4f ± %.4f over %d tokens in %d windows of %d\n", r.Perplexity, r.Error, r.Scored, r.Chunks, r.Context)
	if r.divergenceReport != nil {
		r.divergenceReport.print(&b)
	}
	return b.String()
}

func (d *divergenceReport) print(out io.Writer) {
	line := func(name string, e infer.Estimate, factor float64, unit string) {
		fmt.Fprintf(out, "%-26s %10.6f ± %.6f%s\n", name, factor*e.Value, factor*e.Error, unit)
	}
	line("perplexity of the baseline", infer.Estimate{Value: d.Baseline.Perplexity, Error: d.Baseline.Error}, 1, "")
	line("ln(ratio)", d.LogRatio, 1, "")
	line("ratio", d.Ratio, 1, "")
	line("difference", d.Difference, 1, "")
	fmt.Fprintf(out, "%-26s %10.4f %%\n", "correlation", 100*d.Correlation)
	line("mean KL divergence", d.KL.Mean, 1, "")
	line("mean Δp", d.DeltaP.Mean, 100, " %")
	line("RMS Δp", d.RMS, 100, " %")
	line("same top token", d.SameTop, 100, " %")
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\tKL divergence\tΔp\t\n")
	for _, p := range d.DeltaP.Percentiles {
		kl := ""
		for _, q := range d.KL.Percentiles {
			if p.Percent == q.Percent {
				kl = fmt.Sprintf("%.6f", q.Value)
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%.3f %%\t\n", nameOf(p.Percent), kl, 100*p.Value)
	}
	w.Flush()
}

func nameOf(percent float64) string {
	switch percent {
	case 100:
		return "maximum"
	case 50:
		return "median"
	case 0:
		return "minimum"
	}
	return fmt.Sprintf("%g %%", percent)
}
