package ollama

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"qtool/gguf"
	"qtool/internal/arch"
	"qtool/internal/printable"
)

// Keys of tokenizers.
const (
	keyPre    = "tokenizer.ggml.pre"
	keyTokens = "tokenizer.ggml.tokens"
	keyScores = "tokenizer.ggml.scores"
	keyTypes  = "tokenizer.ggml.token_type"
	keyEOS    = "tokenizer.ggml.eos_token_id"
	keyEOSs   = "tokenizer.ggml.eos_token_ids"
	keyEOT    = "tokenizer.ggml.eot_token_id"
	keyEOM    = "tokenizer.ggml.eom_token_id"
)

// translateGPTOSS renames gptoss, Ollama's first form of gpt-oss. Fused weights, which
// its earliest blobs had, are refused: nothing says in which order their rows are.
func translateGPTOSS(t *translation) error {
	for _, tensor := range t.m.Tensors() {
		if short := arch.ShortName(tensor.Name); short == "attn_qkv" || short == "ffn_gate_up_exps" {
			return fmt.Errorf("the tensor %s is fused, as Ollama's first blobs of gpt-oss were; get the present one with: ollama pull gpt-oss", printable.Quote(tensor.Name))
		}
	}
	t.rename("gpt-oss")
	t.tensor = func(name string) string {
		layer, rest, ok := arch.SplitLayer(name)
		if !ok {
			return name
		}
		switch short, kind, _ := strings.Cut(rest, "."); {
		case rest == "attn_sinks":
			rest = "attn_sinks.weight"
		case short == "attn_out":
			rest = "attn_output." + kind
		case short == "ffn_norm":
			rest = "post_attention_norm." + kind
		}
		return arch.InLayer(layer, rest)
	}
	if gate, ok := t.m.Tensor(arch.InLayer(0, "ffn_gate_exps.weight")); ok && len(gate.Shape) > 1 && gate.Shape[1] <= math.MaxInt32 {
		t.suggest(t.key(arch.KeyExpertFeedForwardLength), uint32(gate.Shape[1]))
	}
	t.suggest(t.key(arch.KeyRopeScalingType), "yarn")
	t.set(keyPre, "gpt-4o") // Ollama wrote "default"
	return nil
}

// Context from which on Gemma 3 scales positions, as all sizes but 1B do.
const gemma3Long = 131072

// translateGemma3 names the bases of rotation as llama.cpp does and adds the keys that
// Ollama took for granted. Tokens that only images use have no row in the embedding.
func translateGemma3(t *translation) error {
	if _, ok := t.m.Tensor("dense.0.weight"); ok {
		return fmt.Errorf("it is EmbeddingGemma, which computes embeddings and generates no text")
	}
	t.move("rope.global.freq_base", arch.KeyRopeFreqBase)
	t.move("rope.local.freq_base", arch.KeyRopeFreqBaseSWA)
	if !t.changed && t.md.Has(t.key(arch.KeyAttentionLayerNormRMSEpsilon)) {
		return nil // llama.cpp's own
	}
	t.suggest(t.key(arch.KeyAttentionLayerNormRMSEpsilon), float32(1e-6))
	t.suggest(t.key(arch.KeyRopeFreqBase), float32(1e6))
	t.suggest(t.key(arch.KeyRopeFreqBaseSWA), float32(1e4))
	if n, err := t.md.Int(t.key(arch.KeyContextLength)); err == nil && n >= gemma3Long && !t.md.Has(t.key(arch.KeyRopeScalingType)) {
		t.suggest(t.key(arch.KeyRopeScalingType), "linear")
		t.suggest(t.key(arch.KeyRopeScalingFactor), float32(8))
	}
	if embedding, ok := t.m.Tensor(arch.TokenEmbedding); ok && len(embedding.Shape) > 1 {
		truncate[string](t, keyTokens, embedding.Shape[1])
		truncate[float32](t, keyScores, embedding.Shape[1])
		truncate[int32](t, keyTypes, embedding.Shape[1])
	}
	return nil
}

// truncate makes an array have n elements at most.
func truncate[T any](t *translation, key string, n int) {
	v, _ := t.md.Get(key)
	if list, ok := v.([]T); ok && len(list) > n {
		t.set(key, list[:n:n])
	}
}

// translateLlama3 mends the tokenizers of Llama 3's instruction models, whose blobs name
// no pre-tokenizer, or the end of a text where they end an answer with another token.
func translateLlama3(t *translation) error {
	tokens, err := t.md.Strings(keyTokens)
	if err != nil {
		return nil
	}
	eot := slices.Index(tokens, "<|eot_id|>")
	if eot < 0 || !slices.Contains(tokens, "<|start_header_id|>") {
		return nil
	}
	end := slices.Index(tokens, "<|end_of_text|>")
	// ends reports whether a key names the end of the text, or nothing.
	ends := func(key string) (named, missing bool) {
		id, err := t.md.Int(key)
		return err == nil && end >= 0 && id == end, !t.md.Has(key)
	}
	pre, err := gguf.Or(t.md.Str(keyPre))("")
	wrongEnd, _ := ends(keyEOS)
	noPre := err == nil && (pre == "" || pre == "default")
	if !noPre && !wrongEnd {
		return nil
	}
	if noPre {
		t.set(keyPre, "llama-bpe")
	}
	for _, key := range []string{keyEOS, keyEOT} {
		if wrong, missing := ends(key); wrong || missing {
			t.set(key, uint32(eot))
		}
	}
	t.set(keyEOSs, []int32{int32(eot)})
	return nil
}

// translateGLM4MoELite shows GLM-4.7-Flash as deepseek2. Ollama's sizes of keys and values
// are those of one head; there they are those of the latent vectors that all heads share.
func translateGLM4MoELite(t *translation) error {
	t.rename("deepseek2")
	var keyLength, valueLength, latent, rotated int
	for _, size := range []struct {
		key string
		n   *int
	}{
		{arch.KeyAttentionKeyLength, &keyLength}, {arch.KeyAttentionValueLength, &valueLength},
		{arch.KeyAttentionKVLoraRank, &latent}, {arch.KeyRopeDimensionCount, &rotated},
	} {
		var err error
		if *size.n, err = t.md.Int(t.key(size.key)); err != nil {
			return fmt.Errorf("the sizes of its attention are not known: %w", err)
		}
	}
	for _, size := range []struct {
		key string
		n   int
	}{
		{arch.KeyAttentionHeadCountKV, 1},
		{arch.KeyAttentionKeyLength, latent + rotated},
		{arch.KeyAttentionValueLength, latent},
		{arch.KeyAttentionKeyLengthMLA, keyLength},
		{arch.KeyAttentionValueLengthMLA, valueLength},
	} {
		if size.n < 1 || size.n > math.MaxInt32 {
			return fmt.Errorf("%s would be %d", t.key(size.key), size.n)
		}
		t.set(t.key(size.key), uint32(size.n))
	}
	t.suggest(t.key(arch.KeyExpertGroupCount), uint32(1))
	t.suggest(t.key(arch.KeyExpertGroupUsedCount), uint32(1))
	t.set(keyPre, "glm4")
	if ids, err := t.md.Ints(keyEOSs); err == nil {
		for i, key := range []string{keyEOT, keyEOM} { // after the first, which is eos_token_id
			if i+1 < len(ids) && ids[i+1] >= 0 && ids[i+1] <= math.MaxInt32 {
				t.suggest(key, uint32(ids[i+1]))
			}
		}
	}
	return nil
}
