package convert

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"qtool/fixtures"
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
