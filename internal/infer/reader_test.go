package infer

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"qtool/fixtures"
	"qtool/fixtures/vocabulary"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
	"qtool/internal/tokenizer"
	"qtool/quantize"
)

// readers makes readers of one model of a family, quantized to a file type.
func readers(t *testing.T, family, fileType string, threads int) func() *Reader {
	t.Helper()
	vocab, err := vocabulary.Train(nil, 259)
	if err != nil {
		t.Fatal(err)
	}
	base := fixtures.TinyFamily(3, family)
	if family == "llama" {
		base = fixtures.TinyLlama(3, fixtures.Shape{Vocabulary: vocab, Context: 400})
	}
	plan, err := quantize.NewPlan(base, quantize.Options{FileType: fileType})
	if err != nil {
		t.Fatal(err)
	}
	d, err := model.Load(plan.Model(), model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	v, err := tokenizer.VocabFromMetadata(fixtures.TinyLlama(3, fixtures.Shape{Vocabulary: vocab}).Metadata())
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.New(v)
	if err != nil {
		t.Fatal(err)
	}
	pool := product.NewPool(threads)
	t.Cleanup(pool.Close)
	return func() *Reader { return NewSession(d, tok, pool).NewReader(0) }
}

// numbers are n ids that every tiny vocabulary has, other ones for another seed.
func numbers(n, seed int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(3 + (i*i+seed*31)%60)
	}
	return ids
}

// read reads tokens in portions.
func (r *Reader) read(t *testing.T, portions ...[]int32) []float32 {
	t.Helper()
	for _, p := range portions {
		if err := r.feed(context.Background(), p); err != nil {
			t.Fatal(err)
		}
	}
	return slices.Clone(r.logits)
}

func TestAfterRewindingTheSamePortionsGiveTheSameBits(t *testing.T) {
	for _, family := range []string{"llama", "gemma2", "gpt-oss", "deepseek2", "qwen3moe"} {
		for _, fileType := range []string{"F32", "Q8_0"} {
			fresh := readers(t, family, fileType, 2)
			a, b, c := numbers(20, 1), numbers(1, 2), numbers(9, 3)
			want := fresh().read(t, a, b, c)
			r := fresh()
			r.read(t, a, numbers(9, 4), b, numbers(5, 5))
			if n := r.rewind(slices.Concat(a, b, c)); n != len(a) {
				t.Fatalf("%s: %d tokens are remembered, want %d", family, n, len(a))
			}
			if diff := cmp.Diff(want, r.read(t, b, c)); diff != "" {
				t.Errorf("%s, %s: after rewinding:\n%s", family, fileType, diff)
			}
			// In one portion it is the same up to the order of sums.
			whole := fresh().read(t, slices.Concat(a, b, c))
			for i, l := range whole {
				if math.Abs(float64(l-want[i])) > 2e-2*(1+math.Abs(float64(l))) {
					t.Fatalf("%s, %s: logit %d is %g in portions, %g in one", family, fileType, i, want[i], l)
				}
			}
		}
	}
}

func TestOnlyWhatIsNewIsRead(t *testing.T) {
	fresh := readers(t, "llama", "F32", 1)
	r, opt := fresh(), GenerateOptions{MaxTokens: 5, IgnoreEOS: true}
	first := numbers(30, 1)
	generate := func(r *Reader, prompt []int32) Generation {
		t.Helper()
		g, err := r.Generate(t.Context(), prompt, opt, nil)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	g := generate(r, first)
	if g.Remembered != 0 || r.Len() != len(first)+4 { // the last token that is drawn is not read
		t.Errorf("%d remembered at first, %d afterwards", g.Remembered, r.Len())
	}
	for _, c := range []struct {
		name       string
		prompt     []int32
		remembered int
	}{
		{"the conversation goes on", slices.Concat(first, g.Tokens, numbers(3, 2)), len(first) + 4},
		{"the same again", first, len(first) - 1},
		{"history was rewritten", slices.Concat(first[:12], numbers(8, 7)), 12},
		{"the beginning alone", first[:5], 4},
		{"something else", numbers(10, 9), 0},
	} {
		got := generate(r, c.prompt)
		if got.Remembered != c.remembered {
			t.Errorf("%s: %d tokens were remembered, want %d", c.name, got.Remembered, c.remembered)
		}
		if want := generate(fresh(), c.prompt); !slices.Equal(got.Tokens, want.Tokens) {
			t.Errorf("%s: %v, of a fresh reader %v", c.name, got.Tokens, want.Tokens)
		}
	}
	r.Reset()
	if got := generate(r, first); got.Remembered != 0 || !slices.Equal(got.Tokens, g.Tokens) {
		t.Errorf("after a reset: %+v", got)
	}
}

func TestAReaderThatWasStoppedRemembersWhatItKnows(t *testing.T) {
	fresh := readers(t, "llama", "F32", 2)
	r, opt := fresh(), GenerateOptions{MaxTokens: 30, IgnoreEOS: true}
	prompt := numbers(250, 1)
	want, err := fresh().Generate(t.Context(), prompt, opt, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	g, err := r.Generate(ctx, prompt, opt, func(string) { stop() })
	if !errors.Is(err, context.Canceled) || r.Len() < len(prompt)-1 {
		t.Fatalf("error %v, %d tokens remembered", err, r.Len())
	}
	if n := len(g.Tokens); !slices.Equal(g.Tokens, want.Tokens[:n]) {
		t.Errorf("stopped after %v of %v", g.Tokens, want.Tokens)
	}
	got, err := r.Generate(t.Context(), prompt, opt, nil)
	if err != nil || got.Remembered < len(prompt)-2 || !slices.Equal(got.Tokens, want.Tokens) {
		t.Errorf("afterwards: %v, %d remembered, %v, want %v", err, got.Remembered, got.Tokens, want.Tokens)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	r.Reset()
	if _, err := r.Generate(stopped, prompt, opt, nil); !errors.Is(err, context.Canceled) || r.Len() != 0 {
		t.Errorf("stopped at the prompt: %v, %d tokens remembered", err, r.Len())
	}
}

func TestAContextMayBeLessThanTheModels(t *testing.T) {
	r := readers(t, "llama", "F32", 1)().s.NewReader(40)
	g, err := r.Generate(t.Context(), numbers(30, 1), GenerateOptions{MaxTokens: -1, IgnoreEOS: true}, nil)
	if err != nil || g.Reason != StopContext || len(g.Tokens) != 11 {
		t.Errorf("%d tokens, stopped by %s, error %v", len(g.Tokens), g.Reason, err)
	}
	if _, err := r.Generate(t.Context(), numbers(41, 1), GenerateOptions{}, nil); !errors.Is(err, ErrRequest) {
		t.Errorf("a prompt longer than the context: %v", err)
	}
}

func TestATokenThatIsNamedEndsAGeneration(t *testing.T) {
	r := readers(t, "llama", "F32", 1)()
	g, err := r.Generate(t.Context(), numbers(5, 1), GenerateOptions{MaxTokens: 20, IgnoreEOS: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	last := g.Tokens[3]
	n := slices.Index(g.Tokens, last)
	ended, err := r.Generate(t.Context(), numbers(5, 1), GenerateOptions{MaxTokens: 20, Ends: []int32{last}}, nil)
	if err != nil || ended.Reason != StopEnd || len(ended.Tokens) != n+1 {
		t.Errorf("%v, stopped by %s, error %v", ended.Tokens, ended.Reason, err)
	}
}
