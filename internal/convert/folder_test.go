package convert

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"qtool/gguf"
	"qtool/internal/half"
	"qtool/safetensors"
)

// folder is a Hugging Face folder that a test builds and bends.
type folder struct {
	config  map[string]any
	tensors []*safetensors.Tensor
	dtype   safetensors.DType
	rng     *rand.Rand
}

const (
	testEmbed, testHeads, testKV, testHead = 16, 4, 2, 6
	testFF, testVocab, testBlocks          = 10, 12, 2
)

// newFolder is a Llama without tensors, whose head size is not embed/heads.
func newFolder(dtype safetensors.DType) *folder {
	return &folder{
		dtype: dtype,
		rng:   rand.New(rand.NewPCG(7, 7)),
		config: map[string]any{
			"architectures": []string{"LlamaForCausalLM"}, "hidden_size": testEmbed, "num_attention_heads": testHeads,
			"num_key_value_heads": testKV, "head_dim": testHead, "intermediate_size": testFF, "vocab_size": testVocab,
			"num_hidden_layers": testBlocks, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
			"rope_theta": 10000.0, "tie_word_embeddings": false, "hidden_act": "silu",
		},
	}
}

// add appends a tensor of random values, shape in Hugging Face order.
func (f *folder) add(name string, shape ...int) {
	n := 1
	for _, d := range shape {
		n *= d
	}
	values := make([]float32, n)
	for i := range values {
		values[i] = half.FromBFloat16(half.ToBFloat16(f.rng.Float32()*2 - 1)) // exact in every type
	}
	f.tensors = append(f.tensors, &safetensors.Tensor{Name: name, DType: f.dtype, Shape: shape, Data: gguf.Memory(encode(f.dtype, values))})
}

func (f *folder) remove(name string) {
	f.tensors = slices.DeleteFunc(f.tensors, func(t *safetensors.Tensor) bool { return t.Name == name })
}

func encode(d safetensors.DType, values []float32) []byte {
	var b []byte
	for _, v := range values {
		switch d {
		case safetensors.F16:
			b = binary.LittleEndian.AppendUint16(b, half.ToFloat16(v))
		case safetensors.BF16:
			b = binary.LittleEndian.AppendUint16(b, half.ToBFloat16(v))
		case safetensors.F64:
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(float64(v)))
		case safetensors.I8:
			b = append(b, 0)
		default:
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
	}
	return b
}

// attention adds everything but the feed-forward part.
func (f *folder) attention(bias bool) {
	f.add("model.embed_tokens.weight", testVocab, testEmbed)
	f.add("model.norm.weight", testEmbed)
	f.add("lm_head.weight", testVocab, testEmbed)
	for i := range testBlocks {
		p := "model.layers." + string(rune('0'+i)) + "."
		f.add(p+"input_layernorm.weight", testEmbed)
		f.add(p+"post_attention_layernorm.weight", testEmbed)
		for _, l := range []struct {
			name    string
			out, in int
		}{
			{"q", testHeads * testHead, testEmbed}, {"k", testKV * testHead, testEmbed},
			{"v", testKV * testHead, testEmbed}, {"o", testEmbed, testHeads * testHead},
		} {
			f.add(p+"self_attn."+l.name+"_proj.weight", l.out, l.in)
			if bias {
				f.add(p+"self_attn."+l.name+"_proj.bias", l.out)
			}
		}
	}
}

func denseFolder(dtype safetensors.DType, bias bool) *folder {
	f := newFolder(dtype)
	f.config["attention_bias"], f.config["mlp_bias"] = bias, bias
	f.attention(bias)
	for i := range testBlocks {
		p := "model.layers." + string(rune('0'+i)) + ".mlp."
		f.add(p+"gate_proj.weight", testFF, testEmbed)
		f.add(p+"up_proj.weight", testFF, testEmbed)
		f.add(p+"down_proj.weight", testEmbed, testFF)
		if bias {
			f.add(p+"gate_proj.bias", testFF)
			f.add(p+"up_proj.bias", testFF)
			f.add(p+"down_proj.bias", testEmbed)
		}
	}
	return f
}

const testExperts = 3

