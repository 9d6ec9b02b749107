package adapters_test

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/adapt"
	"qtool/internal/adapters"
	"qtool/internal/infer"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
	"qtool/lora"
	"qtool/quantize"
)

// bench is a model, and adapters on it in files.
type bench struct {
	t       *testing.T
	decoder *model.Decoder
	pool    *product.Pool
	paths   []string
}

func newBench(t *testing.T, m gguf.Model, targets ...[]string) *bench {
	t.Helper()
	d, err := model.Load(m, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, decoder: d, pool: product.NewPool(2)}
	t.Cleanup(b.pool.Close)
	for i, list := range targets {
		a, err := adapt.New(d, adapt.Config{Rank: 2 + i, Alpha: 4, Targets: list, Seed: uint64(i)})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range a.Params() {
			for k := range p.Data {
				p.Data[k] = float32((k*(i+3))%7-3) / 20
			}
		}
		path := filepath.Join(t.TempDir(), "a.gguf")
		if err := a.WriteFile(context.Background(), path); err != nil {
			t.Fatal(err)
		}
		b.paths = append(b.paths, path)
	}
	return b
}

func (b *bench) open(path string, strength float32) *adapters.Adapter {
	b.t.Helper()
	a, err := adapters.Open(path, strength)
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

func (b *bench) logits() (all []float32) {
	b.t.Helper()
	err := infer.NewSession(b.decoder, nil, b.pool).Logits(b.t.Context(), []int32{3, 14, 15, 9, 26, 5}, func(row []float32) error {
		all = append(all, row...)
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

func apart(a, b []float32) (largest float64) {
	for i, v := range a {
		largest = max(largest, math.Abs(float64(v-b[i])))
	}
	return largest
}

func TestStrengthsOfSeveralAdapters(t *testing.T) {
	q8, err := quantize.NewPlan(fixtures.TinyLlama(1, fixtures.Shape{Experts: 4, Untied: true}), quantize.Options{FileType: "Q8_0"})
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]gguf.Model{
		"dense": fixtures.TinyLlama(1, fixtures.Shape{Untied: true}), "experts, quantized": q8.Model(),
	} {
		// Both change attn_q, each something that the other does not.
		b := newBench(t, m, []string{"attn_q", "ffn_*", "token_embd"}, []string{"attn_*", "ffn_*", "token_embd", "output"})
		base := b.logits()
		set, err := adapters.Attach(b.decoder, b.open(b.paths[0], 0.5), b.open(b.paths[1], -1.5))
		if err != nil {
			t.Fatal(err)
		}
		with := func(first, second float32) []float32 {
			t.Helper()
			set.List[0].Strength, set.List[1].Strength = first, second
			if err := set.Apply(); err != nil {
				t.Fatal(err)
			}
			return b.logits()
		}
		both := with(0.5, -1.5)
		if apart(both, base) < 1e-3 {
			t.Errorf("%s: two adapters change nothing", name)
		}

		// The one adapter that both make is the same.
		var scaled []lora.Scaled
		for i, strength := range []float32{0.5, -1.5} {
			a, err := lora.Open(b.paths[i])
			if err != nil {
				t.Fatal(err)
			}
			scaled = append(scaled, lora.Scaled{Adapter: a, Strength: strength})
		}
		joined, err := lora.Combine(scaled...)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "joined.gguf")
		if err := joined.WriteFile(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		if _, err := adapters.Attach(b.decoder, b.open(path, 1)); err != nil {
			t.Fatal(err)
		}
		if d := apart(b.logits(), both); d > 1e-5 {
			t.Errorf("%s: two adapters and the concatenated one differ by %g", name, d)
		}

		// Without strength an adapter has no part in it, to the bit.
		if !slices.Equal(with(0, 0), base) {
			t.Errorf("%s: at strength 0 the logits are not those of the base", name)
		}
		second := with(0, 1)
		if _, err := adapters.Attach(b.decoder, b.open(b.paths[1], 1)); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(second, b.logits()) {
			t.Errorf("%s: at strength 0 the other adapter is not alone", name)
		}
		if !slices.Equal(with(0.5, -1.5), both) {
			t.Errorf("%s: strengths that were switched back do not give the same", name)
		}
	}
}

func TestAnAdapterThatDoesNotFitIsRefusedAtAnyStrength(t *testing.T) {
	b := newBench(t, fixtures.TinyLlama(1, fixtures.Shape{}), []string{"attn_q"})
	other := newBench(t, fixtures.TinyLlama(1, fixtures.Shape{Dim: 64}), []string{"attn_q"})
	_, err := adapters.Attach(b.decoder, b.open(b.paths[0], 1), other.open(other.paths[0], 0))
	if !errors.Is(err, adapt.ErrMismatch) || !strings.Contains(err.Error(), other.paths[0]) {
		t.Errorf("error %v", err)
	}
	for _, target := range b.decoder.Targets() {
		if target.Linear.Pair != nil {
			t.Errorf("%s has a pair all the same", target.Tensor)
		}
	}
	if _, err := adapters.Open(b.paths[0], float32(math.NaN())); err == nil {
		t.Error("a strength that is no number was taken")
	}
}

func TestAForeignBaseIsToldFromTheSameInOtherWords(t *testing.T) {
	m := fixtures.TinyLlama(1, fixtures.Shape{})
	named := func(m gguf.Model, name string, fileType int) gguf.Model {
		md := m.Metadata().Clone()
		md.Set("general.name", name)
		md.Set("general.file_type", uint32(fileType))
		return gguf.Assemble(md, m.Tensors())
	}
	mine := named(m, "mine", 0)
	trained, err := lora.Identify(t.Context(), mine, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, m, []string{"attn_q"})
	a, err := lora.Open(b.paths[0])
	if err != nil {
		t.Fatal(err)
	}
	trained.Record(a.Extra)
	path := filepath.Join(t.TempDir(), "trained.gguf")
	if err := a.WriteFile(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	adapter := b.open(path, 1)
	for _, c := range []struct {
		name  string
		base  gguf.Model
		says  string // "" is nothing
		model bool
	}{
		{"the same", mine, "", false},
		{"the same under another name", named(m, "renamed", 0), "", false},
		{"another quantization", named(m, "mine", 7), "another quantization: F32, and this is Q8_0", false},
		{"another model", named(fixtures.TinyLlama(2, fixtures.Shape{}), "yours", 0), `trained on "mine" (llama, F32), and this is "yours" (llama, F32)`, true},
		{"other weights", named(fixtures.TinyLlama(2, fixtures.Shape{}), "mine", 0), "other weights of the same name", false},
	} {
		base, err := adapters.NewBase(c.base)
		if err != nil {
			t.Fatal(err)
		}
		f, err := base.Compare(t.Context(), adapter)
		switch {
		case err != nil:
			t.Error(err)
		case f == nil && c.says != "" || f != nil && (c.says == "" || !strings.Contains(f.Text, c.says) || f.Model != c.model):
			t.Errorf("%s: %+v, want %q", c.name, f, c.says)
		}
	}
	base, _ := adapters.NewBase(mine)
	if f, err := base.Compare(t.Context(), b.open(b.paths[0], 1)); f != nil || err != nil {
		t.Errorf("an adapter that says nothing of its base: %+v, %v", f, err)
	}
}
