package quantize

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
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

func (m goldenModel) facts(t *testing.T) *archFacts {
	t.Helper()
	var tensors []*gguf.Tensor
	for l := range m.L {
		tensors = append(tensors, m.tensor(fmt.Sprintf("blk.%d.ffn_up.weight", l)))
	}
	f, err := readArchFacts(gguf.Assemble(m.metadata(), tensors))
	if err != nil {
		t.Fatal(err)
	}
	return f
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
				c, err := newChooser(model.facts(t), tensors, mix, Options{})
				if err != nil {
					t.Fatal(err)
				}
				for _, tensor := range tensors {
					if got, _, _ := c.choose(tensor); !strings.EqualFold(got.String(), want[tensor.Name]) {
						t.Errorf("%s became %v, want %s", tensor.Name, got, want[tensor.Name])
					}
				}
			})
		}
	}
}

// mixes.txt goes further than the golden choices: all file types, with importance and
// without, as llama-quantize --dry-run printed them for the same models. A line is the
// model, the file type, "imatrix" or "plain", and the start of the SHA-256 of lines
// "NAME TYPE\n" sorted by name.
func TestMixesOfEveryFileTypeAreThoseOfTheReference(t *testing.T) {
	var golden struct {
		Models map[string]goldenModel
		Types  map[string]map[string]map[string]string
	}
	if err := json.Unmarshal(sharedtest.Read(t, "golden/mixes/mixes.json"), &golden); err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile("testdata/mixes.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		model := golden.Models[f[0]]
		var tensors []*gguf.Tensor
		for name := range golden.Types[f[0]]["Q8_0"] {
			tensors = append(tensors, model.tensor(name))
		}
		slices.SortFunc(tensors, byLayerAndName)
		var opts Options
		if f[2] == "imatrix" {
			opts.Importance = ImportanceMap{}
		}
		mix, err := findFileType(f[1])
		if err != nil {
			t.Fatal(err)
		}
		c, err := newChooser(model.facts(t), tensors, mix, opts)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, tensor := range tensors {
			to, _, _ := c.choose(tensor)
			lines = append(lines, tensor.Name+" "+strings.ToLower(to.String())+"\n")
		}
		slices.Sort(lines)
		sum := sha256.Sum256([]byte(strings.Join(lines, "")))
		if got := hex.EncodeToString(sum[:8]); got != f[3] {
			t.Errorf("%s: other choices, %s", strings.TrimSpace(line), got)
		}
	}
}

// What the rules of llama-quantize say of file types that its dry run was not recorded for.
func TestMixesOfFewBits(t *testing.T) {
	dense := goldenModel{Arch: "llama", L: 16, D: 2048, H: 16, KV: 16, FF: 4096}
	grouped := dense
	grouped.KV = 4
	eight := dense
	eight.E, eight.Fe = 8, 4096
	for _, c := range []struct {
		mix     string
		model   goldenModel
		imatrix bool
		want    map[string]gguf.Type
	}{
		{"IQ1_S", dense, true, map[string]gguf.Type{
			"output.weight": gguf.Q5_K, "token_embd.weight": gguf.Q2_K, "blk.3.attn_q.weight": gguf.IQ1_S,
			"blk.3.attn_v.weight": gguf.Q2_K, "blk.3.attn_output.weight": gguf.IQ2_XXS,
			"blk.1.ffn_down.weight": gguf.Q2_K, "blk.2.ffn_down.weight": gguf.Q2_K, "blk.3.ffn_down.weight": gguf.IQ1_S,
		}},
		{"IQ2_M", grouped, true, map[string]gguf.Type{
			"token_embd.weight": gguf.IQ3_S, "blk.3.attn_k.weight": gguf.IQ2_S, "blk.3.attn_v.weight": gguf.Q4_K,
			"blk.0.ffn_down.weight": gguf.IQ3_S, "blk.3.attn_output.weight": gguf.IQ3_S, "blk.3.ffn_up.weight": gguf.IQ2_S,
		}},
		{"IQ2_XS", eight, true, map[string]gguf.Type{
			"blk.0.attn_k.weight": gguf.Q4_K, "blk.0.attn_v.weight": gguf.Q4_K, "blk.0.attn_output.weight": gguf.Q5_K,
			"blk.9.ffn_down_exps.weight": gguf.Q2_K, // the first that there is, in whatever layer
		}},
		{"IQ3_XXS", dense, true, map[string]gguf.Type{
			"output.weight": gguf.Q5_K, "token_embd.weight": gguf.IQ3_S, "blk.0.attn_v.weight": gguf.IQ3_XXS,
			"blk.0.attn_q.weight": gguf.IQ2_S, "blk.0.attn_output.weight": gguf.IQ3_S, "blk.0.ffn_down.weight": gguf.IQ3_XXS,
		}},
		{"IQ3_XXS", dense, false, map[string]gguf.Type{
			"blk.0.attn_v.weight": gguf.IQ3_S, "blk.0.ffn_down.weight": gguf.Q4_K, "blk.9.ffn_down.weight": gguf.Q4_K,
			"blk.10.ffn_down.weight": gguf.Q3_K,
		}},
		{"IQ3_XXS", eight, true, map[string]gguf.Type{
			"blk.0.attn_k.weight": gguf.Q8_0, "blk.0.attn_v.weight": gguf.Q8_0, "blk.0.attn_output.weight": gguf.Q5_K,
		}},
	} {
		var tensors []*gguf.Tensor
		for name := range c.want {
			tensors = append(tensors, c.model.tensor(name))
		}
		if _, ok := c.want["output.weight"]; !ok {
			tensors = append(tensors, c.model.tensor("output.weight"))
		}
		slices.SortFunc(tensors, byLayerAndName)
		mix, err := findFileType(c.mix)
		if err != nil {
			t.Fatal(err)
		}
		opts := Options{}
		if c.imatrix {
			opts.Importance = ImportanceMap{}
		}
		chooser, err := newChooser(c.model.facts(t), tensors, mix, opts)
		if err != nil {
			t.Fatal(err)
		}
		for _, tensor := range tensors {
			want, ok := c.want[tensor.Name]
			if got, _, _ := chooser.choose(tensor); ok && got != want {
				t.Errorf("%s, imatrix %t: %s became %v, want %v", c.mix, c.imatrix, tensor.Name, got, want)
			}
		}
	}
}
