package lora_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/sharedtest"
	"qtool/lora"
)

// verdictOf verifies an adapter on a base.
func verdictOf(t *testing.T, a *lora.Adapter, base gguf.Model) *lora.Verdict {
	t.Helper()
	file, err := a.Model()
	if err != nil {
		t.Fatal(err)
	}
	return verdict(t, file, base, lora.Verifying{})
}

func verdict(t *testing.T, file, base gguf.Model, o lora.Verifying) *lora.Verdict {
	t.Helper()
	v, err := lora.Verify(context.Background(), file, base, o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// honoured is the adapter on all targets of a base that llama.cpp honours.
func honoured(t *testing.T, base gguf.Model) *lora.Adapter {
	t.Helper()
	targets, err := lora.Targets(base)
	if err != nil {
		t.Fatal(err)
	}
	a := adapterOn(t, base, 2, 1)
	a.MergeOnly = false
	a.Pairs = slices.DeleteFunc(a.Pairs, func(p lora.Pair) bool {
		return slices.ContainsFunc(targets, func(g lora.Target) bool { return g.Tensor == p.Tensor && g.Refused != "" })
	})
	a.Extra = &gguf.Metadata{}
	id, err := lora.Identify(context.Background(), base, nil)
	if err != nil {
		t.Fatal(err)
	}
	id.Record(a.Extra)
	return a
}

func TestAnAdapterForTheTargetsOfAFamilyIsCleanOnIt(t *testing.T) {
	for _, family := range fixtures.Families() {
		base := fixtures.TinyFamily(1, family)
		v := verdictOf(t, honoured(t, base), base)
		if err := v.Err(); err != nil || len(v.Findings) > 0 || v.Base.Relation != lora.RelationSame {
			t.Errorf("%s: %v: %+v", family, err, v.Findings)
			continue
		}
		for _, p := range v.Places {
			if p.Outcome != lora.Works {
				t.Errorf("%s: %v", family, p)
			}
		}
		if p := v.Probe; p == nil || !(p.NMSE > 1e-6) || !(p.KL > 0) || p.LargestKL < p.KL || p.TopChanges > p.Tokens {
			t.Errorf("%s: %+v", family, p)
		}
	}
}

// forge is the file of a clean adapter for base, changed.
func forge(t *testing.T, base gguf.Model, change func(md *gguf.Metadata, tensors []*gguf.Tensor) []*gguf.Tensor) gguf.Model {
	t.Helper()
	m, err := honoured(t, base).Model()
	if err != nil {
		t.Fatal(err)
	}
	md := m.Metadata().Clone()
	return gguf.Assemble(md, change(md, slices.Clone(m.Tensors())))
}

func TestEachFaultIsFoundAndToldWithWhatHappensWhere(t *testing.T) {
	dense := fixtures.TinyLlama(1, fixtures.Shape{Untied: true})
	experts := fixtures.TinyLlama(1, fixtures.Shape{Experts: 4})
	set := func(key string, v gguf.Value) func(*gguf.Metadata, []*gguf.Tensor) []*gguf.Tensor {
		return func(md *gguf.Metadata, ts []*gguf.Tensor) []*gguf.Tensor { md.Set(key, v); return ts }
	}
	remove := func(key string) func(*gguf.Metadata, []*gguf.Tensor) []*gguf.Tensor {
		return func(md *gguf.Metadata, ts []*gguf.Tensor) []*gguf.Tensor { md.Delete(key); return ts }
	}
	// replace puts other tensors in place of some, which a pair on the tensor base begins with.
	pair := func(base string, shapes [2][]int, value float32) []*gguf.Tensor {
		var ts []*gguf.Tensor
		for i, suffix := range []string{".lora_a", ".lora_b"} {
			values := slices.Repeat([]float32{value}, (&gguf.Tensor{Shape: shapes[i]}).Elements())
			ts = append(ts, gguf.Float32Tensor(base+suffix, shapes[i], values))
		}
		return ts
	}
	with := func(more ...*gguf.Tensor) func(*gguf.Metadata, []*gguf.Tensor) []*gguf.Tensor {
		return func(_ *gguf.Metadata, ts []*gguf.Tensor) []*gguf.Tensor {
			ts = slices.DeleteFunc(ts, func(t *gguf.Tensor) bool {
				return slices.ContainsFunc(more, func(m *gguf.Tensor) bool { return m.Name == t.Name })
			})
			return append(ts, more...)
		}
	}
	spoiled := func(name string, value float32) func(*gguf.Metadata, []*gguf.Tensor) []*gguf.Tensor {
		return func(_ *gguf.Metadata, ts []*gguf.Tensor) []*gguf.Tensor {
			for i, x := range ts {
				if x.Name == name {
					ts[i] = gguf.Float32Tensor(name, x.Shape, slices.Repeat([]float32{value}, x.Elements()))
				}
			}
			return ts
		}
	}
	all := func(value float32) func(*gguf.Metadata, []*gguf.Tensor) []*gguf.Tensor {
		return func(_ *gguf.Metadata, ts []*gguf.Tensor) []*gguf.Tensor {
			for i, x := range ts {
				ts[i] = gguf.Float32Tensor(x.Name, x.Shape, slices.Repeat([]float32{value}, x.Elements()))
			}
			return ts
		}
	}
	w, _ := dense.Tensor("blk.0.attn_q.weight")
	in, out := w.Shape[0], w.Shape[1]
	x, _ := experts.Tensor("blk.0.ffn_up_exps.weight")
	stack := func(n int) []*gguf.Tensor {
		return pair(x.Name, [2][]int{{x.Shape[0], 2, n}, {2, x.Shape[1], n}}, 0.1)
	}
	tied := fixtures.TinyLlama(1, fixtures.Shape{})
	e, _ := tied.Tensor("token_embd.weight")
	glm := fixtures.TinyFamily(1, "glm4")
	o, _ := glm.Tensor("blk.0.attn_output.weight")
	latent := fixtures.TinyFamily(1, "deepseek2")
	l, _ := latent.Tensor("blk.0.attn_kv_a_mqa.weight")
	heads, _ := latent.Tensor("blk.0.attn_k_b.weight")
	biased := fixtures.TinyFamily(1, "qwen2")
	bias, _ := biased.Tensor("blk.0.attn_q.bias")
	// more is a model with another tensor.
	more := func(m gguf.Model, t *gguf.Tensor) gguf.Model {
		return gguf.Assemble(m.Metadata().Clone(), append(slices.Clone(m.Tensors()), t))
	}
	next := fixtures.TinyFamily(1, "glm4moe")
	blocks, _ := next.Metadata().Int("glm4moe.block_count")
	skipped := fmt.Sprintf("blk.%d.attn_q.weight", blocks)
	next = more(next, gguf.Float32Tensor(skipped, []int{4, 4}, make([]float32, 16)))
	next.Metadata().Set("glm4moe.block_count", uint32(blocks+1))
	next.Metadata().Set("glm4moe.nextn_predict_layers", uint32(1))
	scaled := more(dense, gguf.Float32Tensor("blk.0.ffn_up.scale", []int{1}, []float32{2}))
	foreign := gguf.Assemble(dense.Metadata().Clone(), dense.Tensors())
	foreign.Metadata().Set("general.architecture", "mamba")
	idle := stack(4)
	clear(idle[1].Data.(gguf.Float32s)[2*x.Shape[1]:])

	for _, c := range []struct {
		code     string
		base     gguf.Model
		change   func(*gguf.Metadata, []*gguf.Tensor) []*gguf.Tensor
		severity lora.Severity
		llama    lora.Outcome
		merge    lora.Outcome
		subject  string
		next     string
	}{
		{"not-an-adapter", dense, set("general.type", "model"), lora.Broken, lora.Fails, lora.Fails, `must be "adapter" and is "model"`, "convert"},
		{"not-lora", dense, set("adapter.type", "dora"), lora.Broken, lora.Fails, lora.Fails, `"dora"`, "convert"},
		{"no-architecture", dense, remove("general.architecture"), lora.Broken, lora.Fails, lora.Fails, "general.architecture", "convert"},
		{"bad-alpha", dense, set("adapter.lora.alpha", int32(8)), lora.Broken, lora.Fails, lora.Fails, "int32", "convert"},
		{"bad-alpha", dense, set("adapter.lora.alpha", float32(math.Inf(1))), lora.Broken, lora.Fails, lora.Fails, "Inf", "convert"},
		{"activated", dense, set("adapter.alora.invocation_tokens", []uint32{1}), lora.Unsupported, lora.Works, lora.Fails, "invocation", "llama-server"},
		{"bad-merge-only", dense, set("qtool.merge_only", "yes"), lora.Broken, lora.Works, lora.Fails, "qtool.merge_only", "again"},
		{"unexpected-tensor", dense, with(gguf.Float32Tensor("blk.0.attn_q.bias", []int{4}, make([]float32, 4))), lora.Broken, lora.Fails, lora.Fails, "attn_q.bias", "train without"},
		{"bad-shape", dense, with(gguf.Float32Tensor("blk.0.attn_q.weight.lora_a", []int{4}, make([]float32, 4))), lora.Broken, lora.Fails, lora.Fails, "1 dimensions", "convert"},
		{"unsupported-type", dense, with(&gguf.Tensor{Name: "blk.0.attn_q.weight.lora_a", Type: gguf.I64, Shape: []int{in, 2}, Data: gguf.Float32s(make([]float32, 4*in))}), lora.Unsupported, lora.Caution, lora.Fails, "I64", "F32 or F16"},
		{"not-multiplied", dense, with(&gguf.Tensor{Name: "blk.0.attn_q.weight.lora_a", Type: gguf.I32, Shape: []int{in, 2}, Data: gguf.Float32s(make([]float32, 2*in))}), lora.Mismatch, lora.Fails, lora.Works, "I32", "F32 or F16"},
		{"quantized-halves", dense, with(&gguf.Tensor{Name: "blk.0.attn_q.weight.lora_a", Type: gguf.Q8_0, Shape: []int{in, 2}, Data: gguf.Float32s(make([]float32, 2*in))}), lora.Note, lora.Works, lora.Works, "Q8_0", ""},
		{"not-finite", dense, spoiled("blk.0.attn_q.weight.lora_b", float32(math.NaN())), lora.Broken, lora.Wrong, lora.Fails, "NaN", "lower learning rate"},
		{"lone-half", dense, func(_ *gguf.Metadata, ts []*gguf.Tensor) []*gguf.Tensor { return ts[1:] }, lora.Broken, lora.Fails, lora.Fails, "one half", "convert"},
		{"norm", dense, with(pair("blk.0.attn_norm.weight", [2][]int{{in, 1}, {1, 1}}, 1)...), lora.Broken, lora.Ignores, lora.Fails, "attn_norm", "train without"},
		{"ranks-differ", dense, with(pair("blk.0.attn_q.weight", [2][]int{{in, 3}, {2, out}}, 1)...), lora.Broken, lora.Fails, lora.Fails, "share a rank", "convert"},
		{"no-pairs", dense, func(*gguf.Metadata, []*gguf.Tensor) []*gguf.Tensor { return nil }, lora.Broken, lora.Ignores, lora.Fails, "no pairs", "convert"},

		{"other-architecture", dense, set("general.architecture", "qwen2"), lora.Mismatch, lora.Fails, lora.Fails, `"qwen2"`, "trained on"},
		{"no-such-tensor", dense, with(pair("blk.9.attn_q.weight", [2][]int{{in, 2}, {2, out}}, 1)...), lora.Mismatch, lora.Fails, lora.Fails, "blk.9", "trained on"},
		{"wrong-shape", dense, with(pair("blk.0.attn_q.weight", [2][]int{{in + 1, 2}, {2, out}}, 1)...), lora.Mismatch, lora.Fails, lora.Fails, "asks for", "trained on"},
		{"wrong-experts", dense, with(pair("blk.0.attn_q.weight", [2][]int{{in, 2}, {2, out, 3}}, 1)...), lora.Mismatch, lora.Wrong, lora.Fails, "asks for", "trained on"},
		{"wrong-experts", dense, with(pair("blk.0.attn_q.weight", [2][]int{{in, 2, 3}, {2, out}}, 1)...), lora.Mismatch, lora.Wrong, lora.Fails, "asks for", "trained on"},
		{"wrong-experts", experts, with(stack(3)...), lora.Mismatch, lora.Wrong, lora.Fails, "3]", "trained on"},
		{"wrong-experts", experts, with(stack(8)...), lora.Mismatch, lora.Wrong, lora.Fails, "8]", "trained on"},
		{"tied-head", tied, with(pair(e.Name, [2][]int{{2, e.Shape[1]}, {2, e.Shape[0]}}, 1)...), lora.Mismatch, lora.Fails, lora.Fails, "head", "without token_embd"},
		{"tied-head", tied, with(pair("output.weight", [2][]int{{e.Shape[0], 2}, {2, e.Shape[1]}}, 1)...), lora.Mismatch, lora.Fails, lora.Fails, "head", "without token_embd"},
		{"aborts", glm, with(pair(o.Name, [2][]int{{o.Shape[0], 2}, {2, o.Shape[1]}}, 1)...), lora.Mismatch, lora.Fails, lora.Works, "assertion", "qtool lora merge"},
		{"ignored", latent, with(pair(l.Name, [2][]int{{l.Shape[0], 2}, {2, l.Shape[1]}}, 1)...), lora.Mismatch, lora.Ignores, lora.Works, "ignores", "qtool lora merge"},
		{"head-matrices", latent, with(pair(heads.Name, [2][]int{{heads.Shape[0], 2, heads.Shape[2]}, {2, heads.Shape[1], heads.Shape[2]}}, 1)...), lora.Mismatch, lora.Ignores, lora.Works, "each head", "qtool lora merge"},
		{"not-a-target", biased, with(pair(bias.Name, [2][]int{{bias.Shape[0], 1}, {1, 1}}, 1)...), lora.Mismatch, lora.Ignores, lora.Works, "no such weight", "qtool lora merge"},
		{"skipped-block", next, with(pair(skipped, [2][]int{{4, 1}, {1, 4}}, 1)...), lora.Mismatch, lora.Fails, lora.Works, "no such weight", "qtool lora merge"},
		{"scaled-weight", scaled, func(_ *gguf.Metadata, ts []*gguf.Tensor) []*gguf.Tensor { return ts }, lora.Mismatch, lora.Wrong, lora.Works, "multiply the pair too", "qtool lora merge"},
		{"base-not-computed", foreign, set("general.architecture", "mamba"), lora.Unsupported, lora.Works, lora.Works, "mamba", "names and shapes"},
		{"no-such-tensor", foreign, func(md *gguf.Metadata, ts []*gguf.Tensor) []*gguf.Tensor {
			md.Set("general.architecture", "mamba")
			return with(pair("blk.9.attn_q.weight", [2][]int{{in, 2}, {2, out}}, 1)...)(md, ts)
		}, lora.Mismatch, lora.Fails, lora.Fails, "blk.9", "trained on"},
		{"wrong-shape", foreign, func(md *gguf.Metadata, ts []*gguf.Tensor) []*gguf.Tensor {
			md.Set("general.architecture", "mamba")
			return with(pair("blk.0.attn_q.weight", [2][]int{{in + 1, 2}, {2, out}}, 1)...)(md, ts)
		}, lora.Mismatch, lora.Fails, lora.Fails, "asks for", "trained on"},
		{"other-architecture", foreign, set("general.architecture", "llama"), lora.Mismatch, lora.Fails, lora.Fails, "mamba", "trained on"},
		{"idle-experts", experts, with(idle...), lora.Note, lora.Works, lora.Works, "1 of 4", ""},

		{"other-model", dense, func(md *gguf.Metadata, ts []*gguf.Tensor) []*gguf.Tensor {
			lora.Base{Architecture: "llama", Name: "another", FileType: 7, SHA256: "00"}.Record(md)
			return ts
		}, lora.Mismatch, lora.Wrong, lora.Fails, "another", "--force-base"},
		{"other-quantization", dense, set("qtool.base.sha256", "00"), lora.Note, lora.Works, lora.Works, "tensors 00", ""},
		{"base-not-recorded", dense, func(md *gguf.Metadata, ts []*gguf.Tensor) []*gguf.Tensor {
			for _, key := range []string{"architecture", "name", "sha256"} {
				md.Delete("qtool.base." + key)
			}
			return ts
		}, lora.Note, lora.Works, lora.Works, "", ""},
		{"no-alpha", dense, remove("adapter.lora.alpha"), lora.Warning, lora.Caution, lora.Caution, "missing", "convert"},
		{"zero-alpha", dense, set("adapter.lora.alpha", float32(0)), lora.Note, lora.Works, lora.Works, "", ""},
		{"negative-alpha", dense, set("adapter.lora.alpha", float32(-4)), lora.Warning, lora.Caution, lora.Caution, "-4", "convert"},
		{"chat-template", dense, set("tokenizer.chat_template", "{{x}}"), lora.Warning, lora.Works, lora.Works, "", "--remove-metadata"},
		{"unread-key", dense, set("adapter.lora.rank", uint32(2)), lora.Note, lora.Works, lora.Works, "no effect", ""},
		{"zero-pair", dense, spoiled("blk.0.attn_q.weight.lora_b", 0), lora.Warning, lora.Works, lora.Works, "B is all zero", "train longer"},
		{"zero-pair", dense, spoiled("blk.0.attn_q.weight.lora_a", 0), lora.Warning, lora.Works, lora.Works, "A is all zero", "train longer"},
		{"no-effect", dense, all(0), lora.Mismatch, lora.Ignores, lora.Ignores, "every logit", "train longer"},
		{"spoils-logits", dense, all(1e30), lora.Mismatch, lora.Wrong, lora.Wrong, "not finite", "strength"},
	} {
		trained := c.base
		if trained == foreign || trained == scaled {
			trained = dense
		}
		v := verdict(t, forge(t, trained, c.change), c.base, lora.Verifying{})
		i := slices.IndexFunc(v.Findings, func(f lora.Finding) bool { return f.Code == c.code })
		if i < 0 {
			t.Errorf("%s is not found: %+v", c.code, v.Findings)
			continue
		}
		f := v.Findings[i]
		outcome := func(p lora.Place) lora.Outcome {
			for _, e := range f.Effects {
				if e.Place == p {
					return e.Outcome
				}
			}
			return lora.Works
		}
		if f.Severity != c.severity || outcome(lora.LlamaCpp) != c.llama || outcome(lora.Merging) != c.merge {
			t.Errorf("%s: %+v", c.code, f)
		}
		if text := fmt.Sprint(f.Subjects); !strings.Contains(text, c.subject) || !strings.Contains(f.Next, c.next) {
			t.Errorf("%s: %s: next: %s", c.code, text, f.Next)
		}
		kind := map[lora.Severity]error{lora.Broken: lora.ErrInvalid, lora.Unsupported: lora.ErrUnsupported, lora.Mismatch: lora.ErrMismatch}[c.severity]
		switch {
		case c.base == foreign:
			kind = lora.ErrUnsupported
		case c.code == "no-effect":
			kind = lora.ErrNoEffect
		case c.code == "spoils-logits":
			kind = lora.ErrNotFinite
		}
		if err := v.Err(); !errors.Is(err, kind) {
			t.Errorf("%s: the error is %v", c.code, err)
		}
	}
}

func TestAnAdapterForMergingIsNoMismatch(t *testing.T) {
	for family, code := range map[string]string{"glm4": "aborts", "deepseek2": "ignored"} {
		base := fixtures.TinyFamily(1, family)
		a := adapterOn(t, base, 2, 1)
		for _, mergeOnly := range []bool{true, false} {
			a.MergeOnly = mergeOnly
			v := verdictOf(t, a, base)
			i := slices.IndexFunc(v.Findings, func(f lora.Finding) bool { return f.Code == code })
			if i < 0 || v.Findings[i].Severity == lora.Warning != mergeOnly || errors.Is(v.Err(), lora.ErrMismatch) == mergeOnly || v.Probe == nil {
				t.Errorf("%s, for merging only %v: %v, %+v", family, mergeOnly, v.Err(), v)
			}
			for _, p := range v.Places {
				if want := p.Place == lora.Merging || p.Place == lora.Qtool && mergeOnly; (p.Outcome == lora.Works) != want {
					t.Errorf("%s, for merging only %v: %+v", family, mergeOnly, p)
				}
			}
		}
	}
}

func TestWhatDoesNotFitIsNotComputedAndAllOfItIsTold(t *testing.T) {
	base := fixtures.TinyLlama(1, fixtures.Shape{Layers: 2})
	a := honoured(t, base)
	for i := range a.Pairs {
		a.Pairs[i].Tensor = strings.Replace(a.Pairs[i].Tensor, "blk.0", "blk.7", 1)
	}
	v := verdictOf(t, a, base)
	if len(v.Findings) != 1 || v.Findings[0].Code != "no-such-tensor" || len(v.Findings[0].Subjects) != len(a.Pairs)/2 || v.Probe != nil {
		t.Errorf("%+v", v)
	}
}

func TestDamageThatHashesShowIsFound(t *testing.T) {
	base := fixtures.TinyLlama(1, fixtures.Shape{})
	m, err := honoured(t, base).Model()
	if err != nil {
		t.Fatal(err)
	}
	f := written(t, m, gguf.WithHashes())
	tensors := slices.Clone(f.Tensors())
	other := *tensors[0]
	other.Data = gguf.Float32s(slices.Repeat([]float32{1}, other.Elements()))
	tensors[0] = &other
	v := verdict(t, gguf.Assemble(f.Metadata(), tensors), base, lora.Verifying{})
	if !errors.Is(v.Err(), lora.ErrInvalid) || v.Findings[0].Code != "damaged" {
		t.Errorf("%v: %+v", v.Err(), v.Findings)
	}
}

// TestTheProbeIsByItsDefinition computes what the adapter changes from raw logits.
func TestTheProbeIsByItsDefinition(t *testing.T) {
	for _, family := range fixtures.Families() {
		base := fixtures.TinyFamily(1, family)
		a := adapterOn(t, base, 2, 1)
		v := verdictOf(t, a, base)
		if v.Probe.Text != lora.ProbeIDs {
			t.Fatalf("%s has a tokenizer", family)
		}
		vocabulary := len(logitsFor(t, base, nil, []int32{0}))
		ids := make([]int32, v.Probe.Tokens)
		for i := range ids {
			ids[i] = int32(i * vocabulary / len(ids))
		}
		plain, adapted := logitsFor(t, base, nil, ids), logitsFor(t, base, a, ids)
		kl, most, top, largest := 0.0, 0.0, 0, 0.0
		for r := range ids {
			p, q := plain[r*vocabulary:][:vocabulary], adapted[r*vocabulary:][:vocabulary]
			sumP, sumQ := 0.0, 0.0
			for i := range p {
				sumP, sumQ = sumP+math.Exp(float64(p[i])), sumQ+math.Exp(float64(q[i]))
				largest = max(largest, math.Abs(float64(p[i])-float64(q[i])))
			}
			row := 0.0
			for i := range p {
				x, y := math.Exp(float64(p[i]))/sumP, math.Exp(float64(q[i]))/sumQ
				row += x * math.Log(x/y)
			}
			kl, most = kl+row/float64(len(ids)), max(most, row)
			if slices.Index(p, slices.Max(p)) != slices.Index(q, slices.Max(q)) {
				top++
			}
		}
		near := func(a, b float64) bool { return math.Abs(a-b) <= 1e-4*math.Abs(b)+1e-9 }
		got := v.Probe
		if !near(got.NMSE, nmse(plain, adapted)) || !near(got.KL, kl) || !near(got.LargestKL, most) || got.TopChanges != top || !near(got.LargestChange, largest) {
			t.Errorf("%s: %+v, expected NMSE %g, KL %g, at most %g, %d likeliest tokens, %g", family, got, nmse(plain, adapted), kl, most, top, largest)
		}
	}
}

func TestTheStrengthIsThatOfTheProbe(t *testing.T) {
	base := fixtures.TinyLlama(1, fixtures.Shape{Untied: true})
	a := honoured(t, base)
	m, err := a.Model()
	if err != nil {
		t.Fatal(err)
	}
	half := verdict(t, m, base, lora.Verifying{Strength: 0.5}).Probe
	a.Alpha /= 2
	want := verdictOf(t, a, base).Probe
	if math.Abs(half.NMSE-want.NMSE) > 1e-6*want.NMSE {
		t.Errorf("%+v, expected %+v", half, want)
	}
}

func TestATextIsProbedWithTheTokenizerOfTheBase(t *testing.T) {
	base, err := fixtures.Base()
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	m, err := honoured(t, base).Model()
	if err != nil {
		t.Fatal(err)
	}
	builtIn := verdict(t, m, base, lora.Verifying{}).Probe
	given := verdict(t, m, base, lora.Verifying{Text: "Once upon a time"}).Probe
	long := verdict(t, m, base, lora.Verifying{Text: strings.Repeat("Once upon a time ", 500)}).Probe
	if builtIn.Text != lora.ProbeBuiltIn || given.Text != lora.ProbeGiven || given.Tokens != given.Of || given.Tokens >= builtIn.Tokens || long.Tokens >= long.Of || long.Tokens > lora.MaxProbeTokens {
		t.Errorf("%+v, %+v, %+v", builtIn, given, long)
	}
	if builtIn.Tokens < 64 {
		t.Errorf("the built-in text has %d tokens", builtIn.Tokens)
	}
}

func TestABaseThatIsNoSoundModelIsAnError(t *testing.T) {
	base := fixtures.TinyLlama(1, fixtures.Shape{})
	m, err := honoured(t, base).Model()
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]gguf.Model{
		"an adapter": m, "a tensor too few": gguf.Assemble(base.Metadata(), base.Tensors()[1:]), "nothing": gguf.Assemble(&gguf.Metadata{}, nil),
	} {
		if _, err := lora.Verify(context.Background(), m, bad, lora.Verifying{}); err == nil {
			t.Errorf("%s is a base", name)
		}
	}
}

// TestAdaptersThatLlamaCppRanAreClean: their logits in the reference data are llama.cpp's.
func TestAdaptersThatLlamaCppRanAreClean(t *testing.T) {
	folder := filepath.Dir(sharedtest.Path(t, "golden/archs/llama.lora.gguf"))
	paths, err := filepath.Glob(filepath.Join(folder, "*.lora.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	computed := 0
	for _, path := range paths {
		base, err := gguf.Open(strings.TrimSuffix(path, ".lora.gguf") + ".gguf")
		if err != nil {
			t.Fatal(err)
		}
		defer base.Close()
		a, err := gguf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		v := verdict(t, a, base, lora.Verifying{Threads: 1})
		if codes := codesOf(v); slices.Contains(codes, "base-not-computed") {
			continue // its architecture is not there
		} else if v.Err() != nil || !slices.Equal(codes, []string{"base-not-recorded"}) {
			t.Errorf("%s: %v: %+v", filepath.Base(path), v.Err(), v.Findings)
		}
		computed++
	}
	if computed == 0 {
		t.Error("none was computed")
	}
	t.Logf("%d of %d", computed, len(paths))
}

func codesOf(v *lora.Verdict) (codes []string) {
	for _, f := range v.Findings {
		codes = append(codes, f.Code)
	}
	return codes
}
