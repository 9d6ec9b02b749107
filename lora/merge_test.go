package lora_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/adapt"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
	"qtool/internal/nn"
	"qtool/lora"
	"qtool/quantize"
)

// adapterOn makes an adapter on every target of a base, those that can only be merged too, and
// on the router, the embedding and the head where they are targets.
func adapterOn(t *testing.T, base gguf.Model, rank int, seed uint64) *lora.Adapter {
	t.Helper()
	targets, err := lora.Targets(base)
	if err != nil {
		t.Fatal(err)
	}
	name, _ := base.Metadata().Str("general.architecture")
	a := &lora.Adapter{Architecture: name, Alpha: 4, MergeOnly: true}
	rng := rand.New(rand.NewPCG(seed, 1))
	half := func(shape ...int) lora.Half {
		for len(shape) > 2 && shape[2] == 1 {
			shape = shape[:2]
		}
		h := lora.Half{Shape: shape, Values: make([]float32, (&gguf.Tensor{Shape: shape}).Elements())}
		for i := range h.Values {
			h.Values[i] = float32(0.1 * rng.NormFloat64())
		}
		return h
	}
	for _, g := range targets {
		p := lora.Pair{Tensor: g.Tensor, A: half(g.In, rank, g.Experts), B: half(rank, g.Out, g.Experts)}
		if g.Tensor == "token_embd.weight" {
			p.A = half(rank, g.In)
		}
		a.Pairs = append(a.Pairs, p)
	}
	return a
}

// expected is W + scale·B·A in float64 by the definition in the shapes of GGUF.
func expected(t *testing.T, w *gguf.Tensor, p lora.Pair, scale float64) []float64 {
	t.Helper()
	values, err := quantize.Decode(w)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float64, len(values))
	in, rank := w.Shape[0], p.Rank()
	rows := w.Shape[1:]
	perMatrix := 1
	if len(rows) > 0 {
		perMatrix = rows[0]
	}
	for i, v := range values {
		column, row := i%in, i/in
		m, o := row/perMatrix, row%perMatrix
		sum := 0.0
		for r := range rank {
			if p.Tensor == "token_embd.weight" {
				sum += float64(p.A.Values[o*rank+r]) * float64(p.B.Values[column*rank+r])
				continue
			}
			sum += float64(p.B.Values[(m*perMatrix+o)*rank+r]) * float64(p.A.Values[(m*rank+r)*in+column])
		}
		out[i] = float64(v) + scale*sum
	}
	return out
}

