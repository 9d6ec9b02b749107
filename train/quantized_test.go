package train

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/kernel"
	"qtool/internal/model"
	"qtool/internal/sharedtest"
	"qtool/lora"
	"qtool/quantize"
)

func TestTrainingOnAnyTypeEqualsTrainingOnItsDecodedWeights(t *testing.T) {
	var index struct {
		Types []struct {
			Type    string `json:"type"`
			ID      uint32 `json:"id"`
			IMatrix bool   `json:"imatrix"`
		} `json:"types"`
	}
	if err := json.Unmarshal(sharedtest.Read(t, "golden/quant/index.json"), &index); err != nil {
		t.Fatal(err)
	}
	for _, e := range index.Types {
		file := e.Type
		if e.IMatrix {
			file += ".imatrix"
		}
		t.Run(file, func(t *testing.T) {
			data := sharedtest.Read(t, "golden/quant/"+file+".bin")
			encoded := trainOn(t, withWeights(t, gguf.Type(e.ID), data))
			codec, err := quantize.Lookup(gguf.Type(e.ID))
			if err != nil {
				t.Fatal(err)
			}
			floats := make([]float32, 48*512)
			codec.DecodeRow(floats, data)
			decoded := trainOn(t, withWeights(t, gguf.F32, float32Bytes(floats)))
			if !sameBits(encoded, decoded) {
				t.Error("the adapters differ")
			}
		})
	}
}

func float32Bytes(v []float32) []byte {
	b, _ := gguf.Float32Tensor("", []int{len(v)}, v).Bytes()
	return b
}

// withWeights is a tiny model whose feed-forward gates are the 16 rows of 512
// elements that lie in the normal range, stored as typ.
func withWeights(t *testing.T, typ gguf.Type, data []byte) gguf.Model {
	t.Helper()
	m := fixtures.TinyLlama(1, fixtures.Shape{Dim: 512, Heads: 8, KVHeads: 1, FF: 16, Layers: 1, Vocab: 16})
	row, err := typ.RowSize(512)
	if err != nil {
		t.Fatal(err)
	}
	var tensors []*gguf.Tensor
	for _, tensor := range m.Tensors() {
		if strings.HasSuffix(tensor.Name, "ffn_gate.weight") || strings.HasSuffix(tensor.Name, "ffn_up.weight") {
			tensor = &gguf.Tensor{Name: tensor.Name, Type: typ, Shape: tensor.Shape, Data: gguf.Memory(data[:16*row])}
		}
		tensors = append(tensors, tensor)
	}
	return gguf.Assemble(m.Metadata(), tensors)
}

// trainOn returns the adapter after a few steps.
func trainOn(t *testing.T, m gguf.Model) []float32 {
	t.Helper()
	d, err := model.Load(m, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := lora.New(d, lora.Config{Rank: 2, Alpha: 4, Targets: []string{"ffn_gate", "ffn_up"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Attach(d); err != nil {
		t.Fatal(err)
	}
	pool := kernel.NewPool(2)
	defer pool.Close()
	c := smallConfig()
	c.Steps, c.Precision = 3, "f32" // in bf16, what is stored as float32 would not be rounded
	s, _ := setup(t, 1, c)
	s.Decoder, s.Params, s.Pool = d, a.Params(), pool
	r := start(t, s)
	if err := r.Train(context.Background()); err != nil {
		t.Fatal(err)
	}
	if r.Step() != 3 || r.adamw.updates != 3 {
		t.Fatalf("%d updates in %d steps", r.adamw.updates, r.Step())
	}
	return values(r)
}
