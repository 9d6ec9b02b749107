package quantize_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"qtool/gguf"
	"qtool/quantize"
)

// layered has a weight of each of n layers, whose values tell which.
func layered(n int, kvs ...gguf.KV) gguf.Model {
	md := llamaMetadata(n)
	md.Set("general.file_type", uint32(0))
	for _, kv := range kvs {
		md.Set(kv.Key, kv.Value)
	}
	tensors := []*gguf.Tensor{tensorOf("output.weight", gguf.F32, 32, 2)}
	for l := range n {
		tensors = append(tensors, tensorOf(fmt.Sprintf("blk.%d.attn_q.weight", l), gguf.F32, 32, 2+l))
	}
	return gguf.Assemble(md, tensors)
}

func TestPrunedLayersAreGoneAndTheOthersKeepTheirWeights(t *testing.T) {
	source := layered(5)
	p := planOf(t, source, quantize.Options{FileType: "F32", PruneLayers: []int{3, 0, 3}})
	m := p.Model()
	for name, from := range map[string]string{
		"blk.0.attn_q.weight": "blk.1.attn_q.weight", "blk.1.attn_q.weight": "blk.2.attn_q.weight",
		"blk.2.attn_q.weight": "blk.4.attn_q.weight", "output.weight": "output.weight",
	} {
		got, ok := m.Tensor(name)
		want, _ := source.Tensor(from)
		if !ok || !cmp.Equal(got.Shape, want.Shape) || p.SourceName(name) != from {
			t.Fatalf("%s is %v, made of %s", name, got, p.SourceName(name))
		}
		a, _ := got.Bytes()
		if b, _ := want.Bytes(); string(a) != string(b) {
			t.Errorf("%s has not the weights of %s", name, from)
		}
	}
	all := m.Metadata().All()
	if len(m.Tensors()) != 4 || all[len(all)-1] != (gguf.KV{Key: "llama.block_count", Value: uint32(3)}) {
		t.Errorf("%d tensors, metadata ends with %v", len(m.Tensors()), all[len(all)-1])
	}
}

func TestPruningFollowsThroughInTheMetadata(t *testing.T) {
	source := layered(5,
		gguf.KV{Key: "llama.attention.head_count", Value: []uint32{10, 11, 12, 13, 14}},
		gguf.KV{Key: "llama.attention.sliding_window_pattern", Value: []bool{true, false, true, true, false}},
		gguf.KV{Key: "llama.swiglu_clamp_exp", Value: []float32{0, 1, 2, 3}}, // not of the layers that predict further
		gguf.KV{Key: "llama.rope.dimension_sections", Value: []int32{1, 2, 3, 4, 5}},
		gguf.KV{Key: "llama.leading_dense_block_count", Value: uint32(2)},
		gguf.KV{Key: "llama.nextn_predict_layers", Value: uint32(1)},
		gguf.KV{Key: "tokenizer.ggml.tokens", Value: []string{"a", "b", "c", "d", "e"}},
	)
	md := planOf(t, source, quantize.Options{FileType: "F32", PruneLayers: []int{1, 4}}).Model().Metadata()
	for key, want := range map[string]gguf.Value{
		"llama.attention.head_count":             []uint32{10, 12, 13},
		"llama.attention.sliding_window_pattern": []bool{true, true, true},
		"llama.swiglu_clamp_exp":                 []float32{0, 2, 3},
		"llama.rope.dimension_sections":          []int32{1, 2, 3, 4, 5},
		"llama.leading_dense_block_count":        uint32(1),
		"llama.nextn_predict_layers":             uint32(0),
		"llama.block_count":                      uint32(3),
		"tokenizer.ggml.tokens":                  []string{"a", "b", "c", "d", "e"},
	} {
		if got, _ := md.Get(key); !cmp.Equal(got, want) {
			t.Errorf("%s is %#v, want %#v", key, got, want)
		}
	}
	if got, _ := source.Metadata().Get("llama.block_count"); got != uint32(5) {
		t.Errorf("the source changed: %v layers", got)
	}
}

func TestLayersWhoseKindGoesByNumberAreRemarked(t *testing.T) {
	source := layered(6, gguf.KV{Key: "llama.full_attention_interval", Value: uint32(3)})
	for _, c := range []struct {
		prune  []int
		remark string
	}{
		{[]int{3, 4, 5}, ""}, {[]int{0, 1, 2}, ""}, {[]int{5}, ""}, {[]int{1}, "layer 2 was trained as number 2 and changes its kind as number 1"},
	} {
		p := planOf(t, source, quantize.Options{FileType: "F32", PruneLayers: c.prune})
		if got := strings.Join(p.Remarks, "\n"); !strings.Contains(got, c.remark) || c.remark == "" && got != "" {
			t.Errorf("without layers %v: %q", c.prune, got)
		}
	}
}

func TestImportanceFollowsItsLayer(t *testing.T) {
	importance := quantize.ImportanceMap{"blk.0.attn_q.weight": gaussianSquares(32), "blk.2.attn_q.weight": gaussianSquares(32)}
	importance["blk.2.attn_q.weight"][7] = 1000
	bytesOf := func(m gguf.Model, opts quantize.Options, name string) string {
		made, _ := planOf(t, m, opts).Model().Tensor(name)
		b, err := made.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	opts := quantize.Options{FileType: "Q4_0", Importance: importance}
	whole := bytesOf(layered(3), opts, "blk.2.attn_q.weight")
	opts.PruneLayers = []int{0, 1}
	if part := bytesOf(layered(3), opts, "blk.0.attn_q.weight"); part != whole {
		t.Error("layer 2 becomes something else when it is layer 0")
	}
}

func TestLayersThatAreNotThereCannotBePruned(t *testing.T) {
	for _, layers := range [][]int{{5}, {-1}, {0, 1, 2, 3, 4}} {
		if _, err := quantize.NewPlan(layered(5), quantize.Options{FileType: "F32", PruneLayers: layers}); !errors.Is(err, quantize.ErrNoLayer) {
			t.Errorf("%v: %v", layers, err)
		}
	}
}
