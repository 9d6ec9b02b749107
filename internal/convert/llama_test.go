package convert

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"qtool/gguf"
	"qtool/internal/sharedtest"
	"qtool/safetensors"
)

func TestEveryTensorOfADenseModelHoldsItsSource(t *testing.T) {
	for _, dtype := range []safetensors.DType{safetensors.F32, safetensors.F16, safetensors.BF16, safetensors.F64} {
		f := denseFolder(dtype, true)
		m := f.open(t, 1000)
		if n := len(f.tensors); len(m.Tensors()) != n {
			t.Errorf("%v: %d tensors of %d sources", dtype, len(m.Tensors()), n)
		}
		same := func(name, source string) {
			t.Helper()
			want := f.values(t, source)
			got := values(t, m, name)
			x, _ := m.Tensor(name)
			switch {
			case strings.Contains(name, "attn_q."):
				want = interleaved(want, testHeads, len(want)/(testHeads*testHead))
			case strings.Contains(name, "attn_k."):
				want = interleaved(want, testKV, len(want)/(testKV*testHead))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%v: %s differs from %s", dtype, name, source)
			}
			wantType := map[safetensors.DType]gguf.Type{safetensors.F16: gguf.F16, safetensors.BF16: gguf.BF16}[dtype]
			if len(x.Shape) == 1 {
				wantType = gguf.F32
			}
			if x.Type != wantType {
				t.Errorf("%v: %s became %v", dtype, name, x.Type)
			}
		}
		same("token_embd.weight", "model.embed_tokens.weight")
		same("output_norm.weight", "model.norm.weight")
		same("output.weight", "lm_head.weight")
		for i := range testBlocks {
			for name, source := range denseNames {
				name, source = fmt.Sprintf("blk.%d.%s", i, name), fmt.Sprintf("model.layers.%d.%s", i, source)
				same(name+".weight", source+".weight")
				if !strings.Contains(name, "_norm") {
					same(name+".bias", source+".bias")
				}
			}
		}
	}
}

func TestExpertsAreStackedInOrderAndTheRouterIsF32(t *testing.T) {
	f := mixtralFolder(safetensors.BF16)
	m := f.open(t, 0)
	for i := range testBlocks {
		for name, w := range map[string]string{"gate": "w1", "down": "w2", "up": "w3"} {
			var want []float32
			for e := range testExperts {
				want = append(want, f.values(t, fmt.Sprintf("model.layers.%d.block_sparse_moe.experts.%d.%s.weight", i, e, w))...)
			}
			name = fmt.Sprintf("blk.%d.ffn_%s_exps.weight", i, name)
			if !slices.Equal(values(t, m, name), want) {
				t.Errorf("%s is not the experts one after the other", name)
			}
		}
		down, _ := m.Tensor(fmt.Sprintf("blk.%d.ffn_down_exps.weight", i))
		if !slices.Equal(down.Shape, []int{testFF, testEmbed, testExperts}) || down.Type != gguf.BF16 {
			t.Errorf("%s: %v %v", down.Name, down.Type, down.Shape)
		}
		router, _ := m.Tensor(fmt.Sprintf("blk.%d.ffn_gate_inp.weight", i))
		if router.Type != gguf.F32 || !slices.Equal(router.Shape, []int{testEmbed, testExperts}) {
			t.Errorf("%s: %v %v", router.Name, router.Type, router.Shape)
		}
	}
	md := m.Metadata()
	for key, want := range map[string]int{"llama.expert_count": testExperts, "llama.expert_used_count": 2, "general.file_type": 32} {
		if got, err := md.Int(key); err != nil || got != want {
			t.Errorf("%s: %d, %v", key, got, err)
		}
	}
	if label, _ := md.Str("general.size_label"); !strings.HasPrefix(label, "3x") {
		t.Errorf("size label %q", label)
	}
}

// TestReadAtAnywhereEqualsTheWhole also proves that WriteTo gives the same.
func TestReadAtAnywhereEqualsTheWhole(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, f := range []*folder{denseFolder(safetensors.BF16, true), mixtralFolder(safetensors.F64), denseFolder(safetensors.F32, false)} {
		m := f.open(t, 0)
		for _, x := range m.Tensors() {
			whole, err := x.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			if int64(len(whole)) != x.Size() {
				t.Fatalf("%s: %d bytes, size %d", x.Name, len(whole), x.Size())
			}
			for range 40 {
				off := rng.IntN(len(whole))
				p := make([]byte, rng.IntN(len(whole)+8))
				n, err := x.Data.ReadAt(p, int64(off))
				want := min(len(p), len(whole)-off)
				if n != want || !bytes.Equal(p[:n], whole[off:off+n]) || (err == io.EOF) != (n < len(p)) {
					t.Fatalf("%s: ReadAt(%d bytes, %d) = %d, %v", x.Name, len(p), off, n, err)
				}
			}
			if _, err := x.Data.ReadAt(make([]byte, 1), x.Size()); err != io.EOF {
				t.Errorf("%s: reading past the end: %v", x.Name, err)
			}
		}
	}
}

