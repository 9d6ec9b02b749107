package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/quantize"
)

// emptyTensors are tensors without an element, of every shape that has none and of types
// that are floats, blocks, integers, and not known.
func emptyTensors(prefix string) (all []*gguf.Tensor) {
	for _, shape := range [][]int{{0}, {0, 1}, {0, 32}, {0, 2, 3}, {0, 2, 3, 4}, {0, 1 << 40}} {
		for _, typ := range []gguf.Type{gguf.F32, gguf.BF16, gguf.Q8_0, gguf.Q4_K, gguf.I32, gguf.Q8_1, 77} {
			name := strings.ReplaceAll(fmt.Sprintf("%sffn_up%v%v.weight", prefix, shape, typ), " ", "x")
			all = append(all, &gguf.Tensor{Name: name, Type: typ, Shape: shape, Data: gguf.Memory(nil)})
		}
	}
	return all
}

// holed is a model with empty tensors in a block that no computation uses.
func holed(t *testing.T) (path string, empty []*gguf.Tensor) {
	t.Helper()
	m := fixtures.TinyFolder(1, "Glm4ForCausalLM", fixtures.FolderOptions{}).Twin
	md := m.Metadata().Clone()
	layers, err := md.Int("glm4.block_count")
	if err != nil {
		t.Fatal(err)
	}
	md.Set("glm4.nextn_predict_layers", uint32(1))
	empty = emptyTensors(fmt.Sprintf("blk.%d.", layers-1))
	path = filepath.Join(t.TempDir(), "holed.gguf")
	if err := gguf.WriteFile(context.Background(), path, gguf.Assemble(md, append(slices.Clone(m.Tensors()), empty...))); err != nil {
		t.Fatal(err)
	}
	return path, empty
}

func TestEmptyTensorsPassThroughEveryCommand(t *testing.T) {
	m, empty := holed(t)
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	text := in("text")
	if err := os.WriteFile(text, []byte(strings.Repeat("hello there, how are you? ", 40)), 0o600); err != nil {
		t.Fatal(err)
	}
	keeps := func(path string) {
		t.Helper()
		f, err := gguf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for _, want := range empty {
			got, ok := f.Tensor(want.Name)
			if !ok || got.Type != want.Type || !gguf.SameShape(got.Shape, want.Shape) || got.Size() != 0 {
				t.Errorf("%s: %s became %+v", path, want.Name, got)
			}
		}
		for _, args := range [][]string{{"inspect", path}, {"inspect", "--json", path}, {"verify", path}, {"verify", "--json", path}, {"diff", m, path}, {"diff", "--json", path, m}} {
			if out := qtool(t, args...); args[1] == "--json" && !json.Valid([]byte(out)) {
				t.Errorf("%q prints %s", args, out)
			}
		}
	}
	keeps(m)
	qtool(t, "diff", "--strict", m, m)
	qtool(t, "imatrix", m, "--data", text, "-c", "16", "-o", in("i.gguf"))
	for _, args := range [][]string{
		{"--target-bpw", "6"}, {"--target-size", "60K"}, {"--target-bpw", "7", "--imatrix", in("i.gguf")},
		{"--target-bpw", "6", "--calibration", text, "--calibration-tokens", "128"},
		{"--type", "Q8_0", "--pure"}, {"--type", "Q4_K_M", "--split-max-size", "1G"}, {"--type", "Q8_0", "--tensor-type", "ffn_up=Q5_0"},
		{"--type", "IQ4_NL", "--imatrix", in("i.gguf")}, {"--type", "COPY", "--keep-split"},
	} {
		plan := qtool(t, append(append([]string{"quantize", "--dry-run", "--json", "--allow-requantize"}, args...), m)...)
		if !json.Valid([]byte(plan)) {
			t.Errorf("%q: the plan is %s", args, plan)
		}
		qtool(t, append(append([]string{"quantize", "--allow-requantize"}, args...), m, in("q.gguf"))...)
		keeps(in("q.gguf"))
	}
	for _, name := range quantize.FileTypes() {
		qtool(t, "quantize", "--allow-requantize", "--imatrix", in("i.gguf"), "--type", name, m, in("q.gguf"))
		qtool(t, "verify", in("q.gguf"))
	}
	qtool(t, "split", "--max-tensors", "7", m, in("s"))
	shards, _ := filepath.Glob(in("s-00001-of-*.gguf"))
	qtool(t, "join", shards[0], in("j.gguf"))
	keeps(in("j.gguf"))
	qtool(t, "diff", "--strict", m, in("j.gguf"))
	qtool(t, "generate", m, "--prompt", "hello", "--max-tokens", "3")
	qtool(t, "perplexity", m, "--data", text, "--context", "16")
	qtool(t, "logits", m, "--tokens", "1,2,3", "-o", in("l.npy"))
	for _, result := range []string{"--adapter", "--full"} {
		qtool(t, "finetune", "--model", m, "--data", text, "--seq", "16", "--steps", "2", result, in("r.gguf"))
		qtool(t, "verify", in("r.gguf"))
	}
	keeps(in("r.gguf"))
	qtool(t, "finetune", "--model", m, "--data", text, "--seq", "16", "--steps", "2", "--adapter", in("a.gguf"), "--plan-only")
}

// A file with nothing in it, and one of nothing but empty tensors, have means as well.
func TestAModelWithoutAnElementIsRead(t *testing.T) {
	md := &gguf.Metadata{}
	md.Set("general.architecture", "llama")
	dir := t.TempDir()
	out := filepath.Join(dir, "out.gguf")
	for name, tensors := range map[string][]*gguf.Tensor{"none": nil, "empty": emptyTensors("blk.0.")} {
		path := filepath.Join(dir, name+".gguf")
		if err := gguf.WriteFile(context.Background(), path, gguf.Assemble(md, tensors)); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{
			{"inspect", path}, {"inspect", "--json", path}, {"verify", path}, {"verify", "--json", path}, {"diff", path, path}, {"diff", "--strict", path, path},
			{"quantize", "--type", "COPY", path, out}, {"quantize", "--type", "COPY", "--json", path, out}, {"quantize", "--type", "COPY", "--dry-run", path},
			{"split", path, out},
		} {
			qtool(t, args...)
		}
	}
}
