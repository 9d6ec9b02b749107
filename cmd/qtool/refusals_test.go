package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"qtool/gguf"
	"qtool/internal/sharedtest"
)

var rewrite = flag.Bool("rewrite", false, "write what commands answer into testdata/refusals.txt")

// changed writes the GGUF file source to path with metadata and tensors changed.
func changed(t *testing.T, source, path string, change func(md *gguf.Metadata, tensors []*gguf.Tensor) []*gguf.Tensor) {
	t.Helper()
	f, err := gguf.Open(source, gguf.WithoutMapping())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	md := f.Metadata().Clone()
	tensors := change(md, append([]*gguf.Tensor(nil), f.Tensors()...))
	if err := gguf.WriteFile(context.Background(), path, gguf.Assemble(md, tensors)); err != nil {
		t.Fatal(err)
	}
}

// makeBadFiles adds to the workshop what testdata/refusals.txt is about.
func makeBadFiles(t *testing.T) {
	t.Helper()
	write := func(path string, b []byte) {
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	read := func(path string) []byte {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := read("m.gguf")
	write("cut.gguf", good[:len(good)-100])
	write("cut-header.gguf", good[:200])
	write("magic.gguf", append([]byte("GGML"), good[4:]...))
	write("many-tensors.gguf", bytes.Join([][]byte{good[:8], {0, 0, 0, 0, 0, 1, 0, 0}, good[16:]}, nil))
	write("empty.gguf", nil)
	write("text.gguf", []byte("This is no model at all, but a text."))
	matrix := read("i.dat")
	write("cut.dat", matrix[:len(matrix)/2])
	write("lost-00001-of-00002.gguf", read("s-00001-of-00002.gguf"))
	write("renamed.gguf", read("s-00001-of-00002.gguf"))
	write("model.safetensors", nil)
	write("bad.jsonl", []byte("{\"text\":\"fine\"}\n{\"text\":7}\n"))
	write("broken.jsonl", []byte("{\"text\":\"fine\"}\n{\"text\":\n"))
	write("empty.jsonl", nil)
	write("twice.jsonl", []byte("{\"prompt\":\"a\",\"prompt\":\"b\",\"completion\":\"c\"}\n"))
	write("ragged.csv", []byte("prompt,completion\na,b\na,b,c\n"))
	write("paper.txt", []byte("%PDF-1.7\n"))
	write("page.jsonl", []byte("<!DOCTYPE html>\n<html></html>\n"))
	write("cut.jsonl.gz", []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\xaa"))
	write("cut.parquet", []byte("PAR1\x15\x00\x15"))
	write("short.txt", []byte("one"))
	write("ids-not.txt", []byte("1,two"))
	makeBadMetadata(t)
	makeBadFolders(t, read, write)
	makeBadStore(t, write)
}

func makeBadMetadata(t *testing.T) {
	for path, set := range map[string]struct {
		source, key string
		value       gguf.Value // nil: the key is missing
	}{
		"arch-number.gguf":      {"m.gguf", "general.architecture", uint32(7)},
		"arch-none.gguf":        {"m.gguf", "general.architecture", nil},
		"arch-unknown.gguf":     {"m.gguf", "general.architecture", "lla\x1b[31mma"},
		"type-number.gguf":      {"m.gguf", "general.type", uint32(7)},
		"heads-text.gguf":       {"m.gguf", "llama.attention.head_count", "four"},
		"heads-none.gguf":       {"m.gguf", "llama.attention.head_count", nil},
		"layers-text.gguf":      {"m.gguf", "llama.block_count", "two"},
		"context-negative.gguf": {"m.gguf", "llama.context_length", int32(-1)},
		"tokens-numbers.gguf":   {"m.gguf", "tokenizer.ggml.tokens", []float32{1}},
		"tokens-none.gguf":      {"m.gguf", "tokenizer.ggml.tokens", nil},
		"template-number.gguf":  {"m.gguf", "tokenizer.chat_template", uint32(7)},
		"split-text.gguf":       {"m.gguf", "split.count", "two"},
		"alpha-text.gguf":       {"a.gguf", "adapter.lora.alpha", "two"},
		"kind-number.gguf":      {"a.gguf", "adapter.type", uint32(7)},
		"other-arch.gguf":       {"a.gguf", "general.architecture", "qwen2"},
		"chunks-text.gguf":      {"i.gguf", "imatrix.chunk_count", "two"},
		"datasets-none.gguf":    {"i.gguf", "imatrix.datasets", nil},
	} {
		changed(t, set.source, path, func(md *gguf.Metadata, tensors []*gguf.Tensor) []*gguf.Tensor {
			if md.Delete(set.key); set.value != nil {
				md.Set(set.key, set.value)
			}
			return tensors
		})
	}
	for path, change := range map[string]func(*gguf.Tensor) *gguf.Tensor{
		"no-norm.gguf": func(t *gguf.Tensor) *gguf.Tensor {
			return map[bool]*gguf.Tensor{false: t}[t.Name == "output_norm.weight"]
		},
		"bell.gguf": func(t *gguf.Tensor) *gguf.Tensor {
			renamed := *t
			renamed.Name = strings.Replace(t.Name, "blk.1.ffn_up", "blk.1.ffn\a_up", 1)
			return &renamed
		},
		"nan.gguf": func(t *gguf.Tensor) *gguf.Tensor {
			if t.Name != "blk.1.ffn_up.weight" {
				return t
			}
			b, _ := t.Bytes()
			b = append(append([]byte(nil), b[:100]...), append([]byte{0, 0, 0xc0, 0x7f}, b[104:]...)...)
			broken := *t
			broken.Data = gguf.Memory(b)
			return &broken
		},
		"type-99.gguf": func(t *gguf.Tensor) *gguf.Tensor {
			if t.Name != "blk.1.ffn_up.weight" {
				return t
			}
			other := *t
			other.Type, other.RawSize = 99, t.Size()
			return &other
		},
	} {
		changed(t, "m.gguf", path, func(_ *gguf.Metadata, tensors []*gguf.Tensor) (kept []*gguf.Tensor) {
			for _, t := range tensors {
				if t = change(t); t != nil {
					kept = append(kept, t)
				}
			}
			return kept
		})
	}
	changed(t, "a.gguf", "half.gguf", func(_ *gguf.Metadata, tensors []*gguf.Tensor) []*gguf.Tensor { return tensors[1:] })
	changed(t, "i.gguf", "no-counts.gguf", func(_ *gguf.Metadata, tensors []*gguf.Tensor) []*gguf.Tensor { return tensors[:1] })
}

func makeBadFolders(t *testing.T, read func(string) []byte, write func(string, []byte)) {
	for _, c := range []struct{ folder, file, field, value string }{
		{"hf-arch", "config.json", "architectures", `["\u001b[31mX"]`},
		{"hf-heads", "config.json", "num_attention_heads", `"four"`},
		{"hf-index", "model.safetensors.index.json", "weight_map", `{"a":"\u0007.safetensors"}`},
		{"hf-model", "tokenizer.json", "model", `7`},
	} {
		if err := os.CopyFS(c.folder, os.DirFS("hf")); err != nil {
			t.Fatal(err)
		}
		var object map[string]json.RawMessage
		path := filepath.Join(c.folder, c.file)
		if err := json.Unmarshal(read(path), &object); err != nil {
			t.Fatal(err)
		}
		object[c.field] = json.RawMessage(c.value)
		b, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		write(path, b)
	}
	write("hf-none/readme", nil)
	write("hf-broken/config.json", []byte("{"))
	write("hf-bare/config.json", read("hf/config.json"))
}

// TestEveryRefusalHasItsCodeAndItsLine runs the table of testdata/refusals.txt: each
// command is followed by its exit code and the line that it prints about its error.
func TestEveryRefusalHasItsCodeAndItsLine(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("paths and the system's own words are others")
	}
	const table = "testdata/refusals.txt"
	text, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	home, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	enterWorkshop(t)
	makeBadFiles(t)
	var answers strings.Builder
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	for len(lines) > 0 {
		command, isCommand := strings.CutPrefix(lines[0], "qtool ")
		if !isCommand {
			fmt.Fprintln(&answers, lines[0])
			lines = lines[1:]
			continue
		}
		want := ""
		if len(lines) > 1 {
			want = lines[1]
		}
		lines = lines[min(2, len(lines)):]
		got := want
		t.Run(command, func(t *testing.T) { got = refusal(t, command) })
		if got != want && !*rewrite {
			t.Errorf("qtool %s\ngot  %s\nwant %s", command, got, want)
		}
		fmt.Fprintf(&answers, "qtool %s\n%s\n", command, got)
	}
	if *rewrite {
		if err := os.WriteFile(filepath.Join(home, table), []byte(answers.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// refusal is the exit code of a command and the line about its error. Words that begin
// with "shared:" are files of the reference data; without them the test is skipped.
func refusal(t *testing.T, command string) string {
	words := strings.Fields(command)
	var paths []string
	for i, word := range words {
		if name, ok := strings.CutPrefix(word, "shared:"); ok {
			words[i] = sharedtest.Path(t, name)
			paths = append(paths, words[i], word)
		}
	}
	o := end(strings.Join(words, " "))
	clean(t)
	return fmt.Sprintf("%d %s", o.code, strings.NewReplacer(paths...).Replace(o.first()))
}
