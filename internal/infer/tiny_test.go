package infer_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/fixtures/vocabulary"
	"qtool/internal/infer"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
	"qtool/internal/nn"
	"qtool/internal/tokenizer"
)

// tiny is a random model with a vocabulary of bytes.
func tiny(t *testing.T, context int) *infer.Session {
	t.Helper()
	return session(t, fixtures.TinyLlama(3, tinyShape(t, context)))
}

func tinyShape(t *testing.T, context int) fixtures.Shape {
	t.Helper()
	v, err := vocabulary.Train(nil, 259)
	if err != nil {
		t.Fatal(err)
	}
	return fixtures.Shape{Vocabulary: v, Context: context}
}

// someTokens are n ids of bytes.
func someTokens(n int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(3 + i*i%200)
	}
	return ids
}

func TestLogitsInChunksEqualThoseOfOnePass(t *testing.T) {
	s, ids := tiny(t, 512), someTokens(300)
	pool := product.NewPool(2)
	defer pool.Close()
	tape := nn.NewTape(pool)
	want := s.Decoder.Logits(tape, s.Decoder.Hidden(tape, model.NewBatch(ids, []int{0}), nil, false))
	r := 0
	err := s.Logits(context.Background(), ids, func(row []float32) error {
		for i, l := range row {
			if w := want.Row(r)[i]; math.Abs(float64(l-w)) > 1e-5*(1+math.Abs(float64(w))) {
				t.Fatalf("row %d, token %d: %g, in one pass %g", r, i, l, w)
			}
		}
		r++
		return nil
	})
	if err != nil || r != len(ids) {
		t.Errorf("%d rows, error %v", r, err)
	}
}

func TestPerplexityIsTheMeanOverTheSecondHalvesOfWindows(t *testing.T) {
	s, ids := tiny(t, 64), someTokens(70)
	const n = 16
	sum, count := 0.0, 0
	for first := 0; first+n <= len(ids); first += n {
		window := append([]int32{s.Tokenizer.BOS()}, ids[first+1:first+n]...)
		position := 0
		s.Logits(context.Background(), window, func(row []float32) error {
			if position >= n/2 && position < n-1 {
				total := 0.0
				for _, l := range row {
					total += math.Exp(float64(l))
				}
				sum += math.Log(total) - float64(row[ids[first+position+1]])
				count++
			}
			position++
			return nil
		})
	}
	p, err := s.Perplexity(context.Background(), ids, infer.PerplexityOptions{Context: n})
	if err != nil {
		t.Fatal(err)
	}
	if want := math.Exp(sum / float64(count)); p.Scored != count || p.Chunks != 4 || math.Abs(p.Value/want-1) > 1e-6 {
		t.Errorf("perplexity %g over %d tokens, want %g over %d", p.Value, p.Scored, want, count)
	}
}

func TestPerplexityNeedsTwoWindowsWithinTheContext(t *testing.T) {
	s := tiny(t, 64)
	for _, c := range []struct {
		tokens, context int
		kind            error
		want            string
	}{
		{31, 16, infer.ErrTextTooShort, "at least 32"},
		{200, 65, infer.ErrRequest, "longer than the model's context of 64"},
		{200, 3, infer.ErrRequest, "at least 4"},
	} {
		_, err := s.Perplexity(context.Background(), someTokens(c.tokens), infer.PerplexityOptions{Context: c.context})
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d tokens in windows of %d: %v", c.tokens, c.context, err)
		}
	}
	if _, err := s.Perplexity(context.Background(), append(someTokens(40), 259), infer.PerplexityOptions{Context: 16}); err == nil {
		t.Error("an id outside the vocabulary was scored")
	}
}

