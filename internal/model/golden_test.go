package model_test

import (
	"encoding/binary"
	"math"
	"testing"

	"qtool/gguf"
	"qtool/internal/kernel"
	"qtool/internal/model"
	"qtool/internal/nn"
	"qtool/internal/sharedtest"
	"qtool/lora"
)

func TestLogitsEqualLlamaCppWithAndWithoutAdapter(t *testing.T) {
	for _, name := range []string{"llama", "llama3-rope-tied", "mixtral"} {
		for _, adapter := range []bool{false, true} {
			test := name
			if adapter {
				test += ".lora"
			}
			t.Run(test, func(t *testing.T) {
				d := load(t, name)
				if adapter {
					a, err := lora.Open(sharedtest.Path(t, "golden/archs/"+name+".lora.gguf"))
					if err != nil {
						t.Fatal(err)
					}
					if err := a.Attach(d); err != nil {
						t.Fatal(err)
					}
				}
				want := floats(sharedtest.Read(t, "golden/archs/"+test+".logits.f32"))
				got := logits(t, d, tokens(t))
				if e := nmse(got, want); !(e <= 1e-10) {
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

func tokens(t *testing.T) []int32 {
	b := sharedtest.Read(t, "golden/archs/tokens.i32")
	out := make([]int32, len(b)/4)
	for i := range out {
		out[i] = int32(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return out
}

func floats(b []byte) []float32 {
	out := make([]float32, len(b)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return out
}

func newTape(t *testing.T) *nn.Tape {
	p := kernel.NewPool(2)
	t.Cleanup(p.Close)
	return nn.NewTape(p)
}

func logits(t *testing.T, d *model.Decoder, ids []int32) []float32 {
	tape := newTape(t)
	return d.Logits(tape, d.Hidden(tape, model.NewBatch(ids, []int{0}), nil, false)).Data
}

// nmse is sum((a-b)²)/sum(b²).
func nmse(a, b []float32) float64 {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	var num, den float64
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		num += d * d
		den += float64(b[i]) * float64(b[i])
	}
	return num / den
}
