package ollama_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/model"
	"qtool/internal/ollama"
)

// form is how Ollama's converter wrote an architecture: llama.cpp's keys and tensors, less
// without, with others in their place.
type form struct {
	family  string
	arch    string                   // Ollama's name
	without []string                 // keys that it does not write
	keys    map[string]gguf.Value    // keys that it writes
	tensor  func(name string) string // its name of a tensor
	extra   []string                 // tensors that it adds
	after   map[string]gguf.Value    // what the translation has that the family has not
}

var forms = map[string]form{
	"gptoss": {
		family: "gpt-oss", arch: "gptoss", without: []string{"expert_feed_forward_length"},
		keys:   map[string]gguf.Value{"tokenizer.ggml.pre": "default"},
		tensor: strings.NewReplacer("attn_output", "attn_out", "attn_sinks.weight", "attn_sinks", "post_attention_norm", "ffn_norm").Replace,
		after:  map[string]gguf.Value{"gpt-oss.rope.scaling.type": "yarn", "tokenizer.ggml.pre": "gpt-4o"},
	},
	"gemma3 with eyes": {
		family: "gemma3", arch: "gemma3", without: []string{"attention.layer_norm_rms_epsilon", "rope.freq_base"},
		keys: map[string]gguf.Value{
			"gemma3.vision.block_count": uint32(27), "gemma3.mm.tokens_per_image": uint32(256), "gemma3.rope.global.freq_base": float32(1e6),
			"gemma3.rope.local.freq_base": float32(1e4), "gemma3.context_length": uint32(131072),
		},
		extra: []string{"v.patch_embedding.weight", "v.blk.0.attn_q.weight", "mm.mm_input_projection.weight"},
		after: map[string]gguf.Value{
			"gemma3.attention.layer_norm_rms_epsilon": float32(1e-6), "gemma3.rope.freq_base": float32(1e6), "gemma3.rope.freq_base_swa": float32(1e4),
			"gemma3.rope.scaling.type": "linear", "gemma3.rope.scaling.factor": float32(8), "gemma3.context_length": uint32(131072),
		},
	},
	"gemma3 1B": {
		family: "gemma3", arch: "gemma3", without: nil,
		keys:  map[string]gguf.Value{"gemma3.rope.local.freq_base": float32(2e4)},
		after: map[string]gguf.Value{"gemma3.rope.freq_base_swa": float32(2e4)},
	},
	"olmo3": {family: "olmo2", arch: "olmo3"},
	"glm4moelite": {
		family: "deepseek2", arch: "glm4moelite",
		without: []string{"expert_group_count", "expert_group_used_count", "attention.head_count_kv", "attention.key_length", "attention.value_length", "attention.key_length_mla", "attention.value_length_mla"},
		keys: map[string]gguf.Value{
			"glm4moelite.attention.head_count_kv": uint32(4), "glm4moelite.attention.key_length": uint32(12), "glm4moelite.attention.value_length": uint32(8),
			"glm4moelite.attention.key_length_mla": uint32(16), "glm4moelite.attention.value_length_mla": uint32(12), "tokenizer.ggml.eos_token_ids": []int32{1, 2, 3},
		},
		after: map[string]gguf.Value{
			"deepseek2.expert_group_count": uint32(1), "deepseek2.expert_group_used_count": uint32(1), "tokenizer.ggml.pre": "glm4",
			"tokenizer.ggml.eos_token_ids": []int32{1, 2, 3}, "tokenizer.ggml.eot_token_id": uint32(2), "tokenizer.ggml.eom_token_id": uint32(3),
		},
	},
	"llama with an encoder and further heads": {
		family: "llama", arch: "llama", extra: []string{"v.a.weight", "mm.b.weight", "a.c.weight", "s.d.weight", "mtp.e.weight"},
	},
}

