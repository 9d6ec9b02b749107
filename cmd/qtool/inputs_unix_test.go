//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"qtool/fixtures"
)

// within10s runs a command that might wait for ever.
func within10s(t *testing.T, args ...string) (code int, stderr string) {
	t.Helper()
	var stdout, errs bytes.Buffer
	done := make(chan int, 1)
	go func() { done <- run(context.Background(), args, strings.NewReader(""), &stdout, &errs) }()
	select {
	case code := <-done:
		return code, errs.String()
	case <-time.After(10 * time.Second):
		t.Fatalf("qtool %q does not end", args)
		return 0, ""
	}
}

// special makes path something that is no file: what a reader would wait for, or never
// come to the end of.
var special = map[string]func(path string) error{
	"FIFO":          func(p string) error { return syscall.Mkfifo(p, 0o600) },
	"/dev/zero":     func(p string) error { return os.Symlink("/dev/zero", p) },
	"link to FIFO":  func(p string) error { return errors.Join(syscall.Mkfifo(p+".fifo", 0o600), os.Symlink(p+".fifo", p)) },
	"folder of its": func(p string) error { return os.Mkdir(p, 0o700) },
}

// Every file of a folder that is read, and those that would be if they were there.
func TestAFileOfAModelFolderThatIsNoFileIsRefused(t *testing.T) {
	folder := func(t *testing.T, architecture string, shardBytes int64) string {
		dir := t.TempDir()
		if err := fixtures.TinyFolder(1, architecture, fixtures.FolderOptions{}).Write(context.Background(), dir, shardBytes); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	for _, c := range []struct {
		architecture string
		shards       int64
		files        []string
	}{
		{"LlamaForCausalLM", 0, []string{
			"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "generation_config.json",
			"special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "chat_template.json",
		}},
		{"LlamaForCausalLM", 20_000, []string{"model.safetensors.index.json", "model-00001-of-00002.safetensors"}},
	} {
		for _, file := range c.files {
			for what, make := range special {
				dir := folder(t, c.architecture, c.shards)
				path := filepath.Join(dir, file)
				shards, _ := filepath.Glob(filepath.Join(dir, "model-00001-of-*.safetensors"))
				if strings.HasPrefix(file, "model-00001") {
					path = shards[0]
				}
				chatAside(t, dir, file)
				os.Remove(path)
				if err := make(path); err != nil {
					t.Skip(err)
				}
				code, stderr := within10s(t, "quantize", "--type", "F16", dir, filepath.Join(t.TempDir(), "out.gguf"))
				if code != exitInvalid || strings.Count(stderr, "\n") != 1 {
					t.Errorf("%s as %s: exit code %d: %s", file, what, code, stderr)
				}
			}
		}
	}
}

// chatAside leaves the chat template to file, which is asked for only where those before it are not
// there.
func chatAside(t *testing.T, dir, file string) {
	if !strings.HasPrefix(file, "chat_template") {
		return
	}
	path := filepath.Join(dir, "tokenizer_config.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.ReplaceAll(text, []byte(`"chat_template"`), []byte(`"x"`)), 0o600); err != nil {
		t.Fatal(err)
	}
	os.Remove(filepath.Join(dir, "chat_template.jinja"))
}

// Whatever file a command is given, directly or by a flag.
func TestAnInputThatIsNoFileIsRefused(t *testing.T) {
	m := tinyFile(t, fixtures.Shape{})
	out, text := filepath.Join(t.TempDir(), "out.gguf"), filepath.Join(t.TempDir(), "text.txt")
	if err := os.WriteFile(text, []byte("some words to learn"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, make := range special {
		x := filepath.Join(t.TempDir(), "x.gguf")
		if err := make(x); err != nil {
			t.Skip(err)
		}
		for _, args := range [][]string{
			{"inspect", x}, {"verify", x}, {"diff", m, x}, {"quantize", x, out}, {"split", x, out}, {"join", x, out},
			{"generate", x, "--prompt", "a"}, {"tokenize", x, "a"},
			{"generate", m, "--prompt", "a", "--lora", x}, {"lora", "verify", "--model", m, x}, {"lora", "inspect", x},
			{"chat", x}, {"chat", m, "--chat-template", x},
			{"quantize", "--imatrix", x, m, out},
			{"quantize", "--tensor-type-file", x, m, out},
			{"quantize", "--target-bpw", "6", "--calibration", x, m, out},
			{"perplexity", m, "--data", x}, {"imatrix", m, "--data", x, "-o", out}, {"imatrix", "--in-file", x, "-o", out},
			{"logits", m, "--tokens", "@" + x, "-o", out},
			{"finetune", "--data", x, "--adapter", out}, {"finetune", "--model", x, "--data", text, "--adapter", out},
			{"finetune", "--init-adapter", x, "--adapter", out},
		} {
			if what == "folder of its" && (args[0] == "finetune" || args[len(args)-1] == x || args[1] == x) {
				continue // a folder may be a model, or data
			}
			if code, stderr := within10s(t, args...); code != exitInvalid {
				t.Errorf("%s as %q: exit code %d: %s", what, args, code, stderr)
			}
			if _, err := os.Stat(out); err == nil {
				t.Fatalf("%s as %q: something was written", what, args)
			}
		}
	}
}

func TestATextThatIsNoFileIsAskedForOnStandardInput(t *testing.T) {
	m := tinyFile(t, fixtures.Shape{})
	code, stderr := within10s(t, "perplexity", m, "--data", "/dev/null")
	if code != exitInvalid || !strings.Contains(stderr, `"-"`) {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

// The cache of Hugging Face is links to files.
func TestAFolderOfLinksIsRead(t *testing.T) {
	blobs, dir := t.TempDir(), t.TempDir()
	if err := fixtures.TinyFolder(1, "Qwen3ForCausalLM", fixtures.FolderOptions{}).Write(context.Background(), blobs, 20_000); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(blobs)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if err := os.Symlink(filepath.Join(blobs, f.Name()), filepath.Join(dir, f.Name())); err != nil {
			t.Skip(err)
		}
	}
	qtool(t, "quantize", "--type", "F16", dir, filepath.Join(t.TempDir(), "out.gguf"))
}
