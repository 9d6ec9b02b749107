package model_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/arch"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
	"qtool/internal/nn"
	"qtool/internal/scaledtest"
)

// logitsOf are those of a few tokens, with float32 arithmetic.
func logitsOf(t *testing.T, m gguf.Model, o model.Options) []float32 {
	t.Helper()
	d, err := model.Load(m, o)
	if err != nil {
		t.Fatal(err)
	}
	pool := product.NewPool(2)
	defer pool.Close()
	tape := nn.NewTape(pool)
	b := model.NewBatch([]int32{5, 9, 33, 2, 60, 7}, []int{0})
	return append([]float32{}, d.Logits(tape, d.Hidden(tape, b, nil, false)).Data...)
}

func scaledModels(t *testing.T, s fixtures.Shape) (scaled, plain gguf.Model) {
	t.Helper()
	s.Dim, s.FF = 64, 128
	scaled, plain, err := scaledtest.NVFP4(fixtures.TinyLlama(1, s))
	if err != nil {
		t.Fatal(err)
	}
	return scaled, plain
}

func TestWeightsAreMultipliedByTheirScales(t *testing.T) {
	for name, s := range map[string]fixtures.Shape{"dense": {Untied: true}, "tied": {}, "experts": {Untied: true, Experts: 4}} {
		scaled, plain := scaledModels(t, s)
		want := logitsOf(t, plain, model.Options{})
		for _, o := range []model.Options{{}, {TrainWeights: true}} {
			var worst, size float64
			for i, v := range logitsOf(t, scaled, o) {
				worst, size = max(worst, math.Abs(float64(v-want[i]))), max(size, math.Abs(float64(want[i])))
			}
			if worst > 1e-5*size {
				t.Errorf("%s, %+v: logits of up to %g differ by %g", name, o, size, worst)
			}
		}
		if _, err := model.Load(scaled, model.Options{Shapes: true}); err != nil {
			t.Errorf("%s, shapes alone: %v", name, err)
		}
	}
}

func TestTrainedWeightsHoldTheirScales(t *testing.T) {
	scaled, plain := scaledModels(t, fixtures.Shape{Untied: true})
	d, err := model.Load(scaled, model.Options{TrainWeights: true})
	if err != nil {
		t.Fatal(err)
	}
	made := d.Snapshot()
	if len(made.Tensors()) != len(plain.Tensors()) {
		t.Errorf("%d tensors, want %d", len(made.Tensors()), len(plain.Tensors()))
	}
	want := logitsOf(t, plain, model.Options{})
	for i, v := range logitsOf(t, made, model.Options{}) {
		if math.Abs(float64(v-want[i])) > 1e-5 {
			t.Fatalf("logit %d is %g, want %g", i, v, want[i])
		}
	}
}

// llama.cpp dies on pairs on feed-forward weights of NVFP4 with scales, and takes others.
func TestScaledFeedForwardsAreForMergingOnly(t *testing.T) {
	for name, s := range map[string]fixtures.Shape{"dense": {Untied: true}, "experts": {Untied: true, Experts: 4}} {
		scaled, plain := scaledModels(t, s)
		for _, m := range []gguf.Model{scaled, plain} {
			d, err := model.Load(m, model.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, target := range d.Targets() {
				short := arch.ShortName(target.Tensor)
				want := m == scaled && (short == "ffn_gate" || short == "ffn_up" || short == "ffn_down")
				if target.Scaled != want || want && !strings.Contains(target.Refused, "NVFP4") || !want && target.Refused != "" {
					t.Errorf("%s: %s: %q", name, target.Tensor, target.Refused)
				}
			}
		}
	}
}

func TestScalesThatLlamaCppWouldNotTakeAreRefusedByName(t *testing.T) {
	scaled, _ := scaledModels(t, fixtures.Shape{Untied: true, Layers: 1})
	for name, c := range map[string]struct {
		change func([]*gguf.Tensor) []*gguf.Tensor
		kind   error
		says   string
	}{
		"shape": {replaced("blk.0.attn_q.scale", gguf.Float32Tensor("blk.0.attn_q.scale", []int{2}, []float32{1, 1})), model.ErrInvalid, "blk.0.attn_q.scale"},
		"type":  {replaced("blk.0.attn_q.scale", &gguf.Tensor{Name: "blk.0.attn_q.scale", Type: gguf.F16, Shape: []int{1}, Data: strings.NewReader("\x00\x3c")}), model.ErrInvalid, "blk.0.attn_q.scale"},
		"NaN":   {replaced("blk.0.ffn_up.scale", gguf.Float32Tensor("blk.0.ffn_up.scale", []int{1}, []float32{float32(math.NaN())})), model.ErrInvalid, "blk.0.ffn_up.scale"},
		"of the embedding": {func(l []*gguf.Tensor) []*gguf.Tensor {
			return append(l, gguf.Float32Tensor("token_embd.scale", []int{1}, []float32{2}))
		}, model.ErrUnsupported, "token_embd.scale"},
		"of a head in F32": {replaced(arch.Output, gguf.Float32Tensor(arch.Output, []int{64, 64}, make([]float32, 64*64))), model.ErrUnsupported, "output.scale"},
		"of nothing": {func(l []*gguf.Tensor) []*gguf.Tensor {
			return append(l, gguf.Float32Tensor("blk.0.attn_qkv.scale", []int{1}, []float32{2}))
		}, model.ErrUnsupported, "attn_qkv.scale"},
	} {
		m := gguf.Assemble(scaled.Metadata(), c.change(append([]*gguf.Tensor{}, scaled.Tensors()...)))
		if _, err := model.Load(m, model.Options{}); !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func replaced(name string, by *gguf.Tensor) func([]*gguf.Tensor) []*gguf.Tensor {
	return func(list []*gguf.Tensor) []*gguf.Tensor {
		for i, t := range list {
			if t.Name == name {
				list[i] = by
			}
		}
		return list
	}
}
