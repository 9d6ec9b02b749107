package infer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"qtool/internal/kernel/vector"
	"qtool/internal/tokenizer"
)

// GenerateOptions say how a text is continued.
type GenerateOptions struct {
	Sampling
	MaxTokens int      // tokens to generate at most; negative is no limit
	Stop      []string // texts that end the generation and are not shown
	IgnoreEOS bool     // go on after tokens that end a generation; they are not shown
	// Ends are tokens that end a generation besides those that do by the vocabulary.
	Ends []int32
}

// StopReason says why a generation ended.
type StopReason string

const (
	StopLimit   StopReason = "max_tokens" // GenerateOptions.MaxTokens was reached
	StopEnd     StopReason = "end"        // the model said so
	StopText    StopReason = "stop_text"  // one of GenerateOptions.Stop was generated
	StopContext StopReason = "context"    // the model's context is full
)

// Generation is the outcome of Generate.
type Generation struct {
	Text   string  // the continuation, without the prompt
	Tokens []int32 // all that were generated, also those not shown
	Reason StopReason

	PromptTokens               int
	Remembered                 int // tokens of the prompt that had been read before
	PromptTime, GenerationTime time.Duration
}

// Generate continues prompt, token ids with BOS where the model wants it. emit,
// unless nil, gets the text as it comes, in pieces of whole characters. When ctx
// ends, Generate returns what there is along with the context's error.
func (s *Session) Generate(ctx context.Context, prompt []int32, opt GenerateOptions, emit func(text string)) (Generation, error) {
	return s.newReader(s.longest(len(prompt), opt.MaxTokens), s.Decoder.Context).Generate(ctx, prompt, opt, emit)
}

// Generate is [Session.Generate] after what the reader remembers: of prompt only the tokens
// are computed that differ from those it read last.
func (r *Reader) Generate(ctx context.Context, prompt []int32, opt GenerateOptions, emit func(text string)) (Generation, error) {
	g := Generation{PromptTokens: len(prompt)}
	if r.s.Tokenizer == nil {
		return g, tokenizer.ErrNoVocab
	}
	if err := opt.Check(); err != nil {
		return g, err
	}
	if err := r.check(prompt); err != nil {
		return g, fmt.Errorf("prompt: %w", err)
	}
	run := &generation{
		Reader: r, opt: opt, sampler: newSampler(opt.Sampling),
		decoder: r.s.Tokenizer.NewDecoder(tokenizer.DecodeOptions{}), text: stream{stop: opt.Stop, emit: emit},
	}
	start := time.Now()
	g.Remembered = r.rewind(prompt)
	err := r.feed(ctx, prompt[g.Remembered:])
	g.PromptTime = time.Since(start)
	if err == nil {
		start = time.Now()
		g.Reason, err = run.loop(ctx, prompt)
		g.GenerationTime = time.Since(start)
	}
	if g.Reason != StopText {
		run.finish()
	}
	g.Tokens, g.Text = run.generated, run.text.shown.String()
	return g, err
}

// generation is the state of one Generate.
type generation struct {
	*Reader
	opt       GenerateOptions
	sampler   *sampler
	decoder   *tokenizer.Decoder
	text      stream
	generated []int32
}

// loop draws tokens until there is a reason to stop.
func (g *generation) loop(ctx context.Context, prompt []int32) (StopReason, error) {
	all := append([]int32(nil), prompt...)
	for g.opt.MaxTokens < 0 || len(g.generated) < g.opt.MaxTokens {
		if len(g.generated) > 0 {
			if len(all) > g.context {
				return StopContext, nil
			}
			if err := g.feed(ctx, all[len(all)-1:]); err != nil {
				return "", err
			}
		}
		if vector.FirstNotFinite(g.logits) >= 0 {
			return "", errNotFinite
		}
		id := g.sampler.next(g.logits, all)
		all, g.generated = append(all, id), append(g.generated, id)
		if g.s.Tokenizer.IsEOG(id) || slices.Contains(g.opt.Ends, id) {
			if !g.opt.IgnoreEOS {
				return StopEnd, nil
			}
		} else if g.text.write(g.decoder.Next(id)) {
			return StopText, nil
		}
	}
	return StopLimit, nil
}

// finish shows what was held back in case more would come.
func (g *generation) finish() {
	if !g.text.write(g.decoder.Flush()) {
		g.text.flush()
	}
}
