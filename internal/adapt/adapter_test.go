package adapt

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
	"qtool/internal/nn"
	"qtool/internal/sharedtest"
)

func decoder(t *testing.T, s fixtures.Shape) *model.Decoder {
	t.Helper()
	d, err := model.Load(fixtures.TinyLlama(1, s), model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func fresh(t *testing.T, d *model.Decoder, targets ...string) *Adapter {
	t.Helper()
	a, err := New(d, Config{Rank: 4, Alpha: 8, Targets: targets, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// stir makes every half non-zero.
func stir(a *Adapter) {
	for _, p := range a.Params() {
		for i := range p.Data {
			p.Data[i] = float32(i%7-3) / 10
		}
	}
}

func TestAWrittenAdapterReadsBack(t *testing.T) {
	for _, s := range []fixtures.Shape{{}, {Experts: 4}, {Untied: true}} {
		d := decoder(t, s)
		patterns := []string{"all"}
		if s.Untied {
			patterns = append(patterns, "output", "token_embd")
		}
		a := fresh(t, d, patterns...)
		stir(a)
		a.Extra.Set("qtool.base.sha256", "00")
		path := filepath.Join(t.TempDir(), "a.gguf")
		if err := a.WriteFile(context.Background(), path); err != nil {
			t.Fatal(err)
		}
		b, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Attach(d); err != nil {
			t.Fatal(err)
		}
		if err := a.Attach(d); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(a.Pairs, b.Pairs, cmpopts.IgnoreUnexported(nn.LoRAPair{}, nn.Param{}, Pair{})); diff != "" {
			t.Errorf("%+v: pairs (-written +read):\n%s", s, diff)
		}
		if diff := cmp.Diff(a.Extra.All(), b.Extra.All()); diff != "" {
			t.Errorf("metadata (-written +read):\n%s", diff)
		}
	}
}

func TestAWrittenAdapterObeysTheRulesOfLlamaCpp(t *testing.T) {
	d := decoder(t, fixtures.Shape{Experts: 4, Untied: true})
	m := fresh(t, d, "all", "token_embd", "output", "ffn_gate_inp").Model()
	md := m.Metadata()
	for key, want := range map[string]any{
		"general.type": "adapter", "general.architecture": "llama", "adapter.type": "lora", "adapter.lora.alpha": float32(8),
	} {
		if v, _ := md.Get(key); v != want {
			t.Errorf("%s is %v (%T), want %v", key, v, v, want)
		}
	}
	if md.Has("tokenizer.chat_template") {
		t.Error("it has a chat template")
	}
	base := fixtures.TinyLlama(1, fixtures.Shape{Experts: 4, Untied: true})
	for _, tensor := range m.Tensors() {
		name, isA := strings.CutSuffix(tensor.Name, ".lora_a")
		name = strings.TrimSuffix(name, ".lora_b")
		w, ok := base.Tensor(name)
		if !ok || tensor.Type != gguf.F32 {
			t.Fatalf("%s (%v) stands for no tensor of the base", tensor.Name, tensor.Type)
		}
		in, out := w.Shape[0], w.Shape[1]
		want := []int{4, out}
		switch {
		case name == "token_embd.weight" && isA:
			want = []int{4, out}
		case name == "token_embd.weight":
			want = []int{4, in}
		case isA:
			want = []int{in, 4}
		}
		if len(w.Shape) == 3 {
			want = append(want, w.Shape[2])
		}
		if diff := cmp.Diff(want, tensor.Shape); diff != "" {
			t.Errorf("%s: %s", tensor.Name, diff)
		}
	}
}

func TestAFreshAdapterChangesNothingAndAStirredOneDoes(t *testing.T) {
	pool := product.NewPool(1)
	defer pool.Close()
	base := fixtures.TinyLlama(1, fixtures.Shape{Untied: true})
	for _, targets := range [][]string{nil, {"token_embd"}, {"output"}} {
		a := fresh(t, decoder(t, fixtures.Shape{Untied: true}), targets...)
		if _, err := Verify(t.Context(), base, model.Options{}, a, []int32{1, 2, 3}, pool); !errors.Is(err, ErrNoEffect) {
			t.Errorf("%v: a fresh adapter: %v", targets, err)
		}
		stir(a)
		if e, err := Verify(t.Context(), base, model.Options{}, a, []int32{1, 2, 3}, pool); err != nil || !(e.Largest > 0) {
			t.Errorf("%v: a stirred adapter: %+v, %v", targets, e, err)
		}
	}
}

func TestTheSameSeedMakesTheSameAdapter(t *testing.T) {
	d := decoder(t, fixtures.Shape{})
	if diff := cmp.Diff(fresh(t, d).Pairs, fresh(t, d).Pairs, cmpopts.IgnoreUnexported(nn.LoRAPair{}, nn.Param{}, Pair{})); diff != "" {
		t.Error(diff)
	}
}

func TestAnAdapterThatDoesNotFitIsRefusedAndChangesNothing(t *testing.T) {
	d := decoder(t, fixtures.Shape{})
	for name, spoil := range map[string]func(a *Adapter){
		"architecture":     func(a *Adapter) { a.Architecture = "qwen2" },
		"unknown tensor":   func(a *Adapter) { a.Pairs[1].Tensor = "blk.9.attn_q.weight" },
		"ignored tensor":   func(a *Adapter) { a.Pairs[1].Tensor = "blk.0.attn_norm.weight" },
		"tied head":        func(a *Adapter) { a.Pairs[1].Tensor = "output.weight" },
		"tied embedding":   func(a *Adapter) { a.Pairs[1].Tensor = "token_embd.weight" },
		"another width":    func(a *Adapter) { a.Pairs[1].A.Shape = []int{31, 4} },
		"experts in dense": func(a *Adapter) { a.Pairs[1].B.Shape = []int{4, 32, 2} },
	} {
		a := fresh(t, d)
		spoil(a)
		if err := a.Attach(d); !errors.Is(err, ErrMismatch) {
			t.Errorf("%s: %v", name, err)
		}
		for _, target := range d.Targets() {
			if target.Linear.Pair != nil {
				t.Fatalf("%s: a pair was bound", name)
			}
		}
	}
}

func TestFilesThatBreakTheRulesAreRefused(t *testing.T) {
	d := decoder(t, fixtures.Shape{})
	edit := func(change func(md *gguf.Metadata, tensors []*gguf.Tensor) []*gguf.Tensor) gguf.Model {
		m := fresh(t, d, "attn_q").Model()
		return gguf.Assemble(m.Metadata(), change(m.Metadata(), m.Tensors()))
	}
	set := func(key string, v gguf.Value) gguf.Model {
		return edit(func(md *gguf.Metadata, ts []*gguf.Tensor) []*gguf.Tensor { md.Set(key, v); return ts })
	}
	rename := func(name string) gguf.Model {
		return edit(func(_ *gguf.Metadata, ts []*gguf.Tensor) []*gguf.Tensor { ts[0].Name = name; return ts })
	}
	for name, m := range map[string]gguf.Model{
		"a model":       set("general.type", "model"),
		"another kind":  set("adapter.type", "dora"),
		"double alpha":  set("adapter.lora.alpha", float64(8)),
		"alpha NaN":     set("adapter.lora.alpha", float32(math.NaN())),
		"nothing in it": edit(func(_ *gguf.Metadata, ts []*gguf.Tensor) []*gguf.Tensor { ts[0].Shape = []int{0, 4}; return ts }),
		"lone half":     edit(func(_ *gguf.Metadata, ts []*gguf.Tensor) []*gguf.Tensor { return ts[1:] }),
		"no pairs":      edit(func(*gguf.Metadata, []*gguf.Tensor) []*gguf.Tensor { return nil }),
		"odd suffix":    rename("blk.0.attn_q.weight.lora_magnitude"),
		"several ranks": edit(func(_ *gguf.Metadata, ts []*gguf.Tensor) []*gguf.Tensor { ts[0].Shape = []int{16, 8}; return ts }),
		"one dimension": edit(func(_ *gguf.Metadata, ts []*gguf.Tensor) []*gguf.Tensor { ts[0].Shape = []int{128}; return ts }),
	} {
		if _, err := FromModel(m); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAForeignAdapterCostsNoMoreThanItsFile(t *testing.T) {
	d := decoder(t, fixtures.Shape{})
	a := fresh(t, d, "attn_q")
	const rank = 1 << 20
	for _, p := range a.Pairs {
		p.Rank = rank
		p.A.Shape, p.B.Shape = []int{1, rank}, []int{rank, 1}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := a.Attach(d)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; !errors.Is(err, ErrMismatch) || n > 1<<20 {
		t.Errorf("%d bytes were allocated to say %v", n, err)
	}
}

func TestTargetsAreChosenByNameGlobAndGroup(t *testing.T) {
	d := decoder(t, fixtures.Shape{Layers: 2, Experts: 4, Untied: true})
	for pattern, want := range map[string]int{
		"all": 2 * 7, "attention": 2 * 4, "experts": 2 * 3, "attn_q": 2, "attn_[qk]": 4, "blk.0.*": 8,
		"blk.1.attn_v.weight": 1, "output": 1, "token_embd": 1, "ffn_gate_inp": 2, "*": 18,
	} {
		got, err := Select(d, []string{pattern}, false)
		if err != nil || len(got) != want {
			t.Errorf("%s chooses %d targets (%v), want %d", pattern, len(got), err, want)
		}
	}
	for _, pattern := range []string{"ffn", "attn_x", "[", ""} {
		if _, err := Select(d, []string{pattern}, false); err == nil {
			t.Errorf("%q is accepted", pattern)
		}
	}
}

func TestRealAdaptersReadWithTheirOwnRanks(t *testing.T) {
	a, err := Open(sharedtest.Path(t, "golden/archs/mixtral.lora.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range a.Pairs {
		want := 2
		if strings.Contains(p.Tensor, "attn") {
			want = 4
		}
		if p.Rank != want || p.LoRAPair.Scale != 8/float32(want) {
			t.Errorf("%s: rank %d, scale %g", p.Tensor, p.Rank, p.LoRAPair.Scale)
		}
	}
}
