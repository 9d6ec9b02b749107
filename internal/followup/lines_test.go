package followup

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/ollama"
)

// text is what the lines say, one of them a line.
func text(lines []Line) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.For + ": " + l.Command)
		if l.Note != "" {
			b.WriteString(" # " + l.Note)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestLinesSuitTheBaseAndTheResult(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the lines are written for another shell there")
	}
	dir := t.TempDir()
	t.Chdir(dir)
	tiny := fixtures.TinyLlama(1, fixtures.Shape{})
	for _, name := range []string{"base.gguf", "my base.gguf", "merged-merged.gguf"} {
		if err := gguf.WriteFile(context.Background(), name, tiny); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir("hf", 0o777); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		trained Trained
		want    []string // what stands in each line
	}{
		{"a file", Trained{Model: "base.gguf", Adapter: "mine.gguf"}, []string{
			"chat: qtool chat base.gguf --lora mine.gguf",
			"llama.cpp: llama-server -m base.gguf --lora mine.gguf",
			"ollama: qtool ollama create mine --model base.gguf --adapter mine.gguf",
		}},
		{"names that need quotes", Trained{Model: "my base.gguf", Adapter: "-d/It's 1.gguf"}, []string{
			`chat: qtool chat 'my base.gguf' --lora './-d/It'\''s 1.gguf'`,
			`llama.cpp: llama-server -m 'my base.gguf' --lora './-d/It'\''s 1.gguf'`,
			`ollama: qtool ollama create it-s-1 --model 'my base.gguf' --adapter './-d/It'\''s 1.gguf'`,
		}},
		{"a comma", Trained{Model: "base.gguf", Adapter: "a,b.gguf"}, []string{
			"chat: qtool chat base.gguf --lora a,b.gguf",
			"llama.cpp:  # llama-server splits what follows --lora at commas",
			"ollama: qtool ollama create a-b --model base.gguf --adapter a,b.gguf",
		}},
		{"made by --ollama", Trained{Model: "base.gguf", Adapter: "mine.gguf", Ollama: true}, []string{
			"chat: ", "llama.cpp: ", "ollama:  # the model of Ollama is made already",
		}},
		{"a folder", Trained{Model: "hf/", Adapter: "mine.gguf", Pre: "qwen2"}, []string{
			"chat: qtool chat hf/ --lora mine.gguf --pre qwen2",
			"base: qtool quantize --type COPY --pre qwen2 hf/ hf.gguf # llama.cpp and Ollama take GGUF",
			"llama.cpp: llama-server -m hf.gguf --lora mine.gguf",
			"ollama: qtool ollama create mine --model hf.gguf --adapter mine.gguf",
		}},
		{"the embedded base", Trained{Adapter: "mine.gguf"}, []string{
			"chat: qtool chat embedded --lora mine.gguf",
			"base: qtool quantize --type COPY embedded embedded.gguf # ",
			"llama.cpp: llama-server -m embedded.gguf --lora mine.gguf",
			"ollama: qtool ollama create mine --model embedded.gguf --adapter mine.gguf",
		}},
		{"for merging only", Trained{Model: "base.gguf", Adapter: "merged.gguf", MergeOnly: true}, []string{
			"chat: qtool chat base.gguf --lora merged.gguf",
			"merge: qtool lora merge --model base.gguf --keep 0.9 merged.gguf merged-merged-2.gguf # llama.cpp does not honour",
			"llama.cpp: llama-server -m merged-merged-2.gguf",
			"ollama: qtool ollama create merged --model merged-merged-2.gguf",
		}},
		{"a whole model", Trained{Model: "base.gguf", Full: "my base.gguf"}, []string{
			"chat: qtool chat 'my base.gguf'",
			"llama.cpp: llama-server -m 'my base.gguf'",
			"ollama: qtool ollama create my-base --model 'my base.gguf'",
		}},
	} {
		got := strings.Split(strings.TrimSuffix(text(c.trained.Lines()), "\n"), "\n")
		if len(got) != len(c.want) {
			t.Errorf("%s: %q", c.name, got)
			continue
		}
		for i, want := range c.want {
			if !strings.HasPrefix(got[i], want) {
				t.Errorf("%s: %s\nwant %s", c.name, got[i], want)
			}
		}
	}
}

// store puts a model into a store of Ollama.
func store(t *testing.T, dir, name string, m gguf.Model) {
	t.Helper()
	var b bytes.Buffer
	n, err := ollama.ParseName(name)
	if err == nil {
		err = gguf.Write(context.Background(), &b, m)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := ollama.Store{Dir: dir, Owner: "test"}
	weights, err := s.AddText(ollama.KindModel, b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	config, err := s.AddConfig([]byte(`{"model_format":"gguf"}`))
	if err == nil {
		err = s.WriteManifest(n, config, []ollama.Layer{weights})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Ollama's own forms of models are not opened by llama.cpp, and its blobs have no ending.
func TestABaseOfOllamaIsItsBlobWhereLlamaCppOpensIt(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("OLLAMA_MODELS", dir)
	plain := fixtures.TinyLlama(1, fixtures.Shape{})
	store(t, dir, "tiny:1b", plain)
	withImages := append(plain.Tensors(), gguf.Float32Tensor("v.patch.weight", []int{2, 2}, make([]float32, 4)))
	store(t, dir, "seeing", gguf.Assemble(plain.Metadata(), withImages))
	got := text(Trained{Model: "ollama:tiny:1b", Adapter: "tiny.gguf"}.Lines())
	for _, want := range []string{
		"llama.cpp: llama-server -m " + filepath.Join(dir, "blobs", "sha256-"),
		"ollama: qtool ollama create tiny-tuned --model ollama:tiny:1b --adapter tiny.gguf\n",
		"chat: qtool chat ollama:tiny:1b --lora tiny.gguf\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\nhas no %s", got, want)
		}
	}
	got = text(Trained{Model: "ollama:seeing", Adapter: "mine.gguf"}.Lines())
	for _, want := range []string{
		"base: qtool quantize --type COPY ollama:seeing seeing.gguf # the base is in a form of Ollama's own",
		"llama.cpp: llama-server -m seeing.gguf --lora mine.gguf\n", "--model ollama:seeing --adapter mine.gguf\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\nhas no %s", got, want)
		}
	}
}