// write writes the tiny model of a form's family in that form.
func (f *form) write(t *testing.T) (path string) {
	t.Helper()
	plain := fixtures.TinyFamily(1, f.family)
	md := new(gguf.Metadata)
	for _, kv := range plain.Metadata().All() {
		rest, ours := strings.CutPrefix(kv.Key, f.family+".")
		switch {
		case kv.Key == "general.architecture":
			md.Set(kv.Key, f.arch)
		case !ours:
			md.Set(kv.Key, kv.Value)
		case !slices.Contains(f.without, rest):
			md.Set(f.arch+"."+rest, kv.Value)
		}
	}
	for key, v := range f.keys {
		md.Set(key, v)
	}
	var tensors []*gguf.Tensor
	for _, tensor := range plain.Tensors() {
		renamed := *tensor
		if f.tensor != nil {
			renamed.Name = f.tensor(tensor.Name)
		}
		tensors = append(tensors, &renamed)
	}
	for _, name := range f.extra {
		tensors = append(tensors, gguf.Float32Tensor(name, []int{4}, make([]float32, 4)))
	}
	path = filepath.Join(t.TempDir(), "blob")
	if err := gguf.WriteFile(context.Background(), path, gguf.Assemble(md, tensors), gguf.WithHashes()); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOllamasFormsBecomeLlamaCpps(t *testing.T) {
	for name, f := range forms {
		t.Run(name, func(t *testing.T) {
			file, err := gguf.Open(f.write(t))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			got, remarks, err := ollama.Translate(file)
			if err != nil {
				t.Fatal(err)
			}
			want := fixtures.TinyFamily(1, f.family)
			keys := map[string]gguf.Value{}
			for _, kv := range want.Metadata().All() {
				keys[kv.Key] = kv.Value
			}
			for key, v := range f.after {
				keys[key] = v
			}
			gotKeys := map[string]gguf.Value{}
			for _, kv := range got.Metadata().All() {
				gotKeys[kv.Key] = kv.Value
			}
			if d := cmp.Diff(keys, gotKeys); d != "" {
				t.Error(d)
			}
			if n := len(got.Tensors()); n != len(want.Tensors()) {
				t.Error(n, "tensors")
			}
			for _, w := range want.Tensors() {
				g, ok := got.Tensor(w.Name)
				if !ok {
					t.Errorf("no %s", w.Name)
					continue
				}
				a, _ := g.SHA256(t.Context())
				if b, _ := w.SHA256(t.Context()); a != b || !slices.Equal(g.Shape, w.Shape) {
					t.Errorf("%s differs", w.Name)
				}
			}
			if _, err := model.Load(got, model.Options{}); err != nil {
				t.Error(err)
			}
			if left := strings.Join(remarks, "\n"); (left != "") != (f.extra != nil) || strings.Count(left, "left out") > 3 {
				t.Errorf("remarks: %s", left)
			}
		})
	}
}

// Files of llama.cpp's own converter pass as they are.
func TestUpstreamModelsAreNotTouched(t *testing.T) {
	for _, family := range fixtures.Families() {
		m := fixtures.TinyFamily(1, family)
		if got, remarks, err := ollama.Translate(m); err != nil || got != m || remarks != nil {
			t.Errorf("%s: %v %v", family, remarks, err)
		}
	}
}

func TestWhatCannotBeTranslatedIsRefusedByName(t *testing.T) {
	for says, c := range map[string]struct {
		arch    string
		tensors []string
		kind    error
	}{
		"EmbeddingGemma":           {"gemma3", []string{"dense.0.weight"}, ollama.ErrUnsupported},
		`"blk.0.attn_qkv.weight"`:  {"gptoss", []string{"blk.0.attn_qkv.weight"}, ollama.ErrUnsupported},
		"ffn_gate_up_exps":         {"gptoss", []string{"blk.0.ffn_gate_up_exps.weight"}, ollama.ErrUnsupported},
		"sizes of its attention":   {"glm4moelite", nil, ollama.ErrUnsupported},
		`"blk.0.attn_output.bias"`: {"gptoss", []string{"blk.0.attn_out.bias", "blk.0.attn_output.bias"}, ollama.ErrInvalid},
	} {
		md := new(gguf.Metadata)
		md.Set("general.architecture", c.arch)
		var tensors []*gguf.Tensor
		for _, name := range c.tensors {
			tensors = append(tensors, gguf.Float32Tensor(name, []int{4}, make([]float32, 4)))
		}
		if _, _, err := ollama.Translate(gguf.Assemble(md, tensors)); !errors.Is(err, c.kind) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
}

// llama3 is a vocabulary with the tokens by which Llama 3 is known.
func llama3(pre any, eos uint32) *gguf.Metadata {
	md := fixtures.TinyFamily(1, "llama").Metadata().Clone()
	md.Set("tokenizer.ggml.tokens", []string{"a", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"})
	if pre != nil {
		md.Set("tokenizer.ggml.pre", pre)
	}
	md.Set("tokenizer.ggml.eos_token_id", eos)
	return md
}

func TestLlama3EndsAnAnswerWhereOllamaDoes(t *testing.T) {
	for _, c := range []struct {
		pre     any
		eos     uint32
		touched bool
	}{
		{"default", 1, true}, {"", 4, true}, {nil, 4, true}, {"llama-bpe", 1, true}, {"llama-bpe", 4, false}, {"smaug-bpe", 1, true},
	} {
		m := gguf.Assemble(llama3(c.pre, c.eos), nil)
		got, _, err := ollama.Translate(m)
		if err != nil || (got != m) != c.touched {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		md := got.Metadata()
		pre, _ := md.Str("tokenizer.ggml.pre")
		eos, _ := md.Int("tokenizer.ggml.eos_token_id")
		wantPre := "llama-bpe"
		if c.pre == "smaug-bpe" {
			wantPre = "smaug-bpe"
		}
		if pre != wantPre || eos != 4 {
			t.Errorf("%+v: pre %q, eos %d", c, pre, eos)
		}
		if eot, err := md.Int("tokenizer.ggml.eot_token_id"); c.touched && (eot != 4 || err != nil) {
			t.Errorf("%+v: eot %d %v", c, eot, err)
		}
	}
	md := llama3("default", 1)
	md.Set("tokenizer.ggml.tokens", []string{"a", "b"})
	if m := gguf.Assemble(md, nil); func() bool { got, _, err := ollama.Translate(m); return err != nil || got != m }() {
		t.Error("a vocabulary without Llama 3's tokens was changed")
	}
}

// Tokens for images have no row in the embedding of Gemma 3.
func TestGemma3LosesTokensWithoutRow(t *testing.T) {
	m := fixtures.TinyFamily(1, "gemma3")
	md := m.Metadata().Clone()
	var tokens []string
	for i := range 70 {
		tokens = append(tokens, fmt.Sprint("t", i))
	}
	md.Set("tokenizer.ggml.tokens", tokens)
	md.Set("tokenizer.ggml.scores", make([]float32, 70))
	md.Set("tokenizer.ggml.token_type", make([]int32, 70))
	md.Delete("gemma3.attention.layer_norm_rms_epsilon")
	got, _, err := ollama.Translate(gguf.Assemble(md, m.Tensors()))
	if err != nil {
		t.Fatal(err)
	}
	kept, _ := got.Metadata().Strings("tokenizer.ggml.tokens")
	scores, _ := got.Metadata().Floats("tokenizer.ggml.scores")
	types, _ := got.Metadata().Ints("tokenizer.ggml.token_type")
	if len(kept) != 64 || len(scores) != 64 || len(types) != 64 {
		t.Error(len(kept), len(scores), len(types))
	}
}

// Hostile keys and tensors give errors.
func FuzzTranslate(f *testing.F) {
	for name := range forms {
		f.Add(forms[name].arch, "attention.key_length", int64(-1), "blk.0.attn_out.weight", "blk.01.attn_output.weight")
	}
	f.Add("gemma3", "context_length", int64(1)<<62, "token_embd.weight", "v.")
	f.Fuzz(func(t *testing.T, arch, key string, n int64, first, second string) {
		md := new(gguf.Metadata)
		md.Set("general.architecture", arch)
		md.Set(arch+"."+key, n)
		md.Set("tokenizer.ggml.tokens", []string{first, second, "<|eot_id|>", "<|start_header_id|>"})
		md.Set("tokenizer.ggml.eos_token_ids", []int64{n, n, n})
		tensors := []*gguf.Tensor{gguf.Float32Tensor(first, []int{2, 2}, make([]float32, 4))}
		if second != first {
			tensors = append(tensors, gguf.Float32Tensor(second, []int{4}, make([]float32, 4)))
		}
		if _, _, err := ollama.Translate(gguf.Assemble(md, tensors)); err != nil && !errors.Is(err, ollama.ErrUnsupported) && !errors.Is(err, ollama.ErrInvalid) {
			t.Error(err)
		}
	})
}
