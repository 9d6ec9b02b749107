package ollama

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"qtool/internal/usage"
)

func TestNamesHaveOllamasDefaults(t *testing.T) {
	for s, want := range map[string]struct {
		name  Name
		short string
	}{
		"qwen3":                         {Name{defaultHost, "library", "qwen3", "latest"}, "qwen3:latest"},
		"qwen3:0.6b":                    {Name{defaultHost, "library", "qwen3", "0.6b"}, "qwen3:0.6b"},
		"me/x":                          {Name{defaultHost, "me", "x", "latest"}, "me/x:latest"},
		"hf.co/org/Model-GGUF:Q4_K_M":   {Name{"hf.co", "org", "Model-GGUF", "Q4_K_M"}, "hf.co/org/Model-GGUF:Q4_K_M"},
		"localhost:5000/a/b":            {Name{"localhost:5000", "a", "b", "latest"}, "localhost:5000/a/b:latest"},
		"http://localhost:5000/a/b:t":   {Name{"localhost:5000", "a", "b", "t"}, "localhost:5000/a/b:t"},
		"Registry.Ollama.AI/Library/Q":  {Name{"Registry.Ollama.AI", "Library", "Q", "latest"}, "Q:latest"},
		"_x:" + strings.Repeat("a", 80): {Name{defaultHost, "library", "_x", strings.Repeat("a", 80)}, "_x:" + strings.Repeat("a", 80)},
	} {
		got, err := ParseName(s)
		if err != nil || got != want.name || got.String() != want.short {
			t.Errorf("%s: %+v %v %v", s, got, got, err)
		}
	}
}

func TestWrongNamesAreRefused(t *testing.T) {
	for _, s := range []string{"", ":", "a:", ":a", "a/", "/a", "..", "a/../b", ".hidden", "-a", "a b", "a/b/c/d", "a@sha256:1", `a\b`, "bad name!", "a.b/c", "é",
		strings.Repeat("a", 81)} {
		if n, err := ParseName(s); !errors.Is(err, usage.Err) {
			t.Errorf("%q: %+v, %v", s, n, err)
		}
	}
}

// Whatever a name is, it leads to a file four folders deep and nowhere else.
func FuzzNamesStayInTheirFolder(f *testing.F) {
	for _, s := range []string{
		"", ":", "/", "a:", ":a", "a/", "/a", "..", "../..:x", "a/../b", ".hidden", "a:..", "-a", "a b", "a/b/c/d", "a@sha256:1", `a\b`,
		"a:b/c", "é", "a\x00", "a:" + strings.Repeat("a", 81), "C:/x/y", "CON", "bad name!", "a.b/c", "x://y://z/a/b",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseName(s)
		if err != nil {
			if !errors.Is(err, usage.Err) || len(err.Error()) > 2000 {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		path := n.path()
		if !filepath.IsLocal(path) || len(strings.Split(path, string(filepath.Separator))) != 4 || filepath.Clean(path) != path {
			t.Errorf("%q leads to %q", s, path)
		}
		if again, err := ParseName(n.String()); err != nil || again.Compare(n) != 0 {
			t.Errorf("%q: its short form %q is %+v, %v", s, n, again, err)
		}
	})
}

func TestNamesForFilesAreNamesAndNotTheBase(t *testing.T) {
	for path, want := range map[string]string{
		"mine.gguf": "mine:latest", "a/My Adapter (v2).gguf": "my-adapter-v2:latest", "-x.gguf": "x:latest", "日本.gguf": "mine:latest", "v1.0.gguf": "v1.0:latest",
		"": "mine:latest", "..gguf": "mine:latest", "Qwen3.gguf": "qwen3-tuned:latest", "é" + strings.Repeat("a-", 100): strings.Repeat("a-", 31) + "a:latest",
	} {
		n := NameFor(path, Name{Model: "qwen3"})
		if again, err := ParseName(n.String()); n.String() != want || err != nil || again != n {
			t.Errorf("%s: %v, want %s (%v)", path, n, want, err)
		}
	}
}
