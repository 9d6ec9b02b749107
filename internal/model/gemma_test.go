package model

import (
	"math"
	"slices"
	"testing"

	"qtool/gguf"
	"qtool/internal/half"
	"qtool/internal/kernel"
	"qtool/internal/nn"
	"qtool/internal/sharedtest"
)

// llama.cpp looks gelu up in a table of float16: it rounds the argument and the
// result. With the same rounding the logits are the same, but where the two sides'
// last bits make an argument round to different sides, from that token on.
func TestGemmaEqualsLlamaCppButForItsRoundedGelu(t *testing.T) {
	for _, a := range []architecture{gemma2, gemma3} {
		a.activation = roundedGeGLU
		f, err := gguf.Open(sharedtest.Path(t, "golden/archs/"+a.name+".gguf"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		d, err := load(f, &a, Options{})
		if err != nil {
			t.Fatal(err)
		}
		pool := kernel.NewPool(1)
		defer pool.Close()
		tape := nn.NewTape(pool)
		got := d.Logits(tape, d.Hidden(tape, NewBatch(sharedtest.Tokens(t), []int{0}), nil, false)).Data
		want := sharedtest.Float32s(t, "golden/archs/"+a.name+".logits.f32")
		var errors []float64
		for r := 0; r < len(want); r += d.Vocabulary {
			errors = append(errors, sharedtest.NMSE(got[r:r+d.Vocabulary], want[r:r+d.Vocabulary]))
		}
		slices.Sort(errors)
		all, quarter := sharedtest.NMSE(got, want), errors[len(errors)/4]
		if t.Logf("%s: NMSE %.3g, %.3g in a quarter of the rows", a.name, all, quarter); !(all <= 1e-8 && quarter <= 1e-10) {
			t.Errorf("%s: NMSE %g, %g in a quarter of the rows", a.name, all, quarter)
		}
	}
}

func roundedGeGLU(_ *nn.Tape, gate, up *nn.Var) *nn.Var {
	for i, x := range gate.Data {
		switch {
		case x <= -10:
			x = 0
		case x < 10:
			x = half.FromFloat16(half.ToFloat16(x))
			tanh := float32(math.Tanh(float64(0.79788456080286535588 * x * (1 + 0.044715*x*x))))
			x = half.FromFloat16(half.ToFloat16(0.5 * x * (1 + tanh)))
		}
		gate.Data[i] = x * up.Data[i]
	}
	return gate
}
