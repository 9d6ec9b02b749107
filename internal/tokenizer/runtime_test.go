package tokenizer

import (
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"qtool/internal/sharedtest"
)

// TestEveryPreTokenizerGivesTheIdsOfLlamaCpp encodes one text by the vocabulary of
// Llama 3 with each set of rules. The checksums are of the ids that llama.cpp itself
// (August 2026) gives where the same vocabulary names the pre-tokenizer.
func TestEveryPreTokenizerGivesTheIdsOfLlamaCpp(t *testing.T) {
	own, err := os.ReadFile("testdata/pretokenizers.txt")
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile("testdata/pretokenizers.sha256")
	if err != nil {
		t.Fatal(err)
	}
	v := *vocabNamed(t, "llama-bpe")
	text := strings.TrimSuffix(string(own)+string(sharedtest.Read(t, "data/vocabs/ggml-vocab-llama-bpe.gguf.inp")), "\n")
	var proved []string
	for line := range strings.Lines(string(sums)) {
		name, want, _ := strings.Cut(strings.TrimSpace(line), " ")
		v.Pre = name
		ids := fmt.Sprint(mustNew(t, &v).Encode(text, EncodeOptions{ParseSpecial: true}))
		if got := fmt.Sprintf("%d %x", strings.Count(ids, " ")+1, sha256.Sum256([]byte(strings.Trim(ids, "[]")))); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		proved = append(proved, name)
	}
	for _, row := range preTable {
		known := func(name string) bool { return slices.Contains(proved, name) }
		if !slices.ContainsFunc(row.names, known) && row.names[0] != "longcat-flash" { // which llama.cpp does not have
			t.Errorf("%s is not proved", row.names[0])
		}
	}
}