func TestAConversionLargerThanItsBuffersIsWhole(t *testing.T) {
	const n = 3*conversionElements + 5
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(i % 128)
	}
	src := gguf.Memory(encode(safetensors.BF16, values))
	g := newData(&recipe{shape: []int{n}}, []sourceTensor{{Tensor: &safetensors.Tensor{DType: safetensors.BF16, Shape: []int{n}, Data: src}}}, gguf.F32)
	got := make([]byte, 4*n)
	if _, err := g.ReadAt(got, 0); err != nil || !bytes.Equal(got, encode(safetensors.F32, values)) {
		t.Errorf("the conversion differs (%v)", err)
	}
	if _, err := g.ReadAt(got[:4*n-3], 3); err != nil || !bytes.Equal(got[:4*n-3], encode(safetensors.F32, values)[3:]) {
		t.Errorf("the conversion from the middle of an element differs (%v)", err)
	}
}

func TestTiedWeightsGiveNoOutputTensor(t *testing.T) {
	tied := map[string]any{"tie_word_embeddings": true}
	for name, without := range map[string]string{
		"one tensor":             "lm_head.weight",
		"stored as the head":     "model.embed_tokens.weight",
		"stored twice":           "",
		"tied though not stated": "lm_head.weight",
	} {
		f := denseFolder(safetensors.F32, false)
		f.remove(without)
		if name == "tied though not stated" {
			delete(f.config, "tie_word_embeddings")
		} else {
			withConfig(f, tied)
		}
		m := f.open(t, 0)
		if _, ok := m.Tensor("output.weight"); ok {
			t.Errorf("%s: there is an output.weight", name)
		}
		if _, ok := m.Tensor("token_embd.weight"); !ok {
			t.Errorf("%s: there is no token_embd.weight", name)
		}
	}
}

func TestMetadataIsWhatTheConverterOfLlamaCppWrites(t *testing.T) {
	m := denseFolder(safetensors.F16, false).open(t, 0)
	want := []gguf.KV{
		{Key: "general.architecture", Value: "llama"},
		{Key: "general.type", Value: "model"},
		{Key: "general.sampling.top_k", Value: int32(20)},
		{Key: "general.sampling.temp", Value: float32(0.6)},
		{Key: "general.name", Value: "Tiny Llama v1.1"},
		{Key: "general.size_label", Value: "3.7K"},
		{Key: "llama.block_count", Value: uint32(2)},
		{Key: "llama.context_length", Value: uint32(64)},
		{Key: "llama.embedding_length", Value: uint32(16)},
		{Key: "llama.feed_forward_length", Value: uint32(10)},
		{Key: "llama.attention.head_count", Value: uint32(4)},
		{Key: "llama.attention.head_count_kv", Value: uint32(2)},
		{Key: "llama.rope.freq_base", Value: float32(10000)},
		{Key: "llama.attention.layer_norm_rms_epsilon", Value: float32(1e-5)},
		{Key: "llama.attention.key_length", Value: uint32(6)},
		{Key: "llama.attention.value_length", Value: uint32(6)},
		{Key: "general.file_type", Value: uint32(1)},
		{Key: "llama.vocab_size", Value: uint32(12)},
		{Key: "llama.rope.dimension_count", Value: uint32(6)},
		{Key: "general.quantization_version", Value: uint32(2)},
	}
	got := m.Metadata().All()
	for i, kv := range want {
		if i >= len(got) || got[i].Key != kv.Key || got[i].Value != kv.Value {
			t.Fatalf("entry %d: got %v, want %v", i, got[min(i, len(got)-1)], kv)
		}
	}
	for _, kv := range got[len(want):] {
		if !strings.HasPrefix(kv.Key, "tokenizer.") {
			t.Errorf("unexpected key %s", kv.Key)
		}
	}
}

func TestTheTokenListIsPaddedToTheEmbedding(t *testing.T) {
	md := denseFolder(safetensors.F32, false).open(t, 0).Metadata()
	tokens, err := md.Strings("tokenizer.ggml.tokens")
	if err != nil || len(tokens) != testVocab || tokens[11] != "[PAD11]" {
		t.Errorf("%q, %v", tokens, err)
	}
	types, err := md.Ints("tokenizer.ggml.token_type")
	if err != nil || len(types) != testVocab || types[11] != 5 {
		t.Errorf("types %v, %v", types, err)
	}
	if scores, err := md.Floats("tokenizer.ggml.scores"); err == nil && len(scores) != testVocab {
		t.Errorf("scores %v", scores)
	}
}

