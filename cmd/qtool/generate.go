package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"qtool/internal/infer"
	"qtool/internal/kernel/product"
	"qtool/internal/tokenizer"
)

func generateCommand() *cli.Command {
	return &cli.Command{
		Name:  "generate",
		Usage: "continue a text",
		UsageText: `qtool generate MODEL --prompt TEXT [flags]

qtool generate model.gguf --prompt "Once upon a time"
qtool generate model.gguf --lora adapter.gguf --prompt "Question: why?" --temperature 0`,
		Description: `The continuation is printed as it comes; --echo prints the prompt before it.
A file or another program gets the model's bytes as they are; on a terminal, control
characters among them are escaped.
The texts of special tokens in the prompt stand for those tokens, and \n, \t, \" and
\\ for what they mean in programs, as with llama.cpp's tools. The same
command gives the same text: choose another --seed for another one.`,
		Flags: []cli.Flag{
			promptFlag("continue `TEXT`"),
			noEscapeFlag("--prompt and --stop"),
			&cli.BoolFlag{Name: "echo", Usage: "print the prompt before its continuation"},
			adapterFlag(),
			&cli.IntFlag{Name: "max-tokens", Aliases: []string{"n"}, Value: 256, Usage: "generate `N` tokens at most; -1 is no limit"},
			&cli.Float64Flag{Name: "temperature", Value: 0.8, Usage: "draw with temperature `T`; 0 takes the most likely token"},
			&cli.IntFlag{Name: "top-k", Value: 40, Usage: "draw among the `K` most likely tokens; 0 is all"},
			&cli.Float64Flag{Name: "top-p", Value: 0.95, Usage: "draw among the fewest tokens of probability `P` together"},
			&cli.Float64Flag{Name: "min-p", Value: 0.05, Usage: "draw among tokens of `P` times the largest probability"},
			&cli.Float64Flag{Name: "repeat-penalty", Value: 1, Usage: fmt.Sprintf("make the last %d tokens less likely by the factor `F`", infer.DefaultRepeatLast)},
			&cli.Uint64Flag{Name: "seed", Value: 42, Usage: "seed of the random choice"},
			&cli.StringSliceFlag{Name: "stop", Usage: "end before `TEXT`; may be repeated"},
			&cli.BoolFlag{Name: "ignore-eos", Usage: "go on after the model has ended its text"},
			preFlag(),
			threadsFlag(),
			forceFlag(),
			jsonFlag(),
		},
		Action: runGenerate,
	}
}

// generateReport is the JSON of generate.
type generateReport struct {
	Prompt                    string           `json:"prompt"`
	Text                      string           `json:"text"`
	Tokens                    []int32          `json:"tokens"`
	StopReason                infer.StopReason `json:"stop_reason"`
	PromptTokens              int              `json:"prompt_tokens"`
	PromptTokensPerSecond     float64          `json:"prompt_tokens_per_second"`
	GenerationTokensPerSecond float64          `json:"generation_tokens_per_second"`
}

func runGenerate(c *cli.Context) error {
	args, err := arguments(c, "MODEL")
	if err != nil {
		return err
	}
	stops := c.StringSlice("stop")
	for i, stop := range stops {
		stops[i] = escaped(c, stop)
	}
	opt := infer.GenerateOptions{
		Sampling: infer.Sampling{
			Temperature: c.Float64("temperature"), TopK: c.Int("top-k"), TopP: c.Float64("top-p"), MinP: c.Float64("min-p"),
			RepeatPenalty: c.Float64("repeat-penalty"), Seed: c.Uint64("seed"),
		},
		MaxTokens: c.Int("max-tokens"), Stop: stops, IgnoreEOS: c.Bool("ignore-eos"),
	}
	if err := opt.Check(); err != nil {
		return usagef("generate: --%v", err)
	}
	con := newConsole(c)
	prompt, err := promptOf(c, con)
	if err != nil {
		return err
	}
	from, err := modelSource(c, args[0])
	if err != nil {
		return err
	}
	l, err := loadForRun(c, con, from, c.StringSlice("lora"), nil)
	if err != nil {
		return err
	}
	defer l.Close()
	tok, err := l.tokenizer()
	if err != nil {
		return err
	}
	ids := tok.Encode(prompt, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true})
	if err := checkGeneration(l, c.Int("threads"), ids, opt); err != nil {
		return err
	}
	if con.json {
		g, err := l.session().Generate(c.Context, ids, opt, nil)
		if err := cmp.Or(err, l.file.Unchanged()); err != nil {
			return err
		}
		return con.printJSON(describeGeneration(prompt, g))
	}
	if c.Bool("echo") {
		io.WriteString(con.text(), prompt)
	}
	return cmp.Or(streamGeneration(c.Context, con, l.session(), ids, opt), l.file.Unchanged())
}

// checkGeneration refuses a generation that does not fit. One without a limit is taken to
// fill the model's context.
func checkGeneration(l *loaded, threads int, prompt []int32, opt infer.GenerateOptions) error {
	most := max(0, l.decoder.Context-len(prompt))
	if opt.MaxTokens >= 0 {
		most = min(most, opt.MaxTokens)
	}
	needs := func(pool *product.Pool, n int, most int64) infer.Memory {
		return infer.NewSession(l.decoder, l.tokens, pool).GenerateMemory(len(prompt), n, most)
	}
	return checkRunning(l.memory, threads, running{
		size: most, needs: needs, smaller: lengthsBelow(most),
		advice: "with --max-tokens %d", otherwise: "give a shorter prompt, or take a smaller model or a machine with more memory",
	})
}

func streamGeneration(ctx context.Context, con *console, s *infer.Session, ids []int32, opt infer.GenerateOptions) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	g, err := s.Generate(ctx, ids, opt, func(text string) {
		if _, err := io.WriteString(con.text(), text); err != nil {
			stop(fmt.Errorf("writing the text: %w", err))
		}
	})
	fmt.Fprintln(con.out)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	if g.Reason == infer.StopContext {
		con.say("the model's context of %d tokens is full", s.Decoder.Context)
	}
	r := describeGeneration("", g)
	con.detail("%d prompt tokens, %.1f tokens/s; %d tokens generated, %.1f tokens/s; stopped by %s",
		r.PromptTokens, r.PromptTokensPerSecond, len(r.Tokens), r.GenerationTokensPerSecond, r.StopReason)
	return nil
}

func describeGeneration(prompt string, g infer.Generation) generateReport {
	return generateReport{
		Prompt: prompt, Text: g.Text, Tokens: append([]int32{}, g.Tokens...), StopReason: g.Reason,
		PromptTokens:              g.PromptTokens,
		PromptTokensPerSecond:     perSecond(g.PromptTokens, g.PromptTime),
		GenerationTokensPerSecond: perSecond(len(g.Tokens), g.GenerationTime),
	}
}

func perSecond(n int, d time.Duration) float64 {
	return float64(n) / max(d, time.Microsecond).Seconds()
}
