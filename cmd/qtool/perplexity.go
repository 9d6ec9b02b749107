package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"qtool/internal/infer"
	"qtool/internal/model"
	"qtool/internal/tokenizer"
)

func perplexityCommand() *cli.Command {
	return &cli.Command{
		Name:  "perplexity",
		Usage: "measure how well a model predicts a text",
		UsageText: `qtool perplexity MODEL --data FILE [flags]

qtool perplexity model.gguf --data wiki.test.raw --context 512
qtool perplexity model.gguf --lora adapter.gguf --data valid.txt --chunks 20 --json`,
		Description: `The method is llama-perplexity's: the text is cut into windows, each beginning
with BOS in place of its first token if the model adds one, and the second half
of each window is scored.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "data", Aliases: []string{"f"}, Usage: "score the text of `FILE`; \"-\" is standard input"},
			adapterFlag(),
			&cli.IntFlag{Name: "context", Aliases: []string{"c"}, Usage: "windows of `N` tokens (default: 512, or the model's context if that is less)"},
			&cli.IntFlag{Name: "chunks", Usage: "score `N` windows at most (default: all)"},
			threadsFlag(),
			jsonFlag(),
		},
		Action: runPerplexity,
	}
}

// perplexityReport is the JSON of perplexity.
type perplexityReport struct {
	Perplexity float64 `json:"perplexity"`
	Error      float64 `json:"standard_error"`
	NLL        float64 `json:"nll"`
	Context    int     `json:"context"`
	Chunks     int     `json:"chunks"`
	Scored     int     `json:"scored_tokens"`
	Tokens     int     `json:"tokens"`
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
	text, err := readInput(c.Context, con, data)
	if err != nil {
		return fmt.Errorf("reading the text: %w", err)
	}
	l, err := loadForRun(args[0], c.String("lora"), c.Int("threads"), model.Options{})
	if err != nil {
		return err
	}
	defer l.Close()
	tok, err := l.tokenizer()
	if err != nil {
		return err
	}
	ids := tok.Encode(text, tokenizer.EncodeOptions{AddSpecial: true})
	p, err := measurePerplexity(c, con, l.session(), ids)
	if err != nil {
		return err
	}
	r := perplexityReport{p.Value, p.Error, p.NLL, p.Context, p.Chunks, p.Scored, len(ids)}
	if con.json {
		return con.printJSON(r)
	}
	_, err = fmt.Fprintf(con.out, "perplexity %.4f ± %.4f over %d tokens in %d windows of %d\n", r.Perplexity, r.Error, r.Scored, r.Chunks, r.Context)
	return err
}

func measurePerplexity(c *cli.Context, con *console, s *infer.Session, ids []int32) (infer.Perplexity, error) {
	bar := con.progress()
	defer bar.Done()
	return s.Perplexity(c.Context, ids, infer.PerplexityOptions{
		Context: c.Int("context"), Chunks: c.Int("chunks"),
		Progress: func(sofar infer.Perplexity, total int) {
			if sofar.Chunks == 0 {
				bar.Start(int64(total), "windows", "perplexity")
				return
			}
			bar.Remark("%.4f so far", sofar.Value)
			bar.Set(int64(sofar.Chunks))
		},
	})
}
