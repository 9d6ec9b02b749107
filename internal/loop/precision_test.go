package loop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/adapt"
	"qtool/internal/dataset"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
	"qtool/internal/sharedtest"
	"qtool/internal/tokenizer"
	"qtool/quantize"
)

// precisionPool is a pool of the given precision. It skips the test where that
// multiplies in no other way than f32 does.
func precisionPool(t *testing.T, precision product.Precision) *product.Pool {
	t.Helper()
	pool := product.NewPool(1)
	t.Cleanup(pool.Close)
	pool.SetPrecision(precision)
	if precision == product.Auto && pool.Precision() != "bf16" {
		t.Skip("this CPU, or the tier that QTOOL_CPU chooses, does not multiply in bf16")
	}
	return pool
}

// encoded is m with its matrices stored as fileType, as quantize makes it.
func encoded(t *testing.T, m gguf.Model, fileType string) gguf.Model {
	t.Helper()
	plan, err := quantize.NewPlan(m, quantize.Options{FileType: fileType})
	if err != nil {
		t.Fatal(err)
	}
	return plan.Model()
}

// within1Percent fails unless a loss is less than 1% from what it should be.
func within1Percent(t *testing.T, name string, loss, want float64) {
	t.Helper()
	if d := math.Abs(loss/want - 1); !(d < 0.01) {
		t.Errorf("%s: the final loss is %.6f, want %.6f", name, loss, want)
	} else {
		t.Logf("%s: the final loss is %.6f, %.4f%% from %.6f", name, loss, 100*d, want)
	}
}

