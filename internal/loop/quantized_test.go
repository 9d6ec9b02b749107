package loop

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/adapt"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
	"qtool/internal/sharedtest"
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
			encoded := trainOn(t, withWeights(t, gguf.Type(e.ID), data), "ffn_gate", "ffn_up")
			codec, err := quantize.Lookup(gguf.Type(e.ID))
			if err != nil {
				t.Fatal(err)
			}
			floats := make([]float32, 48*512)
			codec.DecodeRow(floats, data)
			decoded := trainOn(t, withWeights(t, gguf.F32, float32Bytes(floats)), "ffn_gate", "ffn_up")
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

// Models such as gpt-oss store their experts so, and nothing else.
func TestExpertsInMXFP4TrainAsTheirDecodedWeights(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) gguf.Model{
		"llama": func(*testing.T) gguf.Model { return fixtures.TinyLlama(1, fixtures.Shape{Dim: 64, FF: 96, Experts: 4}) },
		"gpt-oss": func(t *testing.T) gguf.Model {
			f, err := gguf.Open(sharedtest.Path(t, "golden/archs/gpt-oss.gguf"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			return f
		},
	} {
		t.Run(name, func(t *testing.T) {
			base := open(t)
			encoded, decoded := expertsInMXFP4(t, base)
			a := trainOn(t, encoded, "experts")
			if !sameBits(a, trainOn(t, decoded, "experts")) {
				t.Error("the adapters differ")
			}
			if sameBits(a, trainOn(t, base, "experts")) {
				t.Error("nothing was rounded")
			}
		})
	}
}

// expertsInMXFP4 is base with its stacks of experts in MXFP4, and with what they
// decode to.
func expertsInMXFP4(t *testing.T, base gguf.Model) (encoded, decoded gguf.Model) {
	t.Helper()
	encode, err := quantize.LookupEncoder(gguf.MXFP4)
	if err != nil {
		t.Fatal(err)
	}
	var as, floats []*gguf.Tensor
	for _, x := range base.Tensors() {
		y := x
		if strings.HasSuffix(x.Name, "_exps.weight") && x.Shape[0]%32 == 0 {
			b, err := x.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			v := gguf.DecodeFloat32(b)
			data := make([]byte, 0, len(b))
			for row := range slices.Chunk(v, x.Shape[0]) {
				part := make([]byte, len(row)/32*17)
				encode.EncodeRow(part, row, nil)
				encode.DecodeRow(row, part)
				data = append(data, part...)
			}
			x = &gguf.Tensor{Name: x.Name, Type: gguf.MXFP4, Shape: x.Shape, Data: gguf.Memory(data)}
			y = gguf.Float32Tensor(x.Name, x.Shape, v)
		}
		as, floats = append(as, x), append(floats, y)
	}
	return gguf.Assemble(base.Metadata(), as), gguf.Assemble(base.Metadata(), floats)
}

// trainOn returns the adapter after a few steps.
func trainOn(t *testing.T, m gguf.Model, targets ...string) []float32 {
	t.Helper()
	d, err := model.Load(m, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := adapt.New(d, adapt.Config{Rank: 2, Alpha: 4, Targets: targets})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Attach(d); err != nil {
		t.Fatal(err)
	}
	pool := product.NewPool(2)
	defer pool.Close()
	c := smallConfig()
	c.Steps, c.Precision = 3, "f32" // in bf16, what is stored as float32 would not be rounded
	s, _ := setup(t, 1, c)
	s.Decoder, s.Params, s.Pool = d, a.Params(), pool
	r := start(t, s)
	if err := r.Train(context.Background()); err != nil {
		t.Fatal(err)
	}
	if r.Step() != 3 || r.trained.updates != 3 {
		t.Fatalf("%d updates in %d steps", r.trained.updates, r.Step())
	}
	return values(r)
}
