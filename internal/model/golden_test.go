package model_test

import (
	"testing"

	"qtool/gguf"
	"qtool/internal/adapt"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
	"qtool/internal/nn"
	"qtool/internal/sharedtest"
)

// goldenModels are the models of golden/archs that the decoder computes.
var goldenModels = []string{
	"llama", "llama3-rope-tied", "mixtral",
	"qwen2", "qwen2-bias-yarn-tied", "qwen3", "olmo2", "gemma2", "gemma3", "phi3", "granite", "glm4", "smollm3", "seed_oss",
	"qwen2moe", "qwen3moe", "olmoe", "granitemoe", "glm4moe", "bailingmoe2", "gpt-oss", "deepseek2-lite", "deepseek2-v3", "longcat-flash",
}

func TestLogitsEqualLlamaCppWithAndWithoutAdapter(t *testing.T) {
	for _, name := range goldenModels {
		for _, adapter := range []bool{false, true} {
			test := name
			if adapter {
				test += ".lora"
			}
			t.Run(test, func(t *testing.T) {
				d := load(t, name)
				if adapter {
					a, err := adapt.Open(sharedtest.Path(t, "golden/archs/"+name+".lora.gguf"))
					if err != nil {
						t.Fatal(err)
					}
					if err := a.Attach(d); err != nil {
						t.Fatal(err)
					}
				}
				want := sharedtest.Float32s(t, "golden/archs/"+test+".logits.f32")
				got := logits(t, d, sharedtest.Tokens(t))
				limit := 1e-10
				if name == "gemma3" {
					limit = 5e-9 // see TestGemma3EqualsLlamaCppButForTiesOfItsRoundedGelu
				}
				if e := sharedtest.NMSE(got, want); !(e <= limit) {
					t.Errorf("NMSE %g", e)
				} else {
					t.Logf("NMSE %.3g", e)
				}
			})
		}
	}
}

func load(t *testing.T, name string) *model.Decoder {
	t.Helper()
	f, err := gguf.Open(sharedtest.Path(t, "golden/archs/"+name+".gguf"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	d, err := model.Load(f, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func newTape(t *testing.T) *nn.Tape {
	p := product.NewPool(2)
	t.Cleanup(p.Close)
	return nn.NewTape(p)
}

func logits(t *testing.T, d *model.Decoder, ids []int32) []float32 {
	tape := newTape(t)
	return d.Logits(tape, d.Hidden(tape, model.NewBatch(ids, []int{0}), nil, false)).Data
}
