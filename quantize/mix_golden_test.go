package quantize

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"qtool/gguf"
	"qtool/internal/sharedtest"
)

// goldenModel is the shape of a real model, as mixes.json gives it.
type goldenModel struct {
	Arch                       string
	L, D, H, KV, FF, Hd, E, Fe int
	Sh                         int
	Mla                        []int // kv_lora_rank, rope, nope, value dimensions
}

// tensor gives the shape that a tensor of that name has, as far as mixes look at it.
func (m goldenModel) tensor(name string) *gguf.Tensor {
	const rows = 256
	headDim, expertFF := m.Hd, m.Fe
	if headDim == 0 {
		headDim = m.D / m.H
	}
	if expertFF == 0 {
		expertFF = m.FF
	}
	has := func(part string) bool { return strings.Contains(name, part) }
	shape := []int{m.D, rows}
	switch {
	case has("_norm."):
		shape = []int{m.D}
	case has("attn_output") && m.Mla != nil:
		shape = []int{m.H * m.Mla[3], rows}
	case has("attn_output"):
		shape = []int{m.H * headDim, rows}
	case has("attn_k_b"):
		shape = []int{m.Mla[2], rows, m.H}
	case has("attn_v_b"):
		shape = []int{m.Mla[0], rows, m.H}
	case has("ffn_down_exps"):
		shape = []int{expertFF, rows, m.E}
	case has("_exps"):
		shape = []int{m.D, rows, m.E}
	case has("ffn_down_shexp"):
		shape = []int{m.Sh, rows}
	case has("ffn_down"):
		shape = []int{m.FF, rows}
	}
	return &gguf.Tensor{Name: name, Type: gguf.F32, Shape: shape, Data: gguf.Memory(nil)}
}

func (m goldenModel) metadata() *gguf.Metadata {
	md := &gguf.Metadata{}
	md.Set("general.architecture", m.Arch)
	for key, n := range map[string]int{
		"block_count": m.L, "expert_count": m.E, "attention.head_count": m.H, "attention.head_count_kv": m.KV,
	} {
		md.Set(m.Arch+"."+key, uint32(n))
	}
	return md
}

func TestMixesAreThoseOfTheReference(t *testing.T) {
	var golden struct {
		Models map[string]goldenModel
		Types  map[string]map[string]map[string]string // model, file type, tensor
	}
	if err := json.Unmarshal(sharedtest.Read(t, "golden/mixes/mixes.json"), &golden); err != nil {
		t.Fatal(err)
	}
	for name, model := range golden.Models {
		for mixName, want := range golden.Types[name] {
			t.Run(name+"/"+mixName, func(t *testing.T) {
				var tensors []*gguf.Tensor
				for tensor := range want {
					tensors = append(tensors, model.tensor(tensor))
				}
				slices.SortFunc(tensors, byLayerAndName)
				mix := fileTypes[slices.IndexFunc(fileTypes, func(f fileType) bool { return f.name == mixName })]
				c, err := newChooser(gguf.Assemble(model.metadata(), tensors), mix, Options{})
				if err != nil {
					t.Fatal(err)
				}
				for _, tensor := range tensors {
					if got, _ := c.choose(tensor); !strings.EqualFold(got.String(), want[tensor.Name]) {
						t.Errorf("%s became %v, want %s", tensor.Name, got, want[tensor.Name])
					}
				}
			})
		}
	}
}
