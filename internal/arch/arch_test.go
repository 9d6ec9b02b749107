package arch_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"qtool/gguf"
	"qtool/internal/arch"
	"qtool/internal/input"
)

func TestEveryArchitectureIsFoundByItsName(t *testing.T) {
	for _, row := range arch.All() {
		if arch.Find(row.Name) != row {
			t.Errorf("%s", row.Name)
		}
	}
	if arch.Find("mamba") != nil {
		t.Error("an architecture without a row is found")
	}
}

// keys are the values of the constants in keys.go that cannot be anything but a key.
func keys(t *testing.T) (all []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "keys.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			if s, _ := strconv.Unquote(literal.Value); strings.Contains(s, ".") {
				all = append(all, s)
			}
		}
		return true
	})
	return all
}

// Names of metadata and tensors have their home here.
func TestNamesOfMetadataAndTensorsAreWrittenHereAlone(t *testing.T) {
	root, names := filepath.Join("..", ".."), append(keys(t), arch.TokenEmbedding, arch.Output, arch.OutputNorm)
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") ||
			strings.HasPrefix(path, filepath.Join(root, "internal", "arch")) {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			literal, ok := n.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return true
			}
			s, _ := strconv.Unquote(literal.Value)
			if strings.HasPrefix(s, "blk.") || slices.ContainsFunc(names, func(name string) bool { return s == name || strings.HasSuffix(s, "."+name) }) {
				t.Errorf("%s: %q is a constant or function of package arch", set.Position(n.Pos()), s)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestNamesOfTensorsAreTakenApart(t *testing.T) {
	for tensor, want := range map[string]struct {
		layer       int
		name, short string
	}{
		"blk.3.attn_q.weight":             {3, "attn_q.weight", "attn_q"},
		"blk.0.exp_probs_b.bias":          {0, "exp_probs_b.bias", "exp_probs_b.bias"},
		"output.weight":                   {-1, "output.weight", "output"},
		"blk.x.attn_q.weight":             {-1, "blk.x.attn_q.weight", "blk.x.attn_q"},
		"blk.-1.attn_q.weight":            {-1, "blk.-1.attn_q.weight", "blk.-1.attn_q"},
		"blk.7":                           {-1, "blk.7", "blk.7"},
		"blk.7.":                          {-1, "blk.7.", "blk.7."},
		"blk.99999999999.attn_q.weight":   {-1, "blk.99999999999.attn_q.weight", "blk.99999999999.attn_q"},
		"mm.blk.3.attn_q.weight.lora_a":   {-1, "mm.blk.3.attn_q.weight.lora_a", "mm.blk.3.attn_q.weight.lora_a"},
		arch.InLayer(12, "ffn_up.weight"): {12, "ffn_up.weight", "ffn_up"},
	} {
		layer, name, ok := arch.SplitLayer(tensor)
		if layer != want.layer || name != want.name || ok != (layer >= 0) || arch.LayerOf(tensor) != layer || arch.ShortName(tensor) != want.short {
			t.Errorf("%s: layer %d, %q, %t, short %q", tensor, layer, name, ok, arch.ShortName(tensor))
		}
	}
}

func TestOneCountForAllLayersOrOneForEach(t *testing.T) {
	const key = "x." + arch.KeyAttentionHeadCount
	for _, c := range []struct {
		value  gguf.Value
		layers int
		want   []int
		err    error
	}{
		{uint32(4), 3, []int{4, 4, 4}, nil},
		{uint32(4), 0, []int{4}, nil},
		{[]uint32{4, 0, 2}, 3, []int{4, 0, 2}, nil},
		{[]uint32{4, 0, 2}, 0, []int{4, 0, 2}, nil},
		{[]uint32{4, 2}, 3, nil, arch.ErrLayers},
		{[]uint32{4}, 3, nil, arch.ErrLayers},
		{[]uint32{}, 0, nil, arch.ErrLayers},
		{uint32(0), 3, nil, input.ErrCount},
		{[]uint32{4, 4, 1 << 30}, 3, nil, input.ErrCount},
		{nil, 3, nil, gguf.ErrMissing},
	} {
		md := &gguf.Metadata{}
		if c.value != nil {
			md.Set(key, c.value)
		}
		m := gguf.Assemble(md, []*gguf.Tensor{gguf.Float32Tensor("w", []int{8, 8}, make([]float32, 64))})
		got, err := arch.CountsOf(m, "x").PerLayer(arch.KeyAttentionHeadCount, c.layers, 1)
		if !errors.Is(err, c.err) || c.err == nil && !slices.Equal(got, c.want) {
			t.Errorf("%v for %d layers: %v, %v", c.value, c.layers, got, err)
		}
	}
}
