package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"qtool/fixtures"
	"qtool/fixtures/vocabulary"
	"qtool/gguf"
	"qtool/internal/adapt"
	"qtool/internal/model"
	"qtool/internal/scaledtest"
	"qtool/quantize/imatrix"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"qtool": main, "fatal": func() { launch(runIntoFatalError) }})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":      scriptExits,
			"model":      scriptModel,
			"folder":     scriptFolder,
			"adapter":    scriptAdapter,
			"damage":     scriptDamage,
			"importance": scriptImportance,
			"copyhashes": scriptCopyHashes,
			"stored":     scriptStored,
			"serve":      scriptServe,
		},
		Condition: func(name string) (bool, error) {
			if name == "root" {
				return os.Getuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		RequireUniqueNames: true,
	})
}

// scriptExits runs a command that must end with an exit code: exits CODE COMMAND…
func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit := (*exec.ExitError)(nil)
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, expected %d", got, want)
	}
}

// tiny is a random model with a vocabulary of bytes.
func tiny(s fixtures.Shape) gguf.Model {
	v, err := vocabulary.Train(nil, 259)
	if err != nil {
		panic(err)
	}
	s.Vocabulary = v
	return fixtures.TinyLlama(1, s)
}

// scriptModel writes a tiny model: model FILE [untied] [moe] [deep] [wide] [novocab]
// [shards] [nvfp4]. The rows of a wide one divide into blocks of 256. That of nvfp4 has weights
// with separate scales, and FILE.plain.gguf is the same with F32 weights.
func scriptModel(ts *testscript.TestScript, neg bool, args []string) {
	has := func(word string) bool { return slices.Contains(args[1:], word) }
	s := fixtures.Shape{Untied: has("untied")}
	if has("moe") {
		s.Experts = 4
	}
	if has("deep") {
		s.Layers = 3
	}
	if has("wide") {
		s.Dim, s.FF, s.Layers = 256, 256, 1
	}
	m := tiny(s)
	if has("novocab") {
		m = fixtures.TinyLlama(1, s)
	}
	if has("nvfp4") {
		var plain gguf.Model
		var err error
		m, plain, err = scaledtest.NVFP4(m)
		ts.Check(err)
		ts.Check(gguf.WriteFile(context.Background(), ts.MkAbs(args[0]+".plain.gguf"), plain))
	}
	var opts []gguf.WriteOption
	if has("shards") {
		opts = append(opts, gguf.WithSplitTensors(8))
	}
	ts.Check(gguf.WriteFile(context.Background(), ts.MkAbs(args[0]), m, opts...))
}

// scriptFolder writes a tiny Hugging Face folder and DIR.gguf, the same model: folder
// DIR ARCHITECTURE [shards] [bf16] [f8].
func scriptFolder(ts *testscript.TestScript, neg bool, args []string) {
	has := func(word string) bool { return slices.Contains(args[2:], word) }
	var o fixtures.FolderOptions
	var shard int64
	switch {
	case has("bf16"):
		o.Storage = fixtures.StoreBF16
	case has("f8"):
		o.Storage = fixtures.StoreF8
	}
	if has("shards") {
		shard = 60_000
	}
	f, dir := fixtures.TinyFolder(1, args[1], o), ts.MkAbs(args[0])
	ts.Check(os.Mkdir(dir, 0o777))
	ts.Check(f.Write(context.Background(), dir, shard))
	ts.Check(gguf.WriteFile(context.Background(), dir+".gguf", f.Twin))
}

// scriptAdapter writes an adapter that changes the output of a model: adapter FILE MODEL.
func scriptAdapter(ts *testscript.TestScript, neg bool, args []string) {
	f, err := gguf.Open(ts.MkAbs(args[1]))
	ts.Check(err)
	defer f.Close()
	d, err := model.Load(f, model.Options{})
	ts.Check(err)
	a, err := adapt.New(d, adapt.Config{Rank: 2, Alpha: 4, Seed: 1})
	ts.Check(err)
	for _, p := range a.Pairs {
		for i := range p.B.Data {
			p.B.Data[i] = float32(i%5) - 2
		}
	}
	ts.Check(a.WriteFile(context.Background(), ts.MkAbs(args[0])))
}

