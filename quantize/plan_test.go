package quantize_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"qtool/gguf"
	"qtool/quantize"
)

// tensorOf is a tensor of gaussian values in the given type.
func tensorOf(name string, typ gguf.Type, shape ...int) *gguf.Tensor {
	t := &gguf.Tensor{Name: name, Type: typ, Shape: shape}
	codec, err := quantize.LookupEncoder(typ)
	if err != nil {
		panic(err)
	}
	b := make([]byte, t.Size())
	row := len(b) / t.Rows()
	values := gaussian(t.Elements())
	for r := range t.Rows() {
		codec.EncodeRow(b[r*row:(r+1)*row], values[r*shape[0]:(r+1)*shape[0]], nil)
	}
	t.Data = gguf.Memory(b)
	return t
}

// smallModel has a row length that no block of 32 divides, as stories260K does.
func smallModel() gguf.Model {
	md := &gguf.Metadata{}
	md.Set("general.architecture", "llama")
	md.Set("general.file_type", uint32(0))
	md.Set("general.alignment", uint32(64))
	md.Set("llama.block_count", uint32(6))
	md.Set("split.count", uint16(1))
	return gguf.Assemble(md, []*gguf.Tensor{
		tensorOf("token_embd.weight", gguf.F32, 256, 50),
		tensorOf("blk.10.ffn_down.weight", gguf.F32, 172, 64),
		tensorOf("blk.10.ffn_norm.weight", gguf.F32, 256),
		tensorOf("blk.2.ffn_gate_inp.weight", gguf.F32, 256, 4),
		tensorOf("blk.2.attn_q.weight", gguf.F16, 256, 7),
		tensorOf("blk.2.attn_q.bias", gguf.F32, 256),
	})
}

func planOf(t *testing.T, m gguf.Model, opts quantize.Options) *quantize.Plan {
	t.Helper()
	p, err := quantize.NewPlan(m, opts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func typesOf(p *quantize.Plan) map[string]gguf.Type {
	types := map[string]gguf.Type{}
	for _, t := range p.Tensors {
		types[t.Name] = t.To
	}
	return types
}

func TestOptionsDecideTypes(t *testing.T) {
	const embd, query, down = "token_embd.weight", "blk.2.attn_q.weight", "blk.10.ffn_down.weight"
	for _, c := range []struct {
		name string
		opts quantize.Options
		want map[string]gguf.Type
	}{
		{"mix", quantize.Options{FileType: "q4_0"}, map[string]gguf.Type{embd: gguf.Q6_K, query: gguf.Q4_0}},
		{"pure", quantize.Options{FileType: "Q4_0", Pure: true}, map[string]gguf.Type{embd: gguf.Q4_0}},
		{"floats have no mix", quantize.Options{FileType: "BF16"}, map[string]gguf.Type{embd: gguf.BF16, down: gguf.BF16}},
		{"embedding", quantize.Options{FileType: "Q4_0", EmbeddingType: "F16"}, map[string]gguf.Type{embd: gguf.F16}},
		{"tied output", quantize.Options{FileType: "Q4_0", OutputType: "Q8_0"}, map[string]gguf.Type{embd: gguf.Q8_0}},
		{"importance", quantize.Options{FileType: "Q4_0", Importance: quantize.ImportanceMap{}}, map[string]gguf.Type{query: gguf.Q4_0}},
		{"K rows fall back", quantize.Options{FileType: "Q6_K"}, map[string]gguf.Type{query: gguf.Q6_K, down: gguf.F16}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := typesOf(planOf(t, smallModel(), c.opts))
			for name, want := range c.want {
				if got[name] != want {
					t.Errorf("%s becomes %v, want %v", name, got[name], want)
				}
			}
			for _, name := range []string{"blk.10.ffn_norm.weight", "blk.2.ffn_gate_inp.weight", "blk.2.attn_q.bias"} {
				if got[name] != gguf.F32 {
					t.Errorf("%s becomes %v, must stay", name, got[name])
				}
			}
		})
	}
}

func TestOutputIsLeftOnRequest(t *testing.T) {
	m := gguf.Assemble(&gguf.Metadata{}, []*gguf.Tensor{
		tensorOf("output.weight", gguf.F32, 256, 4), tensorOf("token_embd.weight", gguf.F32, 256, 4),
	})
	p := planOf(t, m, quantize.Options{FileType: "Q5_0", LeaveOutput: true})
	if got := typesOf(p); got["output.weight"] != gguf.F32 || got["token_embd.weight"] != gguf.Q5_0 {
		t.Errorf("got %v", got)
	}
}

func TestRowsThatDoNotDivideFallBackAndSaySo(t *testing.T) {
	for _, pt := range planOf(t, smallModel(), quantize.Options{FileType: "Q8_0"}).Tensors {
		down := pt.Name == "blk.10.ffn_down.weight"
		if down && (pt.To != gguf.F16 || !strings.Contains(pt.Note, "172")) {
			t.Errorf("%s becomes %v, note %q", pt.Name, pt.To, pt.Note)
		}
		if !down && pt.Note != "" {
			t.Errorf("%s has the note %q", pt.Name, pt.Note)
		}
	}
}

func TestPlanIsOrderedByLayerAndPrints(t *testing.T) {
	p := planOf(t, smallModel(), quantize.Options{FileType: "Q8_0"})
	var names []string
	var bytes int64
	for _, pt := range p.Tensors {
		names = append(names, pt.Name)
		bytes += pt.ToBytes
	}
	want := "token_embd.weight blk.2.attn_q.bias blk.2.attn_q.weight blk.2.ffn_gate_inp.weight blk.10.ffn_down.weight blk.10.ffn_norm.weight"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("order is %s, want %s", got, want)
	}
	if text := p.String(); !strings.Contains(text, "172 x 64") || !strings.Contains(text, "bits per weight") {
		t.Errorf("printed as\n%s", text)
	}
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		FileType string `json:"file_type"`
		ToBytes  int64  `json:"to_bytes"`
		Tensors  []struct{ To string }
	}
	if err := json.Unmarshal(b, &back); err != nil || back.FileType != "Q8_0" || back.ToBytes != bytes || back.Tensors[0].To != "Q8_0" {
		t.Errorf("JSON %s: %+v, %v", b, back, err)
	}
}

