package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"qtool/internal/infer"
	"qtool/internal/kernel/product"
	"qtool/internal/tokenizer"
)

func generateCommand() *cli.Command {
	return &cli.Command{
		Name:  "generate",
		Usage: "continue a text, or answer a message",
		UsageText: `qtool generate MODEL --prompt TEXT [flags]

qtool generate model.gguf --prompt "Once upon a time"
qtool generate model.gguf --chat --prompt "Why is the sky blue?" --temp 0
qtool generate model.gguf --lora a.gguf:0.5 --lora b.gguf --prompt "Dear"
qtool generate model.gguf --lora a.gguf --compare --chat --prompt "Who?"`,
		Description: `The prompt is a text as it is, which the model continues. With --chat it is a
message that the model's chat template writes, with --system before it;
--chat-template, --system and --template-var are --chat too. qtool chat is
for more than one message.

--compare prints what the model says without its adapters and with them, with
the same seed: side by side on a terminal that is wide enough, else one after
the other.

The continuation is printed as it comes; --echo prints the prompt before it.
A file or another program gets the model's bytes as they are; on a terminal,
control characters among them are escaped. The texts of special tokens in the
prompt stand for those tokens, and \n, \t, \" and \\ for what they mean in
programs, as with llama.cpp's tools.

Tokens are drawn as by llama.cpp's sampler chain: repeat penalty, top-k,
top-p, min-p, temperature, a draw. Defaults are its own but for --seed, which
is fixed: the same command gives the same text, but not that of llama.cpp,
which draws other numbers.`,
		Flags: slices.Concat([]cli.Flag{
			promptFlag("continue `TEXT`"),
			noEscapeFlag("--prompt, --system and --stop"),
			&cli.BoolFlag{Name: "echo", Usage: "print the prompt before its continuation"},
			&cli.BoolFlag{Name: "chat", Usage: "take the prompt for a message, and write it with the chat template"},
		}, templateFlags(), []cli.Flag{
			adapterFlag(),
			&cli.BoolFlag{Name: "compare", Usage: "print the texts without the adapters and with them"},
		}, samplingFlags(256), []cli.Flag{
			&cli.BoolFlag{Name: "ignore-eos", Usage: "go on after the model has ended its text"},
			preFlag(),
			threadsFlag(),
			forceFlag(),
			jsonFlag(),
		}),
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
	opt, err := generateOptions(c)
	if err != nil {
		return err
	}
	if opt.IgnoreEOS = c.Bool("ignore-eos"); c.Bool("compare") && c.Bool("echo") {
		return usagef("generate: --echo and --compare do not go together")
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
	g := generating{c: c, con: con, loaded: l, opt: opt}
	if g.text, g.ids, err = g.read(prompt, args[0]); err != nil {
		return err
	}
	if err := checkGeneration(l, c.Int("threads"), g.ids, g.opt); err != nil {
		return err
	}
	if c.Bool("compare") {
		return cmp.Or(g.compare(args[0]), l.file.Unchanged())
	}
	if con.json {
		r, err := l.session().Generate(c.Context, g.ids, g.opt, nil)
		if err := cmp.Or(err, l.file.Unchanged()); err != nil {
			return err
		}
		return con.printJSON(describeGeneration(g.text, r))
	}
	if c.Bool("echo") {
		io.WriteString(con.text(), g.text)
	}
	return cmp.Or(g.stream(), l.file.Unchanged())
}

// generating is a run of generate.
type generating struct {
	c   *cli.Context
	con *console
	*loaded
	opt infer.GenerateOptions

	text string // the prompt as the model reads it
	ids  []int32
}

// read makes of the prompt what the model reads: its tokens, and the text that they are of.
func (g *generating) read(prompt, path string) (string, []int32, error) {
	tok, err := g.tokenizer()
	if err != nil {
		return "", nil, err
	}
	if !g.c.Bool("chat") && !g.c.IsSet("system") && !g.c.IsSet("chat-template") && !g.c.IsSet("template-var") {
		return prompt, tok.Encode(prompt, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true}), nil
	}
	d, err := newDialogue(g.c, g.con, g.loaded, path, &g.opt)
	if err != nil {
		return "", nil, err
	}
	t, err := d.Ask(prompt, g.decoder.Context, 1)
	if err != nil {
		return "", nil, err
	}
	return t.Text, t.Tokens, nil
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

// stream prints a generation as it comes.
func (g *generating) stream() error {
	r, err := streamTo(g.c.Context, g.con, func(ctx context.Context, emit func(string)) (infer.Generation, error) {
		return g.session().Generate(ctx, g.ids, g.opt, emit)
	})
	fmt.Fprintln(g.con.out)
	if err != nil {
		return err
	}
	g.sayHow(r)
	return nil
}

// sayHow says what is to be said of a generation besides its text.
func (g *generating) sayHow(r infer.Generation) {
	if r.Reason == infer.StopContext {
		g.con.say("the model's context of %d tokens is full", g.decoder.Context)
	}
	g.con.detailGeneration(r)
}

// detailGeneration tells numbers of a generation.
func (c *console) detailGeneration(g infer.Generation) {
	r := describeGeneration("", g)
	remembered := ""
	if g.Remembered > 0 {
		remembered = fmt.Sprintf(" (%d of them remembered)", g.Remembered)
	}
	c.detail("%d prompt tokens%s, %.1f tokens/s; %d tokens generated, %.1f tokens/s; stopped by %s",
		r.PromptTokens, remembered, r.PromptTokensPerSecond, len(r.Tokens), r.GenerationTokensPerSecond, r.StopReason)
}

// streamTo prints the text of a generation as it comes. The generation ends when it cannot be
// written; that is then the error.
func streamTo(ctx context.Context, con *console, generate func(ctx context.Context, emit func(string)) (infer.Generation, error)) (infer.Generation, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	g, err := generate(ctx, func(text string) {
		if _, err := io.WriteString(con.text(), text); err != nil {
			stop(fmt.Errorf("writing the text: %w", err))
		}
	})
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	return g, err
}

func describeGeneration(prompt string, g infer.Generation) generateReport {
	return generateReport{
		Prompt: prompt, Text: g.Text, Tokens: append([]int32{}, g.Tokens...), StopReason: g.Reason,
		PromptTokens:              g.PromptTokens,
		PromptTokensPerSecond:     perSecond(g.PromptTokens-g.Remembered, g.PromptTime),
		GenerationTokensPerSecond: perSecond(len(g.Tokens), g.GenerationTime),
	}
}

func perSecond(n int, d time.Duration) float64 {
	return float64(n) / max(d, time.Microsecond).Seconds()
}