func TestTheModelSurvivesAGGUFFile(t *testing.T) {
	m := mixtralFolder(safetensors.F16).open(t, 0)
	var b bytes.Buffer
	if err := gguf.Write(context.Background(), &b, m); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Parse(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range m.Tensors() {
		y, ok := f.Tensor(x.Name)
		if !ok || y.Type != x.Type || !slices.Equal(y.Shape, x.Shape) {
			t.Fatalf("%s became %+v", x.Name, y)
		}
		xb, _ := x.Bytes()
		yb, _ := y.Bytes()
		if !bytes.Equal(xb, yb) {
			t.Errorf("%s differs", x.Name)
		}
	}
}

func TestTinystoriesConverts(t *testing.T) {
	m, err := Open(sharedtest.Path(t, "data/tinystories-656k"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	shapes := map[string][]int{"token_embd.weight": {128, 2048}, "output_norm.weight": {128}}
	for i := range 2 {
		for name, shape := range map[string][]int{
			"attn_norm": {128}, "ffn_norm": {128}, "attn_q": {128, 128}, "attn_k": {128, 64}, "attn_v": {128, 64},
			"attn_output": {128, 128}, "ffn_gate": {128, 384}, "ffn_up": {128, 384}, "ffn_down": {384, 128},
		} {
			shapes[fmt.Sprintf("blk.%d.%s.weight", i, name)] = shape
		}
	}
	if len(m.Tensors()) != len(shapes) {
		t.Errorf("%d tensors, want %d", len(m.Tensors()), len(shapes))
	}
	for _, x := range m.Tensors() {
		if !slices.Equal(x.Shape, shapes[x.Name]) || x.Type != gguf.F32 {
			t.Errorf("%s: %v %v", x.Name, x.Type, x.Shape)
		}
	}
	source, _ := m.folder.Tensor("model.layers.1.self_attn.k_proj.weight")
	b, _ := source.Bytes()
	if !slices.Equal(values(t, m, "blk.1.attn_k.weight"), interleaved(decode(t, "F32", b), 4, 128)) {
		t.Error("the rows of attn_k are not interleaved within each of its 4 heads")
	}
	if name, _ := m.Metadata().Str("general.name"); name != "Tinystories 656k" {
		t.Errorf("name %q", name)
	}
	if tokens, err := m.Metadata().Strings("tokenizer.ggml.tokens"); err != nil || len(tokens) != 2048 {
		t.Errorf("%d tokens, %v", len(tokens), err)
	}
}

func TestLinearAndYarnScalingBecomeKeys(t *testing.T) {
	for _, field := range []string{"rope_scaling", "rope_parameters"} {
		for _, kind := range []string{"type", "rope_type"} {
			f := withConfig(denseFolder(safetensors.F32, false), map[string]any{field: map[string]any{kind: "linear", "factor": 2.0}})
			md := f.open(t, 0).Metadata()
			if s, err := md.Str("llama.rope.scaling.type"); s != "linear" {
				t.Errorf("%s %s: type %q, %v", field, kind, s, err)
			}
			if x, err := md.Float("llama.rope.scaling.factor"); x != 2 {
				t.Errorf("%s %s: factor %v, %v", field, kind, x, err)
			}
		}
	}
	f := withConfig(denseFolder(safetensors.F32, false), map[string]any{"rope_scaling": map[string]any{
		"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "beta_fast": 30.0, "attention_factor": 1.5,
	}})
	md := f.open(t, 0).Metadata()
	if n, err := md.Int("llama.rope.scaling.original_context_length"); n != 16 {
		t.Errorf("original context %d, %v", n, err)
	}
	for key, want := range map[string]float64{
		"factor": 4, "yarn_beta_fast": 30, "yarn_attn_factor": 1.5, "attn_factor": 1.5 / (1 + 0.1*math.Log(4)),
	} {
		if x, err := md.Float("llama.rope.scaling." + key); x != float64(float32(want)) {
			t.Errorf("%s = %v, %v", key, x, err)
		}
	}
	if md.Has("llama.rope.scaling.yarn_beta_slow") {
		t.Error("a value was invented for yarn_beta_slow")
	}
}

func TestTheRopeBaseIsFoundInEitherPlace(t *testing.T) {
	f := withConfig(denseFolder(safetensors.F32, false), map[string]any{"rope_parameters": map[string]any{"rope_type": "default", "rope_theta": 5e5}})
	md := f.open(t, 0).Metadata()
	if x, err := md.Float("llama.rope.freq_base"); x != 5e5 || md.Has("llama.rope.scaling.type") {
		t.Errorf("base %v, %v", x, err)
	}
}

func TestLlama3ScalingBecomesFactors(t *testing.T) {
	f := withConfig(denseFolder(safetensors.F32, false), map[string]any{"rope_scaling": map[string]any{
		"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 500,
	}})
	m := f.open(t, 0)
	got := values(t, m, "rope_freqs.weight")
	// Wavelengths 2π·10000^(j/3) = 6.3, 135, 2916; the smooth part is from 125 to 500.
	smooth := (500/(2*math.Pi*math.Pow(10000, 1./3)) - 1) / 3
	want := []float64{1, 1 / ((1-smooth)/8 + smooth), 8}
	if len(got) != 3 || got[0] != 1 || math.Abs(float64(got[1])-want[1]) > 1e-5 || got[2] != 8 {
		t.Errorf("got %v, want %v", got, want)
	}
	if m.Metadata().Has("llama.rope.scaling.type") {
		t.Error("llama3 scaling has no key, but one was written")
	}
}
