package lora_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/arch"
	"qtool/internal/scaledtest"
	"qtool/lora"
	"qtool/quantize"
)

func scaledBases(t *testing.T, s fixtures.Shape) (scaled, plain gguf.Model) {
	t.Helper()
	s.Dim, s.FF, s.Untied = 64, 128, true
	scaled, plain, err := scaledtest.NVFP4(fixtures.TinyLlama(1, s))
	if err != nil {
		t.Fatal(err)
	}
	return scaled, plain
}

// trueValues are the values of a weight, multiplied by its scale.
func trueValues(t *testing.T, m gguf.Model, name string) []float32 {
	t.Helper()
	w, ok := m.Tensor(name)
	if !ok {
		t.Fatalf("there is no %s", name)
	}
	values, err := quantize.Decode(w)
	if err != nil {
		t.Fatal(err)
	}
	own, _ := arch.ScaleNames(name)
	if scale, ok := m.Tensor(own); ok {
		factors, err := quantize.Decode(scale)
		if err != nil {
			t.Fatal(err)
		}
		for i := range values {
			values[i] *= factors[i/(len(values)/len(factors))]
		}
	}
	return values
}

// Of a weight s·W with a separate scale s, the merged model has s·W + ΔW and the same scale.
func TestAMergeIntoScaledWeightsIsTheSum(t *testing.T) {
	for name, shape := range map[string]fixtures.Shape{"dense": {}, "experts": {Experts: 4}} {
		scaled, plain := scaledBases(t, shape)
		a := adapterOn(t, scaled, 3, 7)
		for _, source := range []gguf.Model{nil, plain} { // the sum is the same, as plain has the same values
			s := sumOf(t, scaled, source, lora.Scaled{Adapter: a, Strength: 1})
			sum := s.Model()
			for _, p := range a.Pairs {
				got := trueValues(t, sum, p.Tensor)
				w, _ := plain.Tensor(p.Tensor)
				for i, want := range expected(t, w, p, float64(a.Scale(p.Rank()))) {
					if math.Abs(float64(got[i])-want) > 1e-6*math.Max(1, math.Abs(want)) {
						t.Fatalf("%s: element %d of %s is %g, want %g", name, i, p.Tensor, got[i], want)
					}
				}
			}
		}
	}
}

func TestAMergedScaledModelSaysWhatBaseAndAdapterSay(t *testing.T) {
	head, err := quantize.ParseTypePattern("^output=NVFP4")
	if err != nil {
		t.Fatal(err)
	}
	for name, shape := range map[string]fixtures.Shape{"dense": {}, "experts": {Experts: 4}} {
		scaled, plain := scaledBases(t, shape)
		a := adapterOn(t, scaled, 3, 7)
		a.Pairs = slices.DeleteFunc(a.Pairs, func(p lora.Pair) bool { return p.Tensor == arch.Output })
		want := logitsOf(t, plain, a)
		s := sumOf(t, scaled, nil, lora.Scaled{Adapter: a, Strength: 1})
		merged := written(t, s.Merged(planOf(t, s, quantize.Options{FileType: "F32", AllowRequantize: true, TensorTypes: []quantize.TypePattern{head}})))
		if d := nmse(want, logitsOf(t, merged, nil)); d > 1e-10 {
			t.Errorf("%s: in F32 the logits differ by %g", name, d)
		}
		if d := nmse(want, logitsOf(t, scaled, a)); d > 1e-10 {
			t.Errorf("%s: base and adapter differ by %g", name, d)
		}

		// In the types of the base, the scales stay; what survives is told in true values.
		plan := planOf(t, s, quantize.Options{})
		kept := written(t, s.Merged(plan))
		for _, w := range scaled.Tensors() {
			if got, ok := kept.Tensor(w.Name); !ok || got.Type != w.Type || w.Type == gguf.F32 && len(w.Shape) == 1 && !sameData(t, w, got) {
				t.Errorf("%s: %s changed", name, w.Name)
			}
		}
		for _, v := range survivalOf(t, s, plan, 2) {
			before, after := trueValues(t, plain, v.Tensor), trueValues(t, kept, v.Tensor)
			changed := trueValues(t, s.Model(), v.Tensor)
			var common, changes, weights float64
			for i, w := range before {
				d := float64(changed[i] - w)
				common += float64(after[i]-w) * d
				changes += d * d
				weights += float64(w) * float64(w)
			}
			if math.Abs(v.Kept-common/changes) > 1e-4 || math.Abs(v.Change-math.Sqrt(changes/weights)) > 1e-4*v.Change {
				t.Errorf("%s: %s: kept %g, want %g; change %g", name, v.Tensor, v.Kept, common/changes, v.Change)
			}
		}
	}
}

// llama.cpp knows the scale of a head only beside NVFP4.
func TestAScaledHeadKeepsItsType(t *testing.T) {
	scaled, _ := scaledBases(t, fixtures.Shape{})
	a := adapterOn(t, scaled, 3, 7)
	s := sumOf(t, scaled, nil, lora.Scaled{Adapter: a, Strength: 1})
	if _, err := quantize.NewPlan(s.Model(), quantize.Options{FileType: "Q8_0", AllowRequantize: true, Stored: s.Stored()}); !errors.Is(err, quantize.ErrUnsupported) {
		t.Errorf("as Q8_0: %v", err)
	}
	plan := planOf(t, s, quantize.Options{})
	survivals := survivalOf(t, s, plan, 1)
	raised, err := s.Keep(context.Background(), plan, survivals, 0.9999, lora.Measuring{Candidates: []gguf.Type{gguf.Q8_0}})
	if err != nil || raised < len(survivals)-2 {
		t.Errorf("%d of %d raised, %v", raised, len(survivals), err)
	}
	if head, _ := plan.Tensor(arch.Output); head.Type != gguf.NVFP4 {
		t.Errorf("the head is %v", head.Type)
	}
	if up, _ := plan.Tensor("blk.0.ffn_up.weight"); up.Type == gguf.NVFP4 {
		t.Error("nothing else was raised")
	}
}

func TestNothingIsAddedToAWeightTimesZero(t *testing.T) {
	scaled, _ := scaledBases(t, fixtures.Shape{Layers: 1, Experts: 4})
	var tensors []*gguf.Tensor
	for _, w := range scaled.Tensors() {
		if w.Name == "blk.0.ffn_up_exps.scale" {
			w = gguf.Float32Tensor(w.Name, w.Shape, []float32{1, 0, 2, 3})
		}
		tensors = append(tensors, w)
	}
	base := gguf.Assemble(scaled.Metadata(), tensors)
	a := adapterOn(t, scaled, 2, 7)
	if _, err := lora.Add(base, a); !errors.Is(err, lora.ErrUnsupported) {
		t.Errorf("%v", err)
	}
	for i := range a.Pairs { // without a change of that expert
		if p := &a.Pairs[i]; p.Tensor == "blk.0.ffn_up_exps.weight" {
			clear(p.B.Values[len(p.B.Values)/4 : len(p.B.Values)/2])
		}
	}
	s, err := lora.Add(base, a)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range trueValues(t, s.Model(), "blk.0.ffn_up_exps.weight") {
		if math.IsNaN(float64(v)) {
			t.Fatalf("element %d is NaN", i)
		}
	}
}
