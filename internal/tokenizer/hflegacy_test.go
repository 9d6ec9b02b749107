package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// legacyFolder is vocab.json and merges.txt of v, read by a class of tokenizers.
func legacyFolder(t *testing.T, v *Vocab, class string) fstest.MapFS {
	t.Helper()
	vocab := map[string]int{}
	for i, text := range v.Tokens {
		vocab[text] = i
	}
	data, err := json.Marshal(vocab)
	if err != nil {
		t.Fatal(err)
	}
	end := v.Tokens[v.EOS]
	return fstest.MapFS{
		"vocab.json":            {Data: data},
		"merges.txt":            {Data: []byte("#version: 0.2\n" + strings.Join(v.Merges, "\n") + "\n")},
		"tokenizer_config.json": {Data: fmt.Appendf(nil, `{"tokenizer_class":%q,"bos_token":%q,"eos_token":%[2]q}`, class, end)},
	}
}

func TestLegacyFoldersGiveTheIdsOfLlamaCpp(t *testing.T) {
	want := vocabNamed(t, "gpt-2")
	v, err := VocabFromHF(legacyFolder(t, want, "GPT2Tokenizer"), HFOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(v.Tokens, want.Tokens) || !slices.Equal(v.Types, want.Types) || !slices.Equal(v.Merges, want.Merges) || v.EOS != want.EOS {
		t.Error("tokens, types, merges or ends differ")
	}
	checkGolden(t, mustNew(t, v), "gpt-2")
}

func TestLegacyFoldersAreOfKnownClasses(t *testing.T) {
	v := byteLevel("gpt-2")
	with := func(class, pre string) (*Vocab, error) {
		fsys := legacyFolder(t, v, class)
		fsys["added_tokens.json"] = &fstest.MapFile{Data: []byte(`{"<extra>": 400, "<|bos|>": 256}`)}
		return VocabFromHF(fsys, HFOptions{Pre: pre})
	}
	got, err := with("Qwen2Tokenizer", "")
	if err != nil {
		t.Fatal(err)
	}
	if rules, _ := preRulesOf(got.Pre); &rules.split[0] != &splitQwen2[0] || got.EOS != v.EOS || got.Types[400] != UserDefined || got.Types[v.EOS] != Control {
		t.Errorf("pre-tokenizer %q, EOS %d, types %v and %v", got.Pre, got.EOS, got.Types[400], got.Types[v.EOS])
	}
	if _, err := with("OwnTokenizer", ""); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), `"OwnTokenizer" alone; if you know which one`) {
		t.Errorf("%v", err)
	}
	if got, err := with("OwnTokenizer", "starcoder"); err != nil || got.Pre != "starcoder" {
		t.Errorf("%v", err)
	}
	fsys := legacyFolder(t, v, "GPT2Tokenizer")
	fsys["merges.txt"] = &fstest.MapFile{Data: []byte("a b\nc\n")}
	if _, err := VocabFromHF(fsys, HFOptions{}); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("%v", err)
	}
}

func TestTokenizersInOtherFormsAreNamed(t *testing.T) {
	for name, says := range map[string]string{"tiktoken.model": "tiktoken's form", "qwen.tiktoken": "tiktoken's form"} {
		if _, err := VocabFromHF(fstest.MapFS{name: {}}, HFOptions{}); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), says) {
			t.Errorf("%v", err)
		}
	}
}
