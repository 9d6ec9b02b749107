package tokenizer

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"qtool/gguf"
	"qtool/internal/sharedtest"
)

// goldenVocabs are the vocabularies of the reference data that have both a
// GGUF file and llama.cpp's ids.
var goldenVocabs = []string{"deepseek-coder", "deepseek-llm", "falcon", "gpt-2", "llama-bpe", "llama-spm", "mpt",
	"phi-3", "qwen2", "refact", "starcoder"}

func readMetadata(t testing.TB, name string) *gguf.Metadata {
	t.Helper()
	f, err := gguf.Open(sharedtest.Path(t, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f.Metadata()
}

func vocabNamed(t testing.TB, name string) *Vocab {
	t.Helper()
	v, err := VocabFromMetadata(readMetadata(t, "data/vocabs/ggml-vocab-"+name+".gguf"))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func mustNew(t testing.TB, v *Vocab) *Tokenizer {
	t.Helper()
	tok, err := New(v)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

type goldenCase struct {
	text string
	ids  []int32
}

// goldenCases are llama.cpp's own texts and ids: no BOS, special tokens not parsed.
func goldenCases(t testing.TB, name string) []goldenCase {
	t.Helper()
	base := "data/vocabs/ggml-vocab-" + name + ".gguf"
	const end = "\n__ggml_vocab_test__\n"
	texts := strings.Split(strings.TrimSuffix(string(sharedtest.Read(t, base+".inp")), end), end)
	lines := strings.Split(strings.TrimSuffix(string(sharedtest.Read(t, base+".out")), "\n"), "\n")
	if len(texts) != len(lines) {
		t.Fatalf("%s: %d texts, %d lines of ids", name, len(texts), len(lines))
	}
	var cases []goldenCase
	for i, text := range texts {
		var ids []int32
		for _, field := range strings.Fields(lines[i]) {
			id, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, int32(id))
		}
		cases = append(cases, goldenCase{text, ids})
	}
	return cases
}

func checkGolden(t *testing.T, tok *Tokenizer, name string) {
	t.Helper()
	for _, c := range goldenCases(t, name) {
		if got := tok.Encode(c.text, EncodeOptions{}); !slices.Equal(got, c.ids) {
			t.Errorf("%s: %q\n got %v\nwant %v", name, c.text, got, c.ids)
		}
	}
}

func TestIdsEqualLlamaCpp(t *testing.T) {
	for _, name := range goldenVocabs {
		t.Run(name, func(t *testing.T) { checkGolden(t, mustNew(t, vocabNamed(t, name)), name) })
	}
}

// TestGoldenVocabsAreComplete keeps the list above honest.
func TestGoldenVocabsAreComplete(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(sharedtest.Path(t, "data/vocabs"), "*.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(f), "ggml-vocab-"), ".gguf")
		if !slices.Contains(goldenVocabs, name) {
			t.Errorf("%s is not tested", f)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	text := string(sharedtest.Read(b, "data/text/wiki.test.raw"))
	for _, name := range []string{"llama-spm", "llama-bpe", "qwen2", "gpt-2", "deepseek-llm", "phi-3"} {
		b.Run(name, func(b *testing.B) {
			tok := mustNew(b, vocabNamed(b, name))
			b.SetBytes(int64(len(text)))
			n := 0
			for b.Loop() {
				n = len(tok.Encode(text, EncodeOptions{}))
			}
			b.ReportMetric(float64(n), "tokens")
		})
	}
}

// BenchmarkEncodeAfresh is Encode without pieces remembered from earlier texts.
func BenchmarkEncodeAfresh(b *testing.B) {
	text := string(sharedtest.Read(b, "data/text/wiki.test.raw"))
	for _, name := range []string{"llama-spm", "llama-bpe"} {
		b.Run(name, func(b *testing.B) {
			tok := mustNew(b, vocabNamed(b, name))
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				tok.sessions = sync.Pool{New: func() any { return newSession() }}
				tok.Encode(text, EncodeOptions{})
			}
		})
	}
}

func BenchmarkNew(b *testing.B) {
	for _, name := range []string{"llama-spm", "llama-bpe"} {
		v := vocabNamed(b, name)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				mustNew(b, v)
			}
		})
	}
}
