package infer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/infer"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
	"qtool/internal/nn"
	"qtool/internal/tokenizer"
	"qtool/quantize/imatrix"
)

// experts is a model whose layers have experts, and a text for it.
func experts(t *testing.T) (*infer.Session, []int32) {
	t.Helper()
	shape := tinyShape(t, 0)
	shape.Experts, shape.Untied = 4, true
	s := session(t, fixtures.TinyLlama(3, shape))
	var text strings.Builder
	for i := range 12 {
		fmt.Fprintf(&text, "%d times %d is %d. ", i, i+3, i*(i+3))
	}
	return s, s.Tokenizer.Encode(text.String(), tokenizer.EncodeOptions{AddSpecial: true})
}

func collect(t *testing.T, s *infer.Session, ids []int32, chunkSize int, opt infer.ImportanceOptions) *infer.Importance {
	t.Helper()
	run, err := s.NewImportance(chunkSize)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CollectImportance(context.Background(), ids, run, opt); err != nil {
		t.Fatal(err)
	}
	return run
}

func bytesOf(t *testing.T, m gguf.Model) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := gguf.Write(context.Background(), &b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// moe.imatrix.gguf is what llama-imatrix (-c 32 -b 32 --process-output, flash attention
// off, KV cache in F32) makes of this model and text.
func TestImportanceIsThatOfLlamaImatrix(t *testing.T) {
	want, err := imatrix.Read("testdata/moe.imatrix.gguf")
	if err != nil {
		t.Fatal(err)
	}
	s, ids := experts(t)
	run := collect(t, s, ids, 32, infer.ImportanceOptions{Output: true})
	got := run.Matrix
	if got.Len() != want.Len() || got.Chunks != want.Chunks || got.ChunkSize != want.ChunkSize {
		t.Errorf("%d entries, %d chunks of %d", got.Len(), got.Chunks, got.ChunkSize)
	}
	for _, w := range want.Entries() {
		e, ok := got.Entry(w.Name)
		if !ok {
			t.Errorf("%s is missing", w.Name)
			continue
		}
		if diff := cmp.Diff(w.Counts, e.Counts); diff != "" {
			t.Errorf("%s: counts %s", w.Name, diff)
		}
		for i, v := range w.Sums {
			if d := math.Abs(float64(e.Sums[i] - v)); d > 1e-4*float64(v) {
				t.Errorf("%s, value %d: %g, in the reference %g", w.Name, i, e.Sums[i], v)
				break
			}
		}
	}
	if p := run.Perplexity(); math.Abs(p.Value-449.3749) > 0.01 || math.Abs(p.Error-29.2304) > 0.01 {
		t.Errorf("perplexity %g ± %g", p.Value, p.Error)
	}
}

func TestExpertsTogetherSeeWhatTheirRouterSees(t *testing.T) {
	s, ids := experts(t)
	m := collect(t, s, ids, 16, infer.ImportanceOptions{NoPerplexity: true}).Matrix
	router, _ := m.Entry("blk.0.ffn_gate_inp.weight")
	gate, _ := m.Entry("blk.0.ffn_gate_exps.weight")
	n := len(router.Sums)
	var rows int64
	for _, c := range gate.Counts {
		rows += c
	}
	if used := int64(s.Decoder.ExpertsUsed); rows != used*router.Counts[0] {
		t.Errorf("%d rows of experts for %d tokens", rows, router.Counts[0])
	}
	for i := range n {
		sum := 0.0
		for e := range gate.Counts {
			sum += float64(gate.Sums[e*n+i])
		}
		if want := float64(s.Decoder.ExpertsUsed) * float64(router.Sums[i]); math.Abs(sum-want) > 1e-5*want {
			t.Fatalf("column %d: %g, the router saw %g", i, sum, want)
		}
	}
}

func TestOnlyTheOutputHeadIsCollectedOnRequest(t *testing.T) {
	for _, untied := range []bool{false, true} {
		shape := tinyShape(t, 0)
		shape.Untied = untied
		s := session(t, fixtures.TinyLlama(3, shape))
		ids := someTokens(40)
		plain := collect(t, s, ids, 16, infer.ImportanceOptions{}).Matrix
		all := collect(t, s, ids, 16, infer.ImportanceOptions{Output: true, NoPerplexity: true}).Matrix
		name := map[bool]string{false: "token_embd.weight", true: "output.weight"}[untied]
		if _, ok := plain.Entry(name); ok || plain.Len() != 2*7 {
			t.Errorf("%d entries without the head", plain.Len())
		}
		if e, ok := all.Entry(name); !ok || e.Counts[0] != 32 || all.Len() != 2*7+1 {
			t.Errorf("%d entries with the head, %s: %v", all.Len(), name, ok)
		}
	}
}

func TestPerplexityOnTheWayIsThatOfPerplexity(t *testing.T) {
	s, ids := tiny(t, 64), someTokens(70)
	want, err := s.Perplexity(context.Background(), ids, infer.PerplexityOptions{Context: 16})
	if err != nil {
		t.Fatal(err)
	}
	for _, output := range []bool{false, true} {
		got := collect(t, s, ids, 16, infer.ImportanceOptions{Output: output}).Perplexity()
		if math.Abs(got.NLL-want.NLL) > 1e-6*want.NLL || got.Scored != want.Scored || got.Chunks != want.Chunks {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	if p := collect(t, s, ids, 16, infer.ImportanceOptions{NoPerplexity: true}).Perplexity(); p.Scored != 0 {
		t.Errorf("scored %d tokens unasked", p.Scored)
	}
}

func TestChunksOfATextAddUp(t *testing.T) {
	s, ids := experts(t)
	whole := collect(t, s, ids, 32, infer.ImportanceOptions{}).Matrix
	parts := imatrix.New(32)
	for _, opt := range []infer.ImportanceOptions{{Chunks: 3}, {First: 3, Chunks: 1}, {First: 4}} {
		if err := parts.Merge(collect(t, s, ids, 32, opt).Matrix); err != nil {
			t.Fatal(err)
		}
	}
	if parts.Chunks != whole.Chunks {
		t.Errorf("%d chunks, want %d", parts.Chunks, whole.Chunks)
	}
	for i, e := range whole.Entries() {
		p := parts.Entries()[i]
		if diff := cmp.Diff(e.Counts, p.Counts); diff != "" {
			t.Error(diff)
		}
		for j, v := range e.Sums {
			if math.Abs(float64(p.Sums[j]-v)) > 1e-5*float64(v) {
				t.Fatalf("%s, value %d: %g and %g", e.Name, j, p.Sums[j], v)
			}
		}
	}
}

// endsAfter is a context that ends after some looks at it.
type endsAfter struct {
	context.Context
	looks *int
}

func (c endsAfter) Err() error {
	if *c.looks--; *c.looks < 0 {
		return context.Canceled
	}
	return nil
}

func TestInterruptedAnywhereAndResumedTheBytesAreTheSame(t *testing.T) {
	shape := tinyShape(t, 512)
	shape.Experts = 4
	s, ids := session(t, fixtures.TinyLlama(3, shape)), someTokens(900)
	opt := infer.ImportanceOptions{}
	begin := time.Now()
	whole := collect(t, s, ids, 300, opt)
	took := time.Since(begin)
	want := bytesOf(t, whole.Model("id"))
	const chunks, times = 3, 6
	for i := range chunks + times {
		looks := i // there is one for each chunk
		var ctx context.Context = endsAfter{context.Background(), &looks}
		if i >= chunks {
			timed, cancel := context.WithTimeout(context.Background(), took*time.Duration(i-chunks)/times)
			defer cancel()
			ctx = timed
		}
		run, err := s.NewImportance(300)
		if err != nil {
			t.Fatal(err)
		}
		err = s.CollectImportance(ctx, ids, run, opt)
		if err == nil { // it was faster than the first time
			continue
		}
		if !errors.Is(err, ctx.Err()) {
			t.Fatal(err)
		}
		if run.Next > 0 {
			saved := bytesOf(t, run.Model("id"))
			f, err := gguf.Parse(bytes.NewReader(saved), int64(len(saved)))
			if err != nil {
				t.Fatal(err)
			}
			if run, err = infer.ResumeImportance(f, "id"); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.CollectImportance(context.Background(), ids, run, opt); err != nil {
			t.Fatal(err)
		}
		if got := bytesOf(t, run.Model("id")); !bytes.Equal(got, want) {
			t.Errorf("interruption %d: the bytes differ", i)
		}
		if run.Perplexity() != whole.Perplexity() {
			t.Errorf("perplexity %v, want %v", run.Perplexity(), whole.Perplexity())
		}
	}
}

func TestThreadsDoNotChangeImportance(t *testing.T) {
	shape := tinyShape(t, 0)
	shape.Experts = 4
	var want []byte
	for _, threads := range []int{1, 2, 5} {
		d, err := model.Load(fixtures.TinyLlama(3, shape), model.Options{})
		if err != nil {
			t.Fatal(err)
		}
		pool := product.NewPool(threads)
		defer pool.Close()
		got := bytesOf(t, collect(t, infer.NewSession(d, nil, pool), someTokens(100), 32, infer.ImportanceOptions{}).Matrix.Model())
		if want == nil {
			want = got
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%d threads give other bytes", threads)
		}
	}
}

func TestSavedCollectionsAreToldApart(t *testing.T) {
	s, ids := experts(t)
	id := func(src gguf.Model, tokens []int32, chunkSize int, opt infer.ImportanceOptions) string {
		run, err := s.NewImportance(chunkSize)
		if err != nil {
			t.Fatal(err)
		}
		id, err := s.ImportanceID(context.Background(), src, tokens, run, opt)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	shape := tinyShape(t, 0)
	a, b := fixtures.TinyLlama(3, shape), fixtures.TinyLlama(4, shape)
	base := id(a, ids, 32, infer.ImportanceOptions{})
	if again := id(a, ids, 32, infer.ImportanceOptions{Chunks: 2}); again != base {
		t.Error("another number of chunks cannot be continued to")
	}
	target := s.Decoder.Targets()[0]
	in, out, _ := target.Shape()
	pair := nn.LoRAPair{A: nn.NewParam("a", in, 2), B: nn.NewParam("b", 2, out), Rank: 2, Scale: 1}
	target.Linear.Pair = &pair
	adapted := id(a, ids, 32, infer.ImportanceOptions{})
	pair.Scale = 0.5
	weaker := id(a, ids, 32, infer.ImportanceOptions{})
	target.Linear.Pair = nil
	if weaker == adapted {
		t.Error("another strength of an adapter has the same identity")
	}
	for name, other := range map[string]string{
		"adapter": adapted,
		"model":   id(b, ids, 32, infer.ImportanceOptions{}),
		"text":    id(a, ids[1:], 32, infer.ImportanceOptions{}),
		"chunks":  id(a, ids, 16, infer.ImportanceOptions{}),
		"head":    id(a, ids, 32, infer.ImportanceOptions{Output: true}),
		"first":   id(a, ids, 32, infer.ImportanceOptions{First: 1}),
	} {
		if other == base {
			t.Errorf("another %s has the same identity", name)
		}
	}
	run := collect(t, s, ids, 32, infer.ImportanceOptions{})
	if _, err := infer.ResumeImportance(run.Model("one"), "two"); !errors.Is(err, infer.ErrOtherImportance) {
		t.Error(err)
	}
	damaged := run.Model("one")
	damaged.Metadata().Delete("qtool.imatrix.nll")
	if _, err := infer.ResumeImportance(damaged, "one"); !errors.Is(err, model.ErrInvalid) {
		t.Error(err)
	}
}

func TestTextsAndChunksThatDoNotFitAreRefused(t *testing.T) {
	s := tiny(t, 64)
	for _, n := range []int{3, 65, -1} {
		if _, err := s.NewImportance(n); err == nil {
			t.Errorf("chunks of %d tokens passed", n)
		}
	}
	for name, c := range map[string]struct {
		ids []int32
		opt infer.ImportanceOptions
	}{
		"short text":   {someTokens(15), infer.ImportanceOptions{}},
		"nothing left": {someTokens(40), infer.ImportanceOptions{First: 2}},
		"bad token":    {append(someTokens(16), 1000), infer.ImportanceOptions{}},
	} {
		run, err := s.NewImportance(16)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.CollectImportance(context.Background(), c.ids, run, c.opt); err == nil {
			t.Errorf("%s passed", name)
		}
	}
}
