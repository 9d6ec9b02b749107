package infer_test

import (
	"context"
	"encoding/json"
	"math"
	"testing"

	"qtool/gguf"
	"qtool/internal/infer"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
	"qtool/internal/sharedtest"
	"qtool/internal/tokenizer"
)

// stories opens the small trained model that the reference results are of.
func stories(t *testing.T) *infer.Session {
	t.Helper()
	f, err := gguf.Open(sharedtest.Path(t, "data/stories260k/stories260K.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return session(t, f)
}

func session(t *testing.T, m gguf.Model) *infer.Session {
	t.Helper()
	d, err := model.Load(m, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	v, err := tokenizer.VocabFromMetadata(m.Metadata())
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.New(v)
	if err != nil {
		t.Fatal(err)
	}
	pool := product.NewPool(0)
	t.Cleanup(pool.Close)
	return infer.NewSession(d, tok, pool)
}

type reference struct {
	Greedy     map[string]string `json:"greedy_120_tokens"`
	Perplexity []struct {
		Text            string
		Context, Chunks int
		Value           float64
	}
}

func readReference(t *testing.T) (r reference) {
	t.Helper()
	if err := json.Unmarshal(sharedtest.Read(t, "golden/stories/reference.json"), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestGreedyTextEqualsLlamaCpp(t *testing.T) {
	s := stories(t)
	for prompt, want := range readReference(t).Greedy {
		ids := s.Tokenizer.Encode(prompt, tokenizer.EncodeOptions{AddSpecial: true})
		emitted := ""
		g, err := s.Generate(context.Background(), ids, infer.GenerateOptions{MaxTokens: 120}, func(text string) { emitted += text })
		if err != nil {
			t.Fatal(err)
		}
		// llama.cpp shows the space that the tokenizer puts before the prompt.
		if got := " " + prompt + g.Text; got != want {
			t.Errorf("%q:\n got %q\nwant %q", prompt, got, want)
		}
		if emitted != g.Text || len(g.Tokens) != 120 || g.Reason != infer.StopLimit {
			t.Errorf("%q: emitted %q, %d tokens, stopped by %s", prompt, emitted, len(g.Tokens), g.Reason)
		}
	}
}

func TestPerplexityEqualsLlamaCpp(t *testing.T) {
	if testing.Short() {
		t.Skip("long: 60 windows")
	}
	s := stories(t)
	for _, want := range readReference(t).Perplexity {
		text := string(sharedtest.Read(t, want.Text))
		ids := s.Tokenizer.Encode(text, tokenizer.EncodeOptions{AddSpecial: true})
		p, err := s.Perplexity(context.Background(), ids, infer.PerplexityOptions{Context: want.Context, Chunks: want.Chunks})
		if err != nil {
			t.Fatal(err)
		}
		off := p.Value/want.Value - 1
		t.Logf("%s: %.4f ± %.4f, relative difference %.2g", want.Text, p.Value, p.Error, off)
		if !(math.Abs(off) <= 1e-4) || p.Chunks != want.Chunks || p.Scored != want.Chunks*(want.Context/2-1) {
			t.Errorf("%s: perplexity %.4f over %d windows and %d tokens; llama.cpp has %.4f", want.Text, p.Value, p.Chunks, p.Scored, want.Value)
		}
	}
}