// generate continues a prompt and checks what holds of every generation.
func generate(t *testing.T, s *infer.Session, opt infer.GenerateOptions) infer.Generation {
	t.Helper()
	ids := s.Tokenizer.Encode("a prompt", tokenizer.EncodeOptions{AddSpecial: true})
	emitted := ""
	g, err := s.Generate(context.Background(), ids, opt, func(text string) { emitted += text })
	if err != nil {
		t.Fatal(err)
	}
	if emitted != g.Text {
		t.Errorf("emitted %q, returned %q", emitted, g.Text)
	}
	if g.PromptTokens != len(ids) {
		t.Errorf("%d prompt tokens, want %d", g.PromptTokens, len(ids))
	}
	return g
}

func TestGenerationStopsForTheReasonItGives(t *testing.T) {
	s := tiny(t, 64)
	warm := infer.Sampling{Temperature: 1, TopP: 1, Seed: 5}
	full := generate(t, s, infer.GenerateOptions{Sampling: warm, MaxTokens: -1, IgnoreEOS: true})
	if prompt := full.PromptTokens; full.Reason != infer.StopContext || prompt+len(full.Tokens) != 64+1 {
		t.Errorf("stopped by %s after %d+%d tokens of 64", full.Reason, prompt, len(full.Tokens))
	}
	limited := generate(t, s, infer.GenerateOptions{Sampling: warm, MaxTokens: 7, IgnoreEOS: true})
	if limited.Reason != infer.StopLimit || len(limited.Tokens) != 7 || !strings.HasPrefix(full.Text, limited.Text[:3]) {
		t.Errorf("stopped by %s after %d tokens", limited.Reason, len(limited.Tokens))
	}
	stop := full.Text[10:12]
	stopped := generate(t, s, infer.GenerateOptions{Sampling: warm, MaxTokens: -1, IgnoreEOS: true, Stop: []string{stop}})
	before, _, _ := strings.Cut(full.Text, stop)
	if stopped.Reason != infer.StopText || stopped.Text != before {
		t.Errorf("stopped by %s with %q, want %q", stopped.Reason, stopped.Text, before)
	}
	ended := 0
	for seed := range uint64(40) {
		g := generate(t, s, infer.GenerateOptions{Sampling: infer.Sampling{Temperature: 1.5, TopP: 1, Seed: seed}, MaxTokens: -1})
		if g.Reason == infer.StopEnd {
			ended++
			if last := g.Tokens[len(g.Tokens)-1]; !s.Tokenizer.IsEOG(last) {
				t.Errorf("seed %d ended with token %d", seed, last)
			}
		}
	}
	if ended == 0 {
		t.Error("no generation ended by itself")
	}
}

func TestSameSeedGivesTheSameTextAndOthersDoNot(t *testing.T) {
	s := tiny(t, 64)
	texts := map[string]bool{}
	for seed := range uint64(3) {
		opt := infer.GenerateOptions{Sampling: infer.Sampling{Temperature: 1, TopK: 100, TopP: 0.9, MinP: 0.01, Seed: seed}, MaxTokens: 20, IgnoreEOS: true}
		g := generate(t, s, opt)
		if again := generate(t, s, opt); again.Text != g.Text {
			t.Errorf("seed %d gave %q, then %q", seed, g.Text, again.Text)
		}
		texts[g.Text] = true
	}
	if len(texts) != 3 {
		t.Errorf("3 seeds gave %d texts", len(texts))
	}
}

func TestCancelledGenerationReturnsWhatThereIs(t *testing.T) {
	s := tiny(t, 1<<16)
	ctx, cancel := context.WithCancel(context.Background())
	g, err := s.Generate(ctx, []int32{1, 70}, infer.GenerateOptions{Sampling: infer.Sampling{Temperature: 1, TopP: 1}, MaxTokens: -1, IgnoreEOS: true}, func(string) { cancel() })
	if !errors.Is(err, context.Canceled) || g.Text == "" {
		t.Errorf("error %v, text %q", err, g.Text)
	}
}

func TestPromptsThatCannotBeRunAreRefused(t *testing.T) {
	s := tiny(t, 64)
	for want, ids := range map[string][]int32{
		"no tokens":              nil,
		"context of 64":          someTokens(65),
		"outside the vocabulary": {1, 259},
	} {
		_, err := s.Generate(context.Background(), ids, infer.GenerateOptions{}, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
