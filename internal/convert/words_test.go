package convert

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/tokenizer"
)

// folderWith writes a folder of fixtures and changes some of its texts: an empty
// change removes the file, others replace text or, where old is "", the file.
func folderWith(t *testing.T, architecture string, changes map[string][2]string) string {
	t.Helper()
	dir := t.TempDir()
	if err := fixtures.TinyFolder(1, architecture, fixtures.FolderOptions{}).Write(context.Background(), dir, 0); err != nil {
		t.Fatal(err)
	}
	for name, c := range changes {
		path := filepath.Join(dir, name)
		if c == [2]string{} {
			os.Remove(path)
			continue
		}
		text := c[1]
		if c[0] != "" {
			old, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if text = strings.ReplaceAll(string(old), c[0], c[1]); text == string(old) {
				t.Fatalf("%s does not hold %q", name, c[0])
			}
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestAnUnknownPreTokenizerIsRefusedUnlessItIsNamed(t *testing.T) {
	dir := folderWith(t, "Qwen2ForCausalLM", map[string][2]string{"tokenizer.json": {`\\p{N}|`, `\\p{N}{1,2}|`}})
	_, err := Open(dir)
	if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), `\\p{N}{1,2}|`) || !strings.Contains(err.Error(), "--pre") {
		t.Errorf("%v", err)
	}
	m, err := OpenWith(dir, Options{Pre: "llama-bpe"})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if pre, _ := m.Metadata().Str("tokenizer.ggml.pre"); pre != "llama-bpe" {
		t.Errorf("it is called %q", pre)
	}
	if _, err := OpenWith(dir, Options{Pre: "nonsense"}); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("%v", err)
	}
}

func TestFamiliesNameTheirPreTokenizers(t *testing.T) {
	for architecture, want := range map[string]string{
		"LlamaForCausalLM": "llama-bpe", "Qwen2ForCausalLM": "qwen2", "OlmoeForCausalLM": "olmo", "GraniteForCausalLM": "refact",
		"Glm4ForCausalLM": "glm4", "DeepseekV3ForCausalLM": "deepseek-v3", "Gemma2ForCausalLM": "default",
	} {
		m, err := Open(folderWith(t, architecture, nil))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if pre, _ := m.Metadata().Str("tokenizer.ggml.pre"); pre != want {
			t.Errorf("%s: %q, want %q", architecture, pre, want)
		}
	}
}

// TestTokenizersBecomeTheKeysOfLlamaCpp reads small folders in all the forms in
// which models are published. What conversion states beyond llama.cpp is what
// llama.cpp would have to guess, or would suppose otherwise.
func TestTokenizersBecomeTheKeysOfLlamaCpp(t *testing.T) {
	more := []string{"tokenizer.ggml.pre", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.unknown_token_id"}
	const ofPairs = "tokenizer.ggml.add_sep_token" // between two texts, which no decoder here is given
	configs, err := filepath.Glob("testdata/tokenizers/*/config.json")
	if err != nil || len(configs) < 10 {
		t.Fatalf("%d folders, %v", len(configs), err)
	}
	for _, config := range configs {
		dir := filepath.Dir(config)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			got := keysOf(t, dir)
			var want map[string]any
			data, err := os.ReadFile(filepath.Join(dir, "keys.json"))
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(data, &want); err != nil {
				t.Fatal(err)
			}
			for key, v := range want {
				if !reflect.DeepEqual(got[key], v) && key != ofPairs {
					t.Errorf("%s\n got %v\nwant %v", key, got[key], v)
				}
			}
			for key, v := range got {
				if _, ok := want[key]; !ok && !slices.Contains(more, key) {
					t.Errorf("%s is %v, llama.cpp does not write it", key, v)
				}
			}
		})
	}
}

// TestSentencePieceModelsGiveItsOwnIds encodes with what SentencePiece itself was trained to.
func TestSentencePieceModelsGiveItsOwnIds(t *testing.T) {
	for _, name := range []string{"llama2", "gemma2"} {
		dir := filepath.Join("testdata/tokenizers", name)
		var cases []struct {
			Text string
			IDs  []int32
		}
		data, err := os.ReadFile(filepath.Join(dir, "ids.json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &cases); err != nil {
			t.Fatal(err)
		}
		v := vocabOf(t, dir)
		v.AddSpacePrefix = name == "llama2" // its tokenizer_config.json says otherwise
		tok, err := tokenizer.New(v)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cases {
			if got := tok.Encode(c.Text, tokenizer.EncodeOptions{}); !slices.Equal(got, c.IDs) {
				t.Errorf("%s: %q\n got %v\nwant %v", name, c.Text, got, c.IDs)
			}
		}
	}
}

// keysOf are the tokenizer's keys as JSON would give them back.
func keysOf(t *testing.T, dir string) (keys map[string]any) {
	t.Helper()
	md := &gguf.Metadata{}
	vocabOf(t, dir).WriteMetadata(md)
	all := map[string]any{}
	for _, kv := range md.All() {
		all[kv.Key] = kv.Value
	}
	data, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &keys); err != nil {
		t.Fatal(err)
	}
	return keys
}

func vocabOf(t *testing.T, dir string) *tokenizer.Vocab {
	t.Helper()
	c, err := readConfig(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := findFamily(c)
	if err != nil {
		t.Fatal(err)
	}
	v, err := f.readVocab(dir, &dims{vocab: c.required("vocab_size")}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}