// What is stored as float32 is never rounded, so the golden models are stored in 16
// bits too. The mixtures are random: rounding turns choices of experts that are
// nearly ties, and so moves a loss by percents either way, in f32 as well. For
// them the mean over many adapters is compared.
func TestBFloat16EndsWithin1PercentOfTheGoldenTraces(t *testing.T) {
	for _, name := range []string{"llama", "mixtral", "qwen3", "qwen3moe"} {
		t.Run(name, func(t *testing.T) {
			var trace struct {
				Steps []struct{ Loss float64 }
			}
			if err := json.Unmarshal(sharedtest.Read(t, "golden/train/"+name+".trace.json"), &trace); err != nil {
				t.Fatal(err)
			}
			want := trace.Steps[len(trace.Steps)-1].Loss
			f, err := gguf.Open(sharedtest.Path(t, "golden/archs/"+name+".gguf"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			golden := func() (*adapt.Adapter, error) {
				return adapt.Open(sharedtest.Path(t, "golden/archs/"+name+".lora.gguf"))
			}
			within1Percent(t, "auto and the trace", lastLoss(t, f, golden, product.Auto), want)
			for _, fileType := range []string{"F16", "BF16"} {
				base := encoded(t, f, fileType)
				if _, experts := f.Tensor("blk.0.ffn_gate_exps.weight"); experts {
					within1Percent(t, fileType+", bf16 and f32, means", meanLoss(t, base, product.Auto), meanLoss(t, base, product.Float32))
					continue
				}
				bf16, f32 := lastLoss(t, base, golden, product.Auto), lastLoss(t, base, golden, product.Float32)
				if bf16 == f32 {
					t.Errorf("%s: the losses are equal: nothing was multiplied in bf16", fileType)
				}
				within1Percent(t, fileType+", bf16 and f32", bf16, f32)
				within1Percent(t, fileType+", bf16 and the trace", bf16, want)
			}
		})
	}
}

// meanLoss is the mean of the last losses of runs that begin with random adapters.
func meanLoss(t *testing.T, base gguf.Model, precision product.Precision) (mean float64) {
	t.Helper()
	const adapters = 24
	for seed := range uint64(adapters) {
		mean += lastLoss(t, base, func() (*adapt.Adapter, error) {
			d, err := model.Load(base, model.Options{})
			if err != nil {
				return nil, err
			}
			return adapt.New(d, adapt.Config{Rank: 4, Alpha: 8, Seed: seed})
		}, precision) / adapters
	}
	return mean
}

// lastLoss is the loss of the last of ten steps as in the golden traces.
func lastLoss(t *testing.T, base gguf.Model, adapter func() (*adapt.Adapter, error), precision product.Precision) float64 {
	t.Helper()
	d, err := model.Load(base, model.Options{})
	if errors.Is(err, model.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	a, err := adapter()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Attach(d); err != nil {
		t.Fatal(err)
	}
	weights := goldenTrained(a.Params())
	l := newLearner(d, a.Params(), precisionPool(t, precision), &Config{})
	row := goldenRow(t)
	for step := 0; ; step++ {
		weights.clearGradients(l.tape.Pool)
		sum, weight := l.accumulate([]dataset.Row{row}, 1.0/47)
		if step == 9 {
			return sum / weight
		}
		weights.step(l.tape.Pool, 2e-3, 1)
	}
}

// embedded is the base that a clone has, with rows of its data.
func embedded(t *testing.T, n int) (gguf.Model, []dataset.Row) {
	t.Helper()
	base, err := fixtures.Base()
	if err != nil {
		t.Fatal(err)
	}
	vocab, err := tokenizer.VocabFromMetadata(base.Metadata())
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.New(vocab)
	if err != nil {
		t.Fatal(err)
	}
	data, err := dataset.Read(strings.NewReader(fixtures.FineTuneJSONL), "embedded.jsonl", dataset.ForTokenizer(tok), dataset.Options{Seq: 128})
	if err != nil {
		t.Fatal(err)
	}
	return base, dataset.Pack(data.Examples, 128, 1)[:n]
}

func TestBFloat16EndsWithin1PercentOnTheEmbeddedBase(t *testing.T) {
	base, rows := embedded(t, 16)
	run := func(precision string) (losses []float64) {
		precisionPool(t, map[string]product.Precision{"f32": product.Float32, "auto": product.Auto}[precision])
		d, err := model.Load(base, model.Options{})
		if err != nil {
			t.Fatal(err)
		}
		a, err := adapt.New(d, adapt.Config{Rank: 8, Alpha: 16, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Attach(d); err != nil {
			t.Fatal(err)
		}
		c := DefaultConfig()
		c.Rate, c.Batch, c.Steps, c.Precision, c.SaveEvery = 3e-3, 2, 48, precision, 0
		pool := product.NewPool(1)
		defer pool.Close()
		r := start(t, Setup{Config: c, Decoder: d, Params: a.Params(), Rows: rows, HeldOut: rows, Pool: pool})
		before, err := r.Measure(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Train(context.Background()); err != nil {
			t.Fatal(err)
		}
		after, err := r.Measure(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return []float64{before, after}
	}
	bf16, f32 := run("auto"), run("f32")
	if !(f32[1] < 0.7*f32[0]) {
		t.Errorf("48 steps took the loss from %g only to %g: this compares nothing", f32[0], f32[1])
	}
	within1Percent(t, "bf16 and f32", bf16[1], f32[1])
	if bf16[0] == f32[0] {
		t.Error("the losses are equal: nothing was multiplied in bf16")
	}
}

// decoded is m with all matrices as F32.
func decoded(t *testing.T, m gguf.Model) gguf.Model {
	t.Helper()
	var tensors []*gguf.Tensor
	for _, tensor := range m.Tensors() {
		values, err := quantize.Decode(tensor)
		if err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, gguf.Float32Tensor(tensor.Name, tensor.Shape, values))
	}
	return gguf.Assemble(m.Metadata(), tensors)
}

// Rounding to bfloat16 anywhere, of weights or of activations, would show: a base
// that is stored as float32 is not rounded in any precision.
func TestFloat32NeverMultipliesInBFloat16(t *testing.T) {
	for _, experts := range []int{0, 4} {
		for _, fileType := range []string{"BF16", "F16", "Q8_0"} {
			for _, checkpointing := range []bool{false, true} {
				t.Run(fmt.Sprint(experts, " experts, ", fileType, ", checkpointing ", checkpointing), func(t *testing.T) {
					base := encoded(t, fixtures.TinyLlama(1, fixtures.Shape{Experts: experts, ExpertsUsed: 2, Untied: true}), fileType)
					run := func(m gguf.Model, precision string) []float32 {
						d, err := model.Load(m, model.Options{})
						if err != nil {
							t.Fatal(err)
						}
						a, err := adapt.New(d, adapt.Config{Rank: 4, Alpha: 8, Seed: 1, Targets: []string{"*"}})
						if err != nil {
							t.Fatal(err)
						}
						if err := a.Attach(d); err != nil {
							t.Fatal(err)
						}
						c := smallConfig()
						c.Steps, c.Precision, c.Checkpointing = 5, precision, checkpointing
						s, _ := setup(t, 1, c)
						s.Decoder, s.Params = d, a.Params()
						r := start(t, s)
						if err := r.Train(context.Background()); err != nil {
							t.Fatal(err)
						}
						return values(r)
					}
					want := run(decoded(t, base), "f32")
					if !sameBits(run(base, "f32"), want) {
						t.Error("f32 on encoded weights differs from f32 on the same weights as float32")
					}
					pool := product.NewPool(1)
					defer pool.Close()
					pool.SetPrecision(product.Auto)
					if differs := !sameBits(run(base, "auto"), want); differs != (pool.Precision() == "bf16") {
						t.Errorf("auto, which is %s here, differs from f32: %t", pool.Precision(), differs)
					}
				})
			}
		}
	}
}
