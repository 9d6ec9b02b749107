package quantize_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/quantize"
)

func targetPlan(t *testing.T, m gguf.Model, opts quantize.Options, target quantize.Target) *quantize.Plan {
	t.Helper()
	p, err := quantize.NewTargetPlan(context.Background(), m, opts, target)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// fileOf is the whole file that a plan makes.
func fileOf(t *testing.T, p *quantize.Plan) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := gguf.Write(context.Background(), &b, p.Model()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// limits asks for sizes far out of reach and reads from the error what is within.
func limits(t *testing.T, m gguf.Model, opts quantize.Options) (least, most int64) {
	t.Helper()
	_, err := quantize.NewTargetPlan(context.Background(), m, opts, quantize.Target{Bytes: 1})
	if !errors.Is(err, quantize.ErrTarget) {
		t.Fatalf("a file of one byte: %v", err)
	}
	var reach *quantize.TargetError
	if !errors.As(err, &reach) {
		t.Fatalf("%v tells no sizes", err)
	}
	return reach.Least, reach.Most
}

func TestTheFileOfATargetKeepsItsSizeToTheByte(t *testing.T) {
	for _, shape := range []fixtures.Shape{{Untied: true}, {Experts: 4, Dim: 64, FF: 96}} {
		m := fixtures.TinyLlama(1, shape)
		least, most := limits(t, m, quantize.Options{})
		before, cost := int64(0), 0.0
		for i := range int64(12) {
			size := least + (most-least)*i/11
			p := targetPlan(t, m, quantize.Options{}, quantize.Target{Bytes: size})
			n := int64(len(fileOf(t, p)))
			if n > size || n != p.Target.FileBytes || n < before {
				t.Errorf("%d bytes were allowed and %d predicted; it has %d", size, p.Target.FileBytes, n)
			}
			if i > 0 && p.Target.Cost > cost || p.Target.Bound > p.Target.Cost*(1+1e-9) {
				t.Errorf("%d bytes cost %g (at least %g), fewer %g", size, p.Target.Cost, p.Target.Bound, cost)
			}
			before, cost = n, p.Target.Cost
		}
		if cost != 0 || before != most {
			t.Errorf("the largest file has %d bytes and costs %g, expected %d and nothing", before, cost, most)
		}
		if p := targetPlan(t, m, quantize.Options{}, quantize.Target{Bytes: least}); p.Target.FileBytes != least {
			t.Errorf("the smallest file has %d bytes, expected %d", p.Target.FileBytes, least)
		}
		if _, err := quantize.NewTargetPlan(context.Background(), m, quantize.Options{}, quantize.Target{Bytes: least - 1}); !errors.Is(err, quantize.ErrTarget) {
			t.Errorf("a byte less than possible: %v", err)
		}
	}
}

func TestATargetOfBitsCountsTensorsAlone(t *testing.T) {
	m := fixtures.TinyLlama(1, fixtures.Shape{Untied: true})
	for _, bits := range []float64{6, 7.25, 20} {
		p := targetPlan(t, m, quantize.Options{}, quantize.Target{BitsPerWeight: bits})
		if got := p.BitsPerWeight(); got > bits || got < bits-0.5 {
			t.Errorf("%g bits were allowed, the plan has %g", bits, got)
		}
	}
	_, err := quantize.NewTargetPlan(context.Background(), m, quantize.Options{}, quantize.Target{BitsPerWeight: 1})
	if !errors.Is(err, quantize.ErrTarget) || !strings.Contains(err.Error(), "bits per weight") {
		t.Errorf("one bit: %v", err)
	}
}

func TestATargetHonoursTheTypesThatAreGiven(t *testing.T) {
	m := fixtures.TinyLlama(1, fixtures.Shape{Untied: true})
	pattern, err := quantize.ParseTypePattern("ffn_up=Q4_1")
	if err != nil {
		t.Fatal(err)
	}
	opts := quantize.Options{OutputType: "Q5_1", TensorTypes: []quantize.TypePattern{pattern}}
	p := targetPlan(t, m, opts, quantize.Target{BitsPerWeight: 8, Types: []gguf.Type{gguf.Q4_0, gguf.Q8_0}})
	for _, tensor := range p.Tensors {
		allowed := []gguf.Type{gguf.Q4_0, gguf.Q8_0, gguf.F32}
		switch {
		case strings.Contains(tensor.Name, "ffn_up"):
			allowed = []gguf.Type{gguf.Q4_1}
		case tensor.Name == "output.weight":
			allowed = []gguf.Type{gguf.Q5_1}
		case strings.HasSuffix(tensor.Name, "_norm.weight"):
			allowed = []gguf.Type{gguf.F32}
		}
		ok := false
		for _, a := range allowed {
			ok = ok || tensor.To == a
		}
		if !ok {
			t.Errorf("%s became %v, expected one of %v", tensor.Name, tensor.To, allowed)
		}
	}
}

func TestATargetDoesNotDependOnThreads(t *testing.T) {
	m := fixtures.TinyLlama(2, fixtures.Shape{Layers: 1, Dim: 256, FF: 256, Vocab: 32, Experts: 2})
	importance := quantize.ImportanceMap{}
	for _, tensor := range m.Tensors() {
		if len(tensor.Shape) < 2 {
			continue
		}
		n := tensor.Shape[0]
		if len(tensor.Shape) > 2 {
			n *= tensor.Shape[2]
		}
		w := make([]float32, n)
		for i := range w {
			w[i] = float32(1 + i%7)
		}
		importance[tensor.Name] = w
	}
	var plans []*quantize.Plan
	for _, threads := range []int{1, 3} {
		plans = append(plans, targetPlan(t, m, quantize.Options{Importance: importance, Threads: threads}, quantize.Target{BitsPerWeight: 3,
			Types: []gguf.Type{gguf.IQ2_XS, gguf.Q2_K, gguf.IQ4_XS, gguf.Q6_K}}))
	}
	if diff := cmp.Diff(plans[0].Tensors, plans[1].Tensors); diff != "" {
		t.Errorf("on one thread and on three:\n%s", diff)
	}
}

func TestAQuantizedModelTakesNoTargetUnlessAllowed(t *testing.T) {
	m := planOf(t, fixtures.TinyLlama(1, fixtures.Shape{}), quantize.Options{FileType: "Q8_0"}).Model()
	_, err := quantize.NewTargetPlan(context.Background(), m, quantize.Options{}, quantize.Target{BitsPerWeight: 6})
	if !errors.Is(err, quantize.ErrRequantize) {
		t.Errorf("error %v", err)
	}
	p := targetPlan(t, m, quantize.Options{AllowRequantize: true}, quantize.Target{BitsPerWeight: 7})
	if p.BitsPerWeight() > 7 {
		t.Errorf("%g bits per weight", p.BitsPerWeight())
	}
}