func mixtralFolder(dtype safetensors.DType) *folder {
	f := newFolder(dtype)
	f.config["architectures"] = []string{"MixtralForCausalLM"}
	f.config["num_local_experts"], f.config["num_experts_per_tok"] = testExperts, 2
	f.attention(false)
	for i := range testBlocks {
		p := "model.layers." + string(rune('0'+i)) + ".block_sparse_moe."
		f.add(p+"gate.weight", testExperts, testEmbed)
		for e := range testExperts {
			x := p + "experts." + string(rune('0'+e)) + "."
			f.add(x+"w1.weight", testFF, testEmbed)
			f.add(x+"w2.weight", testEmbed, testFF)
			f.add(x+"w3.weight", testFF, testEmbed)
		}
	}
	return f
}

// tokenizerJSON has ten tokens, two fewer than the embedding has rows.
const tokenizerJSON = `{"version":"1.0","added_tokens":[
{"id":0,"content":"<unk>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true},
{"id":1,"content":"<s>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true},
{"id":2,"content":"</s>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],
"normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]},
"pre_tokenizer":null,"post_processor":null,
"decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]},
"model":{"type":"BPE","dropout":null,"unk_token":"<unk>","continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":true,"byte_fallback":true,"ignore_merges":false,
"vocab":{"<unk>":0,"<s>":1,"</s>":2,"▁":3,"a":4,"b":5,"c":6,"▁a":7,"bc":8,"▁abc":9},"merges":["▁ a","b c","▁a bc"]}}`

const tokenizerConfig = `{"tokenizer_class":"LlamaTokenizer","bos_token":"<s>","eos_token":"</s>","unk_token":"<unk>","add_bos_token":true,"add_eos_token":false}`

// write gives the folder's path; shards are used if shardBytes is not 0.
func (f *folder) write(t *testing.T, shardBytes int64) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tiny-llama-v1.1")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(f.config)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"config.json": string(config), "tokenizer.json": tokenizerJSON, "tokenizer_config.json": tokenizerConfig,
		"generation_config.json": `{"bos_token_id":1,"eos_token_id":2,"temperature":0.6,"top_k":20}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := safetensors.WriteFolder(context.Background(), dir, f.tensors, nil, shardBytes); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (f *folder) open(t *testing.T, shardBytes int64) *Model {
	t.Helper()
	m, err := Open(f.write(t, shardBytes))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// values decodes a tensor of the source to float32.
func (f *folder) values(t *testing.T, name string) []float32 {
	t.Helper()
	for _, x := range f.tensors {
		if x.Name == name {
			b, err := x.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			return decode(t, x.DType.String(), b)
		}
	}
	t.Fatalf("no source tensor %s", name)
	return nil
}

func values(t *testing.T, m gguf.Model, name string) []float32 {
	t.Helper()
	x, ok := m.Tensor(name)
	if !ok {
		t.Fatalf("no tensor %s", name)
	}
	b, err := x.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, x.Type.String(), b)
}

func decode(t *testing.T, kind string, b []byte) []float32 {
	t.Helper()
	var out []float32
	switch kind {
	case "F32":
		for ; len(b) > 0; b = b[4:] {
			out = append(out, math.Float32frombits(binary.LittleEndian.Uint32(b)))
		}
	case "F16":
		for ; len(b) > 0; b = b[2:] {
			out = append(out, half.FromFloat16(binary.LittleEndian.Uint16(b)))
		}
	case "BF16":
		for ; len(b) > 0; b = b[2:] {
			out = append(out, half.FromBFloat16(binary.LittleEndian.Uint16(b)))
		}
	case "F64":
		for ; len(b) > 0; b = b[8:] {
			out = append(out, float32(math.Float64frombits(binary.LittleEndian.Uint64(b))))
		}
	default:
		t.Fatalf("cannot decode %s", kind)
	}
	return out
}

// interleaved is the reordering written as the axes that are swapped:
// [heads, 2, d/2, width] becomes [heads, d/2, 2, width].
func interleaved(src []float32, heads, width int) []float32 {
	d := len(src) / heads / width
	out := make([]float32, len(src))
	for r := range heads {
		for h := range 2 {
			for i := range d / 2 {
				copy(out[((r*d)+2*i+h)*width:][:width], src[((r*d)+h*(d/2)+i)*width:])
			}
		}
	}
	return out
}

// denseNames maps each GGUF tensor of a block to its source.
var denseNames = map[string]string{
	"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
	"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
	"ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}

func withConfig(f *folder, changes map[string]any) *folder {
	maps.Copy(f.config, changes)
	return f
}
