package model

import (
	"testing"

	"qtool/gguf"
	"qtool/internal/kernel"
	"qtool/internal/nn"
	"qtool/internal/sharedtest"
)

// The reference of YaRN scaling and of biases on q, k and v is a qwen2 model,
// which differs from llama in the pairing of its rotary embedding only.
func TestYaRNAndBiasesEqualLlamaCpp(t *testing.T) {
	f, err := gguf.Open(sharedtest.Path(t, "golden/archs/qwen2-bias-yarn-tied.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := findArchitecture("qwen2"); err != nil {
		qwen2 := llama
		qwen2.name, qwen2.pairing = "qwen2", nn.RopeNeox
		known := architectures
		architectures = append(architectures[:len(known):len(known)], qwen2)
		defer func() { architectures = known }()
	}
	d, err := Load(f, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if d.Rope.ExtFactor != 1 || d.blocks[0].attention.q.Bias == nil {
		t.Fatal("the model uses neither YaRN nor biases")
	}
	ids := sharedtest.Tokens(t)
	pool := kernel.NewPool(1)
	defer pool.Close()
	tape := nn.NewTape(pool)
	got := d.Logits(tape, d.Hidden(tape, NewBatch(ids, []int{0}), nil, false)).Data
	if e := sharedtest.NMSE(got, sharedtest.Float32s(t, "golden/archs/qwen2-bias-yarn-tied.logits.f32")); !(e <= 1e-10) {
		t.Errorf("NMSE %g", e)
	} else {
		t.Logf("NMSE %.3g", e)
	}
}
