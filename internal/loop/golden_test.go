package loop

import (
	"encoding/json"
	"math"
	"testing"

	"qtool/gguf"
	"qtool/internal/adapt"
	"qtool/internal/dataset"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
	"qtool/internal/nn"
	"qtool/internal/sharedtest"
)

func TestTenStepsEqualPyTorch(t *testing.T) {
	for _, name := range []string{"llama", "mixtral", "qwen3", "qwen3moe"} {
		for _, checkpointing := range []bool{false, true} {
			t.Run(name+map[bool]string{true: " with checkpointing"}[checkpointing], func(t *testing.T) { tenSteps(t, name, checkpointing) })
		}
	}
}

func tenSteps(t *testing.T, name string, checkpointing bool) {
	var trace struct {
		Steps []struct {
			Loss     float64 `json:"loss"`
			GradNorm float64 `json:"grad_norm"`
		} `json:"steps"`
	}
	if err := json.Unmarshal(sharedtest.Read(t, "golden/train/"+name+".trace.json"), &trace); err != nil {
		t.Fatal(err)
	}
	l, weights := goldenLearner(t, name, checkpointing)
	row := goldenRow(t)
	for i, want := range trace.Steps {
		weights.clearGradients(l.tape.Pool)
		sum, weight := l.accumulate([]dataset.Row{row}, 1.0/47)
		if weight != 47 {
			t.Fatalf("%g targets are scored", weight)
		}
		if loss := sum / 47; math.Abs(loss-want.Loss) > 1e-5 {
			t.Errorf("step %d: loss %.8f, want %.8f", i+1, loss, want.Loss)
		}
		if norm := weights.gradientNorm(l.tape.Pool); math.Abs(norm-want.GradNorm) > 1e-5*want.GradNorm {
			t.Errorf("step %d: gradient norm %.8f, want %.8f", i+1, norm, want.GradNorm)
		}
		if i == 0 {
			compare(t, weights.Params, name+".grad-step1", func(p *nn.Param) []float32 { return p.Grad }, 1e-10)
		}
		weights.step(l.tape.Pool, 2e-3, 1)
	}
	compare(t, weights.Params, name+".after-step10", func(p *nn.Param) []float32 { return p.Data }, 1e-8)
}

func goldenLearner(t *testing.T, name string, checkpointing bool) (*learner, *trained) {
	f, err := gguf.Open(sharedtest.Path(t, "golden/archs/"+name+".gguf"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	d, err := model.Load(f, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := adapt.Open(sharedtest.Path(t, "golden/archs/"+name+".lora.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Attach(d); err != nil {
		t.Fatal(err)
	}
	pool := product.NewPool(2)
	t.Cleanup(pool.Close)
	weights := goldenTrained(a.Params())
	return newLearner(d, a.Params(), pool, &Config{Checkpointing: checkpointing}), weights
}

// goldenTrained has the optimizer of the golden traces.
func goldenTrained(params []*nn.Param) *trained {
	return newTrained(params, &Config{Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, WeightDecay: 0.01})
}

func goldenRow(t *testing.T) dataset.Row {
	return dataset.Row{Docs: []dataset.Example{{IDs: sharedtest.Tokens(t)}}}
}

// compare asks, tensor by tensor, for sum((a-b)²)/sum(b²) of at most limit: 1e-10
// is a relative error of 1e-5.
func compare(t *testing.T, params []*nn.Param, file string, of func(*nn.Param) []float32, limit float64) {
	t.Helper()
	want, err := adapt.Open(sharedtest.Path(t, "golden/train/"+file+".gguf"))
	if err != nil {
		t.Fatal(err)
	}
	golden := map[string][]float32{}
	for _, p := range want.Params() {
		golden[p.Name] = p.Data
	}
	if len(golden) != len(params) {
		t.Fatalf("%d tensors, want %d", len(params), len(golden))
	}
	worst := 0.0
	for _, p := range params {
		e := sharedtest.NMSE(of(p), golden[p.Name])
		worst = max(worst, e)
		if !(e <= limit) {
			t.Errorf("%s: %s: NMSE %g", file, p.Name, e)
		}
	}
	t.Logf("%s: worst NMSE %.3g", file, worst)
}
