package convert

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"qtool/gguf"
	"qtool/internal/sharedtest"
	"qtool/safetensors"
)

// takenApart turns a GGUF model of the llama architecture back to a folder.
func takenApart(t *testing.T, m gguf.Model) *folder {
	t.Helper()
	md := m.Metadata()
	number := func(key string) int {
		n, err := gguf.Or(md.Int("llama." + key))(0)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	heads, kv, width := number("attention.head_count"), number("attention.head_count_kv"), number("embedding_length")
	f := newFolder(safetensors.F32)
	delete(f.config, "head_dim")
	withConfig(f, map[string]any{
		"hidden_size": width, "num_attention_heads": heads, "num_key_value_heads": kv, "vocab_size": number("vocab_size"),
		"intermediate_size": number("feed_forward_length"), "num_hidden_layers": number("block_count"),
		"max_position_embeddings": number("context_length"),
	})
	if n := number("expert_count"); n > 0 {
		withConfig(f, map[string]any{"num_local_experts": n, "num_experts_per_tok": number("expert_used_count")})
	}
	put := func(name string, values []float32, shape []int) {
		shape = slices.Clone(shape)
		slices.Reverse(shape)
		f.tensors = append(f.tensors, &safetensors.Tensor{Name: name, Shape: shape, DType: safetensors.F32, Data: encodeF32(values)})
	}
	globals := map[string]string{"token_embd.weight": embedding + ".weight", "output.weight": headTensor, "output_norm.weight": "model.norm.weight"}
	inBlock := regexp.MustCompile(`^blk\.(\d+)\.(\w+)\.(weight|bias)$`)
	for _, x := range m.Tensors() {
		v := values(t, m, x.Name)
		if source, ok := globals[x.Name]; ok {
			put(source, v, x.Shape)
			continue
		}
		part := inBlock.FindStringSubmatch(x.Name)
		prefix := "model.layers." + part[1] + "."
		switch name := part[2]; {
		case name == "attn_q":
			put(prefix+denseNames[name]+"."+part[3], halved(v, heads, width), x.Shape)
		case name == "attn_k":
			put(prefix+denseNames[name]+"."+part[3], halved(v, kv, width), x.Shape)
		case name == "ffn_gate_inp":
			put(prefix+"block_sparse_moe.gate.weight", v, x.Shape)
		case strings.HasSuffix(name, "_exps"):
			w := map[string]string{"ffn_gate_exps": "w1", "ffn_down_exps": "w2", "ffn_up_exps": "w3"}[name]
			one := x.Shape[0] * x.Shape[1]
			for e := range x.Shape[2] {
				put(fmt.Sprintf("%sblock_sparse_moe.experts.%d.%s.weight", prefix, e, w), v[e*one:][:one], x.Shape[:2])
			}
		default:
			put(prefix+denseNames[name]+"."+part[3], v, x.Shape)
		}
	}
	return f
}

// halved is the inverse of interleaved.
func halved(src []float32, heads, width int) []float32 {
	d := len(src) / heads / width
	out := make([]float32, len(src))
	for r := range heads {
		for k := range d {
			to := k/2 + k%2*(d/2)
			copy(out[(r*d+to)*width:][:width], src[(r*d+k)*width:])
		}
	}
	return out
}

func TestAReferenceModelTakenApartConvertsBackToItself(t *testing.T) {
	for _, name := range []string{"llama", "mixtral"} {
		want, err := gguf.Open(sharedtest.Path(t, "golden/archs/"+name+".gguf"))
		if err != nil {
			t.Fatal(err)
		}
		defer want.Close()
		got := takenApart(t, want).open(t, 100_000)
		if len(got.Tensors()) != len(want.Tensors()) {
			t.Errorf("%s: %d tensors, want %d", name, len(got.Tensors()), len(want.Tensors()))
		}
		for _, x := range want.Tensors() {
			y, ok := got.Tensor(x.Name)
			if !ok || y.Type != x.Type || !slices.Equal(y.Shape, x.Shape) {
				t.Fatalf("%s: %s %v became %+v", name, x.Name, x.Shape, y)
			}
			xb, _ := x.Bytes()
			yb, _ := y.Bytes()
			if !bytes.Equal(xb, yb) {
				t.Errorf("%s: %s differs", name, x.Name)
			}
		}
		for _, kv := range want.Metadata().All() {
			if v, ok := got.Metadata().Get(kv.Key); ok && strings.HasPrefix(kv.Key, "llama.") && kv.Key != "llama.rope.freq_base" && v != kv.Value {
				t.Errorf("%s: %s = %v, want %v", name, kv.Key, v, kv.Value)
			}
		}
	}
}