func TestMetadataNamesTheNewFileTypeLast(t *testing.T) {
	all := planOf(t, smallModel(), quantize.Options{FileType: "Q5_1"}).Model().Metadata().All()
	var keys []string
	for _, kv := range all {
		keys = append(keys, kv.Key)
	}
	want := "general.architecture llama.block_count general.quantization_version general.file_type"
	if got := strings.Join(keys, " "); got != want {
		t.Errorf("keys are %s, want %s", got, want)
	}
	if v := all[3].Value; v != uint32(9) {
		t.Errorf("file type is %v, want 9", v)
	}
}

func TestUnknownTypesAreRefusedWithTheKnownOnes(t *testing.T) {
	for _, name := range []string{"Q9_9", "Q8_1", ""} {
		_, err := quantize.NewPlan(smallModel(), quantize.Options{FileType: name})
		if !errors.Is(err, quantize.ErrUnknownType) || !strings.Contains(err.Error(), "Q8_0, Q5_1") {
			t.Errorf("%q: %v", name, err)
		}
	}
	_, err := quantize.NewPlan(smallModel(), quantize.Options{FileType: "Q8_0", OutputType: "Q8_1"})
	if !errors.Is(err, quantize.ErrUnsupported) || !strings.Contains(err.Error(), "output") {
		t.Errorf("output as Q8_1: %v", err)
	}
}

func TestTypesOfFewBitsNeedImportance(t *testing.T) {
	m := gguf.Assemble(&gguf.Metadata{}, []*gguf.Tensor{
		tensorOf("output.weight", gguf.F32, 256, 4), tensorOf("blk.0.attn_q.weight", gguf.F32, 256, 4),
	})
	_, err := quantize.NewPlan(m, quantize.Options{FileType: "Q2_K_S"})
	if !errors.Is(err, quantize.ErrNoImportance) {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{"blk.0.attn_q.weight", "Q2_K", "more bits"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not mention %s", err, part)
		}
	}
	importance := quantize.ImportanceMap{"blk.0.attn_q.weight": gaussianSquares(256)}
	planOf(t, m, quantize.Options{FileType: "Q2_K_S", Importance: importance})
	planOf(t, m, quantize.Options{FileType: "Q2_K"})
}

// gaussianSquares is importance for n columns.
func gaussianSquares(n int) []float32 {
	w := gaussian(n)
	for i, v := range w {
		w[i] = v * v
	}
	return w
}

func TestQuantizedSourcesNeedPermission(t *testing.T) {
	m := gguf.Assemble(&gguf.Metadata{}, []*gguf.Tensor{
		tensorOf("output.weight", gguf.F32, 256, 4), tensorOf("blk.0.attn_q.weight", gguf.Q4_0, 256, 4),
	})
	_, err := quantize.NewPlan(m, quantize.Options{FileType: "Q8_0"})
	if !errors.Is(err, quantize.ErrRequantize) {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{"blk.0.attn_q.weight", "Q4_0", "Q8_0", "--allow-requantize"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not mention %s", err, part)
		}
	}
	planOf(t, m, quantize.Options{FileType: "Q8_0", AllowRequantize: true})
	planOf(t, m, quantize.Options{FileType: "Q4_0"}) // it stays as it is
}

func TestImportanceOfTheWrongLengthIsRefused(t *testing.T) {
	for _, w := range [][]float32{make([]float32, 255), append(make([]float32, 255), -1)} {
		_, err := quantize.NewPlan(smallModel(), quantize.Options{
			FileType: "Q4_0", Importance: quantize.ImportanceMap{"blk.2.attn_q.weight": w},
		})
		if err == nil || !strings.Contains(err.Error(), "blk.2.attn_q.weight") {
			t.Errorf("%d weights: %v", len(w), err)
		}
	}
}

func TestGivenMetadataComesLast(t *testing.T) {
	p := planOf(t, smallModel(), quantize.Options{FileType: "Q8_0", Metadata: []gguf.KV{{Key: "general.architecture", Value: "other"}, {Key: "new", Value: "x"}}})
	all := p.Model().Metadata().All()
	if n := len(all); all[n-1].Key != "new" || all[n-2].Key != "general.architecture" || all[n-3].Key != "general.file_type" {
		t.Errorf("got %v", all)
	}
}

func TestEmbeddingGoesWithoutImportanceOfAnotherLength(t *testing.T) {
	const name = "token_embd.weight"
	other := quantize.ImportanceMap{name: make([]float32, 50)}
	p := planOf(t, smallModel(), quantize.Options{FileType: "Q4_0", Pure: true, Importance: other})
	plain := planOf(t, smallModel(), quantize.Options{FileType: "Q4_0", Pure: true})
	a, _ := p.Model().Tensor(name)
	b, _ := plain.Model().Tensor(name)
	if !bytes.Equal(written(t, a, 0), written(t, b, 0)) {
		t.Error("it was quantized with importance")
	}
}