// sumOf adds adapters to a base.
func sumOf(t *testing.T, base, source gguf.Model, adapters ...lora.Scaled) *lora.Sum {
	t.Helper()
	a, err := lora.Combine(adapters...)
	if err != nil {
		t.Fatal(err)
	}
	s, err := lora.Add(base, a)
	if err != nil {
		t.Fatal(err)
	}
	if source != nil {
		if err := s.Use(context.Background(), source, 0); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// planOf keeps all types, if there is no other option.
func planOf(t *testing.T, s *lora.Sum, o quantize.Options) *quantize.Plan {
	t.Helper()
	if o.FileType == "" {
		o.FileType, o.KeepOrder = "COPY", true
	}
	o.Stored = s.Stored()
	plan, err := quantize.NewPlan(s.Model(), o)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// written is a model after a way through a file.
func written(t *testing.T, m gguf.Model, opts ...gguf.WriteOption) *gguf.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := gguf.WriteFile(context.Background(), path, m, opts...); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func logitsOf(t *testing.T, m gguf.Model, a *lora.Adapter) []float32 {
	t.Helper()
	return logitsFor(t, m, a, []int32{1, 5, 2, 9, 3, 7, 4, 4, 8, 6})
}

func logitsFor(t *testing.T, m gguf.Model, a *lora.Adapter, tokens []int32) []float32 {
	t.Helper()
	d, err := model.Load(m, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if a != nil {
		file, err := a.Model()
		if err != nil {
			t.Fatal(err)
		}
		bound, err := adapt.FromModel(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := bound.Attach(d); err != nil {
			t.Fatal(err)
		}
	}
	pool := product.NewPool(1)
	defer pool.Close()
	tape := nn.NewTape(pool)
	batch := model.NewBatch(tokens, []int{0})
	return d.Logits(tape, d.Hidden(tape, batch, nil, false)).Data
}

// nmse is the mean square of the difference over that of a.
func nmse(a, b []float32) float64 {
	var dd, aa float64
	for i := range a {
		d := float64(b[i]) - float64(a[i])
		dd, aa = dd+d*d, aa+float64(a[i])*float64(a[i])
	}
	return dd / aa
}

func TestAMergeInF32IsTheSumAndSaysWhatBaseAndAdapterSay(t *testing.T) {
	for _, family := range fixtures.Families() {
		base := fixtures.TinyFamily(1, family)
		first, second := adapterOn(t, base, 3, 1), adapterOn(t, base, 2, 2)
		second.Alpha = 0 // the strength alone
		for _, adapters := range [][]lora.Scaled{{{Adapter: first, Strength: 1}}, {{Adapter: first, Strength: 0.5}, {Adapter: second, Strength: -2}}} {
			s := sumOf(t, base, nil, adapters...)
			merged := written(t, s.Merged(planOf(t, s, quantize.Options{})))
			for i, p := range first.Pairs {
				w, _ := base.Tensor(p.Tensor)
				want := expected(t, w, p, float64(adapters[0].Strength)*4/3)
				if len(adapters) > 1 {
					zero, _ := quantize.Decode(w)
					other := expected(t, w, second.Pairs[i], -2)
					for k := range want {
						want[k] += other[k] - float64(zero[k])
					}
				}
				got := merged.Model
				m, _ := got.Tensor(p.Tensor)
				values, err := quantize.Decode(m)
				if err != nil {
					t.Fatal(err)
				}
				for k, v := range values {
					if math.Abs(float64(v)-want[k]) > 1e-6 {
						t.Fatalf("%s: %s: element %d is %g, expected %g", family, p.Tensor, k, v, want[k])
					}
				}
			}
			combined, err := lora.Combine(adapters...)
			if err != nil {
				t.Fatal(err)
			}
			with, without := logitsOf(t, base, combined), logitsOf(t, base, nil)
			limit := 1e-10
			if family == "gemma3" { // its gates are rounded to float16, so that the last bit of a sum can become a large step
				limit = 1e-9
			}
			if e := nmse(with, logitsOf(t, merged, nil)); e > limit {
				t.Errorf("%s: %d adapters: NMSE of the logits is %g", family, len(adapters), e)
			}
			if e := nmse(without, with); e < 1e-4 {
				t.Errorf("%s: the adapters change the logits by an NMSE of %g only, which tells nothing", family, e)
			}
			for _, b := range base.Tensors() {
				m, _ := merged.Tensor(b.Name)
				if m.Type != b.Type {
					t.Errorf("%s: %s became %v", family, b.Name, m.Type)
				}
				if !slices.ContainsFunc(first.Pairs, func(p lora.Pair) bool { return p.Tensor == b.Name }) && !sameData(t, b, m) {
					t.Errorf("%s: %s has no pair and changed", family, b.Name)
				}
			}
		}
	}
}

func sameData(t *testing.T, a, b *gguf.Tensor) bool {
	t.Helper()
	x, err := a.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	y, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Equal(x, y)
}

// quantized is m in a file type.
func quantized(t *testing.T, m gguf.Model, fileType string) *gguf.File {
	t.Helper()
	plan, err := quantize.NewPlan(m, quantize.Options{FileType: fileType})
	if err != nil {
		t.Fatal(err)
	}
	return written(t, plan.Model())
}

func TestEveryTypeOfABaseTakesAMergeAndKeepsWhatDoesNotChange(t *testing.T) {
	f32 := fixtures.TinyLlama(1, fixtures.Shape{Dim: 256, FF: 256, Layers: 1, Experts: 4, Untied: true})
	for _, name := range quantize.FileTypes() {
		if name == "COPY" {
			continue
		}
		stored := map[string]gguf.Type{}
		var tensors []*gguf.Tensor
		typ := planType(t, f32, name)
		for _, x := range f32.Tensors() {
			if x.Rows() > 1 && x.Shape[0]%typ.BlockElements() == 0 {
				c, err := quantize.Convert(x, typ, nil)
				if err != nil {
					t.Fatal(err)
				}
				x = c
			}
			stored[x.Name] = x.Type
			tensors = append(tensors, x)
		}
		base := written(t, gguf.Assemble(f32.Metadata(), tensors))
		a := adapterOn(t, base, 2, 3)
		a.Pairs = slices.DeleteFunc(a.Pairs, func(p lora.Pair) bool {
			return p.Tensor != "blk.0.ffn_up_exps.weight" && p.Tensor != "blk.0.attn_q.weight"
		})
		if len(a.Pairs) != 2 {
			t.Fatal("the base has other targets")
		}
		for i := range a.Pairs { // one expert is idle, and one row
			if p := &a.Pairs[i]; len(p.B.Shape) > 2 {
				clear(p.B.Values[:len(p.B.Values)/4])
			} else {
				clear(p.B.Values[2*17 : 2*18])
			}
		}
		s := sumOf(t, base, nil, lora.Scaled{Adapter: a, Strength: 1})
		plan := planOf(t, s, quantize.Options{})
		var outs [][]byte
		for _, threads := range []int{1, 3} {
			merged := written(t, s.Merged(plan), gguf.WithThreads(threads))
			for _, b := range base.Tensors() {
				m, _ := merged.Tensor(b.Name)
				if m.Type != stored[b.Name] {
					t.Errorf("%s: %s became %v", name, b.Name, m.Type)
				}
				old, _ := b.Bytes()
				now, _ := m.Bytes()
				switch row := int(b.RowBytes()); b.Name {
				case "blk.0.ffn_up_exps.weight":
					if n := len(old) / 4; !bytes.Equal(old[:n], now[:n]) {
						t.Errorf("%s: the expert without a pair changed", name)
					}
					outs = append(outs, now)
				case "blk.0.attn_q.weight":
					if !bytes.Equal(old[17*row:18*row], now[17*row:18*row]) {
						t.Errorf("%s: a row whose change is zero changed", name)
					}
				default:
					if !bytes.Equal(old, now) {
						t.Errorf("%s: %s has no pair and changed", name, b.Name)
					}
				}
			}
		}
		if !bytes.Equal(outs[0], outs[1]) {
			t.Errorf("%s: threads change bits", name)
		}
		first := survivalOf(t, s, plan, 1)
		for i, other := range survivalOf(t, s, plan, 3) {
			if other != first[i] {
				t.Errorf("%s: %+v with one thread, %+v with three", name, first[i], other)
			}
		}
	}
}

// planType is the type that a file type gives most weights.
func planType(t *testing.T, m gguf.Model, fileType string) gguf.Type {
	t.Helper()
	plan, err := quantize.NewPlan(m, quantize.Options{FileType: fileType, Pure: true, DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range plan.Tensors {
		if p.Name == "blk.0.attn_q.weight" {
			if fileType == "MXFP4_MOE" {
				return gguf.MXFP4
			}
			return p.To
		}
	}
	t.Fatal("there is no attn_q")
	return 0
}

func survivalOf(t *testing.T, s *lora.Sum, plan *quantize.Plan, threads int) []lora.Survival {
	t.Helper()
	found, err := s.Survival(context.Background(), plan, lora.Measuring{Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestSurvivalIsWhatItsDefinitionSays(t *testing.T) {
	base := quantized(t, fixtures.TinyLlama(1, fixtures.Shape{Dim: 64}), "Q4_0")
	a := adapterOn(t, base, 2, 5)
	s := sumOf(t, base, nil, lora.Scaled{Adapter: a, Strength: 0.2})
	plan := planOf(t, s, quantize.Options{})
	merged := written(t, s.Merged(plan))
	for i, found := range survivalOf(t, s, plan, 0) {
		w, _ := base.Tensor(found.Tensor)
		m, _ := merged.Tensor(found.Tensor)
		before, _ := quantize.Decode(w)
		after, _ := quantize.Decode(m)
		if a.Pairs[i].Tensor != found.Tensor {
			i = slices.IndexFunc(a.Pairs, func(p lora.Pair) bool { return p.Tensor == found.Tensor })
		}
		want := expected(t, w, a.Pairs[i], 0.2*4/2)
		var dd, kd, ww, rest float64
		for k, v := range want {
			d := v - float64(before[k])
			ww += float64(before[k]) * float64(before[k])
			dd += d * d
			kd += (float64(after[k]) - float64(before[k])) * d
		}
		for k, v := range want {
			d := v - float64(before[k])
			r := float64(after[k]) - float64(before[k]) - kd/dd*d
			rest += r * r
		}
		for _, c := range [][2]float64{{found.Kept, kd / dd}, {found.Change, math.Sqrt(dd / ww)}, {found.Noise, math.Sqrt(rest / dd)}} {
			if math.Abs(c[0]-c[1]) > 1e-4*math.Abs(c[1]) {
				t.Errorf("%s: %+v: found %g, expected %g", found.Tensor, found, c[0], c[1])
			}
		}
	}
}

func TestKeepRaisesTypesUntilEnoughSurvives(t *testing.T) {
	base := quantized(t, fixtures.TinyLlama(1, fixtures.Shape{Dim: 256, FF: 256}), "Q2_K")
	a := adapterOn(t, base, 2, 7)
	s := sumOf(t, base, nil, lora.Scaled{Adapter: a, Strength: 0.02})
	plan := planOf(t, s, quantize.Options{})
	found := survivalOf(t, s, plan, 0)
	low := 0
	for _, f := range found {
		if f.Share() < 0.9 {
			low++
		}
	}
	size := plan.ToBytes()
	raised, err := s.Keep(context.Background(), plan, found, 0.9, lora.Measuring{Candidates: quantize.CandidateTypes(false)})
	if err != nil || raised != low || low == 0 {
		t.Fatalf("%d raised of %d: %v", raised, low, err)
	}
	for i, again := range survivalOf(t, s, plan, 0) {
		if again != found[i] || again.Share() < 0.9 {
			t.Errorf("said %+v, is %+v", found[i], again)
		}
	}
	if plan.ToBytes() <= size {
		t.Errorf("%d bytes before, %d after", size, plan.ToBytes())
	}
	merged := written(t, s.Merged(plan))
	for _, p := range plan.Tensors {
		if m, _ := merged.Tensor(p.Name); m.Type != p.To {
			t.Errorf("%s is %v, planned as %v", p.Name, m.Type, p.To)
		}
	}
}

func TestWithASourceTheChangeIsAddedToItsWeights(t *testing.T) {
	source := fixtures.TinyLlama(1, fixtures.Shape{Dim: 64})
	base := quantized(t, source, "Q4_0")
	a := adapterOn(t, base, 2, 5)
	s := sumOf(t, base, source, lora.Scaled{Adapter: a, Strength: 1})
	merged := written(t, s.Merged(planOf(t, s, quantize.Options{})))
	p := a.Pairs[1]
	w, _ := source.Tensor(p.Tensor)
	b, _ := base.Tensor(p.Tensor)
	sum := expected(t, w, p, 2)
	values := make([]float32, len(sum))
	for i, v := range sum {
		values[i] = float32(v)
	}
	want, err := quantize.Convert(gguf.Float32Tensor(w.Name, w.Shape, values), b.Type, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, _ := merged.Tensor(p.Tensor)
	x, _ := quantize.Decode(want)
	y, _ := quantize.Decode(m)
	if e := nmse(x, y); e > 1e-6 {
		t.Errorf("the merged tensor is not that of source and adapter: NMSE %g", e)
	}
}

func TestWhatDoesNotFitIsNotMerged(t *testing.T) {
	base := fixtures.TinyLlama(1, fixtures.Shape{Untied: true})
	tied := fixtures.TinyLlama(1, fixtures.Shape{})
	for name, c := range map[string]struct {
		base, source gguf.Model
		spoil        func(a *lora.Adapter)
	}{
		"another architecture": {base, nil, func(a *lora.Adapter) { a.Architecture = "qwen3" }},
		"an unknown tensor":    {base, nil, func(a *lora.Adapter) { a.Pairs[1].Tensor = "blk.7.attn_q.weight" }},
		"a vector":             {base, nil, func(a *lora.Adapter) { a.Pairs[0].Tensor = "output_norm.weight" }},
		"another width":        {fixtures.TinyLlama(1, fixtures.Shape{Untied: true, Dim: 64}), nil, nil},
		"a tied head":          {tied, nil, nil},
		"a narrow source":      {base, fixtures.TinyLlama(1, fixtures.Shape{Untied: true, FF: 32}), nil},
		"a quantized source":   {base, quantized(t, base, "Q8_0"), nil},
		"a source without it":  {base, tied, nil},
		"an unrelated source":  {base, fixtures.TinyLlama(2, fixtures.Shape{Untied: true}), nil},
	} {
		a := adapterOn(t, base, 2, 1)
		if c.spoil != nil {
			c.spoil(a)
		}
		combined, err := lora.Combine(lora.Scaled{Adapter: a, Strength: 1})
		if err != nil {
			if name != "a vector" || !errors.Is(err, lora.ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		sum, err := lora.Add(c.base, combined)
		if c.source == nil {
			if !errors.Is(err, lora.ErrMismatch) {
				t.Errorf("%s: %v", name, err)
			}
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if err := sum.Use(context.Background(), c.source, 0); !errors.Is(err, lora.ErrSource) {
			t.Errorf("%s: %v", name, err)
		}
	}
	a := adapterOn(t, base, 2, 1)
	if _, err := lora.Combine(lora.Scaled{Adapter: a, Strength: math.MaxFloat32}, lora.Scaled{Adapter: a, Strength: 1}); !errors.Is(err, lora.ErrInvalid) {
		t.Errorf("a scale beyond float32: %v", err)
	}
	other := adapterOn(t, fixtures.TinyLlama(1, fixtures.Shape{Untied: true, Dim: 64}), 2, 1)
	if _, err := lora.Combine(lora.Scaled{Adapter: a, Strength: 1}, lora.Scaled{Adapter: other, Strength: 1}); !errors.Is(err, lora.ErrMismatch) {
		t.Errorf("adapters of two bases: %v", err)
	}
}

func TestAnIdlePairLeavesItsTensorAsItIs(t *testing.T) {
	base := quantized(t, fixtures.TinyLlama(1, fixtures.Shape{Dim: 64}), "Q4_0")
	a := adapterOn(t, base, 2, 5)
	clear(a.Pairs[1].B.Values)
	s := sumOf(t, base, nil, lora.Scaled{Adapter: a, Strength: 1})
	if fmt.Sprint(s.Idle) != fmt.Sprint([]string{a.Pairs[1].Tensor}) {
		t.Errorf("idle: %v", s.Idle)
	}
	merged := written(t, s.Merged(planOf(t, s, quantize.Options{})))
	x, _ := base.Tensor(a.Pairs[1].Tensor)
	y, _ := merged.Tensor(a.Pairs[1].Tensor)
	if !sameData(t, x, y) {
		t.Error("it changed")
	}
}

func TestRelationsOfBases(t *testing.T) {
	trained := lora.Base{Architecture: "llama", Name: "A", FileType: 1, SHA256: "00"}
	for _, c := range []struct {
		now  lora.Base
		want lora.Relation
	}{
		{trained, lora.SameBase},
		{lora.Base{Architecture: "llama", Name: "renamed", SHA256: "00"}, lora.SameBase},
		{lora.Base{Architecture: "llama", Name: "A", FileType: 15, SHA256: "01"}, lora.SameModel},
		{lora.Base{Architecture: "llama", SHA256: "01"}, lora.SameModel},
		{lora.Base{Architecture: "llama", Name: "B", SHA256: "01"}, lora.OtherModel},
		{lora.Base{Architecture: "qwen3", Name: "A", SHA256: "01"}, lora.OtherModel},
	} {
		if got := c.now.RelationTo(trained); got != c.want {
			t.Errorf("%+v: %v, expected %v", c.now, got, c.want)
		}
	}
	md := &gguf.Metadata{}
	if _, ok := lora.Recorded(md); ok {
		t.Error("nothing is recorded")
	}
	trained.Record(md)
	if got, ok := lora.Recorded(md); !ok || got != trained {
		t.Errorf("%+v", got)
	}
}