// scriptImportance writes an importance matrix for the weights of a model, without the
// embedding and with a last expert that saw nothing: importance FILE MODEL [wrong].
// That of the wrong model has another length.
func scriptImportance(ts *testscript.TestScript, neg bool, args []string) {
	f, err := gguf.Open(ts.MkAbs(args[1]))
	ts.Check(err)
	defer f.Close()
	m := imatrix.New(16)
	m.Chunks, m.Datasets = 3, []string{"some text"}
	for _, t := range f.Tensors() {
		if len(t.Shape) < 2 || t.Name == "token_embd.weight" {
			continue
		}
		e := &imatrix.Entry{Name: t.Name, Counts: make([]int64, t.Elements()/t.Shape[0]/t.Shape[1])}
		n := t.Shape[0] * len(e.Counts)
		if slices.Contains(args[2:], "wrong") {
			n *= 2
		}
		for i := range e.Counts {
			e.Counts[i] = 48
		}
		if len(e.Counts) > 1 {
			e.Counts[len(e.Counts)-1] = 0
		}
		for i := range n {
			e.Sums = append(e.Sums, float32(i%7))
		}
		ts.Check(m.Add(e))
	}
	path := ts.MkAbs(args[0])
	ts.Check(m.WriteFile(context.Background(), path, imatrix.LegacyName(path)))
}

// scriptDamage spoils a GGUF file: damage FILE cut|magic|count|type|nan|flip|flip-key. The
// last two flip one bit of a tensor's data and of general.file_type.
func scriptDamage(ts *testscript.TestScript, neg bool, args []string) {
	path, kind := ts.MkAbs(args[0]), args[1]
	b, err := os.ReadFile(path)
	ts.Check(err)
	switch kind {
	case "cut":
		b = b[:len(b)/2]
	case "magic":
		copy(b, "GGML")
	case "count": // of tensors, far more than the file could hold
		binary.LittleEndian.PutUint64(b[8:], 1<<40)
	case "flip":
		flipData(ts, path, b)
	case "flip-key":
		const key = "general.file_type"
		b[bytes.Index(b, []byte(key))+len(key)+4] ^= 1
	case "type", "nan":
		ts.Check(gguf.WriteFile(context.Background(), path, spoiled(ts, path, kind)))
		return
	default:
		ts.Fatalf("unknown damage %q", kind)
	}
	ts.Check(os.WriteFile(path, b, 0o644))
}

// flipData flips a bit in b, the file at path, where the data of blk.1.ffn_up.weight are or
// of its pair.
func flipData(ts *testscript.TestScript, path string, b []byte) {
	f, err := gguf.Open(path)
	ts.Check(err)
	defer f.Close()
	for _, t := range f.Tensors() {
		if strings.HasPrefix(t.Name, "blk.1.ffn_up.weight") {
			data, err := t.Bytes()
			ts.Check(err)
			b[bytes.Index(b, data)+len(data)/2] ^= 1
			return
		}
	}
	ts.Fatalf("%s has no blk.1.ffn_up.weight", path)
}

// scriptCopyHashes does as a program that keeps the keys it does not know and writes other
// tensors: copyhashes TO FROM.
func scriptCopyHashes(ts *testscript.TestScript, neg bool, args []string) {
	to, err := gguf.Open(ts.MkAbs(args[0]), gguf.WithoutMapping())
	ts.Check(err)
	defer to.Close()
	from, err := gguf.Open(ts.MkAbs(args[1]))
	ts.Check(err)
	defer from.Close()
	// Ours would drop the keys, so they are written by other names of the same length.
	md := to.Metadata().Clone()
	for _, kv := range from.Metadata().All() {
		if gguf.IsHashKey(kv.Key) {
			md.Set(strings.Replace(kv.Key, "qtool", "other", 1), kv.Value)
		}
	}
	path := ts.MkAbs(args[0])
	ts.Check(gguf.WriteFile(context.Background(), path, gguf.Assemble(md, to.Tensors())))
	b, err := os.ReadFile(path)
	ts.Check(err)
	ts.Check(os.WriteFile(path, bytes.ReplaceAll(b, []byte("other.sha256"), []byte("qtool.sha256")), 0o644))
}

// spoiled is the model at path with a tensor of unknown type or with a weight that is
// no number.
func spoiled(ts *testscript.TestScript, path, kind string) gguf.Model {
	f, err := gguf.Open(path, gguf.WithoutMapping())
	ts.Check(err)
	defer f.Close()
	tensors := slices.Clone(f.Tensors())
	for i, t := range tensors {
		b, err := t.Bytes()
		ts.Check(err)
		changed := *t
		if t.Name == "blk.1.ffn_up.weight" {
			if kind == "type" {
				changed.Type, changed.RawSize = 99, t.Size()
			} else {
				binary.LittleEndian.PutUint32(b[100:], 0x7fc00000)
			}
		}
		changed.Data = gguf.Memory(b)
		tensors[i] = &changed
	}
	return gguf.Assemble(f.Metadata().Clone(), tensors)
}
