package main

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"qtool/fixtures"
	"qtool/gguf"
)

// changing is a context that changes a file as soon as something is being written to a
// folder, or after it was asked a number of times whether to go on.
type changing struct {
	context.Context
	folder, file string
	questions    *atomic.Int64 // that are left
	once         *sync.Once
}

func (c changing) Err() error {
	left := c.questions.Add(-1)
	if begun, _ := os.ReadDir(c.folder); len(begun) > 0 || left < 0 {
		c.once.Do(c.change)
	}
	return c.Context.Err()
}

func (c changing) change() {
	b, err := os.ReadFile(c.file)
	if err != nil {
		panic(err)
	}
	b[len(b)-1] ^= 1
	f, err := os.OpenFile(c.file, os.O_WRONLY, 0)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		panic(err)
	}
	later := time.Now().Add(time.Second) // whatever the clock of the file system
	if err := os.Chtimes(c.file, later, later); err != nil {
		panic(err)
	}
}

// Write is that of an output whose first line makes the change.
func (c changing) Write(p []byte) (int, error) {
	c.once.Do(c.change)
	return len(p), nil
}

// An input that changes under a command in place leaves no output: it would be a mixture.
func TestNothingIsWrittenOfAnInputThatChanges(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, bytes.Repeat([]byte("abc de "), 40), 0o600); err != nil {
		t.Fatal(err)
	}
	m := func() string { return tinyFile(t, fixtures.Shape{}) }
	split := func() []string {
		dir := t.TempDir()
		qtool(t, "split", "--max-tensors", "4", m(), filepath.Join(dir, "s"))
		shards, _ := filepath.Glob(filepath.Join(dir, "s-*.gguf"))
		return shards
	}
	folder := t.TempDir()
	if err := fixtures.TinyFolder(1, "Qwen3ForCausalLM", fixtures.FolderOptions{}).Write(context.Background(), folder, 0); err != nil {
		t.Fatal(err)
	}
	model, shards, importance := m(), split(), filepath.Join(t.TempDir(), "i.gguf")
	qtool(t, "imatrix", model, "--data", text, "-c", "16", "-o", importance)
	adapter, source := filepath.Join(t.TempDir(), "a.gguf"), m()
	writeTinyAdapter(t, tiny(fixtures.Shape{}), adapter)
	tuned := filepath.Join(t.TempDir(), "tuned.gguf")
	qtool(t, "lora", "merge", "--model", model, adapter, tuned)
	dir := t.TempDir()
	out := filepath.Join(dir, "out.gguf")
	for _, c := range []struct {
		changes string
		args    []string
	}{
		{model, []string{"quantize", "--type", "Q8_0", model, out}},
		{model, []string{"quantize", "--type", "COPY", model, out}},
		{model, []string{"quantize", "--type", "Q8_0", "--prune-layers", "0", model, out}},
		{model, []string{"quantize", "--type", "Q8_0", "--override-kv", "x=int:1", model, out}},
		{model, []string{"quantize", "--target-bpw", "9", model, out}},
		{importance, []string{"quantize", "--type", "Q5_0", "--imatrix", importance, model, out}},
		{shards[1], []string{"quantize", "--type", "Q8_0", "--keep-split", shards[0], out}},
		{filepath.Join(folder, "model.safetensors"), []string{"quantize", "--type", "Q8_0", folder, out}},
		{model, []string{"lora", "verify", "--model", model, adapter}},
		{model, []string{"lora", "inspect", "--model", model, adapter}},
		{model, []string{"lora", "merge", "--model", model, adapter, out}},
		{source, []string{"lora", "merge", "--model", model, "--source", source, adapter, out}},
		{tuned, []string{"lora", "extract", "--base", model, "--tuned", tuned, "--rank", "1", out}},
		{model, []string{"split", "--max-tensors", "3", model, out}},
		{shards[len(shards)-1], []string{"join", shards[0], out}},
		{model, []string{"imatrix", model, "--data", text, "-c", "16", "--save-every", "0", "-o", out}},
		{model, []string{"perplexity", model, "--data", text, "--context", "16"}},
		{model, []string{"perplexity", shards[0], "--baseline", model, "--data", text, "--context", "16"}},
		{model, []string{"generate", model, "--prompt", "a", "-n", "30", "--ignore-eos"}},
		{model, []string{"generate", model, "--prompt", "a", "-n", "30", "--ignore-eos", "--json"}},
		{model, []string{"verify", model}},
		{model, []string{"diff", shards[0], model}},
		{model, []string{"logits", model, "--tokens", "1,2,3", "-o", out}},
		{model, []string{"finetune", "--model", model, "--data", text, "--steps", "2", "--seq", "16", "--eval-split", "0", "--adapter", out}},
		{model, []string{"finetune", "--model", model, "--data", text, "--steps", "2", "--seq", "16", "--eval-split", "0", "--full", out}},
	} {
		before, err := os.ReadFile(c.changes)
		if err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		questions := new(atomic.Int64)
		questions.Store(math.MaxInt64)
		if c.args[0] == "lora" && c.args[1] != "merge" { // verify and inspect ask rarely
			questions.Store(1)
		}
		switch c.args[0] {
		case "imatrix", "perplexity", "generate": // that write at the end, or nothing
			questions.Store(20)
		case "verify", "diff":
			questions.Store(5)
		}
		ctx := changing{context.Background(), dir, c.changes, questions, new(sync.Once)}
		code := run(ctx, c.args, strings.NewReader(""), ctx, &stderr)
		if code != exitFailed || !strings.Contains(stderr.String(), "input changed") {
			t.Errorf("%q: exit code %d: %s", c.args, code, stderr.String())
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 0 {
			t.Fatalf("%q: left behind: %v", c.args, left)
		}
		if err := os.WriteFile(c.changes, before, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// An old output survives, and an adapter is no exception.
func TestAnOldFileSurvivesAnInputThatChanges(t *testing.T) {
	m, dir := tinyFile(t, fixtures.Shape{}), t.TempDir()
	out := filepath.Join(dir, "out.gguf")
	if err := os.WriteFile(out, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(m)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	later := time.Now().Add(time.Hour)
	err = gguf.WriteFile(context.Background(), out, f, gguf.WithProgress(func(*gguf.Tensor, int64, int64) { os.Chtimes(m, later, later) }))
	if b, _ := os.ReadFile(out); err == nil || string(b) != "old" {
		t.Errorf("%v; the file is %q", err, b)
	}
}
