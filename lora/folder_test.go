package lora_test

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/convert"
	"qtool/lora"
	"qtool/quantize"
)

func folderAt(t *testing.T, f *fixtures.Folder, maxShardBytes int64) string {
	t.Helper()
	dir := t.TempDir()
	if err := f.Write(context.Background(), dir, maxShardBytes); err != nil {
		t.Fatal(err)
	}
	return dir
}

func openFolder(t *testing.T, dir string) *convert.Model {
	t.Helper()
	m, err := convert.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// The folder of a merge, converted, is the merge of the converted folder.
func TestMergingIntoAFolderOfEveryArchitectureIsMergingIntoItsGGUF(t *testing.T) {
	plain, fused, transposed := fixtures.FolderOptions{}, fixtures.FolderOptions{FusedExperts: true}, fixtures.FolderOptions{FusedExperts: true, TransposedExperts: true}
	for _, name := range fixtures.FolderArchitectures() {
		for form, o := range map[string]fixtures.FolderOptions{"plain": plain, "fused experts": fused, "transposed": transposed} {
			dir := folderAt(t, fixtures.TinyFolder(1, name, o), 50_000)
			base := openFolder(t, dir)
			a := adapterOn(t, base, 2, 3)
			// The heads' matrices of MLA, which no decoder runs with pairs.
			for _, x := range base.Tensors() {
				if strings.HasSuffix(x.Name, "_b.weight") && len(x.Shape) == 3 {
					half := func(shape ...int) lora.Half {
						h := lora.Half{Shape: shape, Values: make([]float32, shape[0]*shape[1]*shape[2])}
						for i := range h.Values {
							h.Values[i] = float32(i%11-5) / 20
						}
						return h
					}
					a.Pairs = append(a.Pairs, lora.Pair{Tensor: x.Name, A: half(x.Shape[0], 2, x.Shape[2]), B: half(2, x.Shape[1], x.Shape[2])})
				}
			}
			if strings.HasPrefix(name, "Longcat") { // whose last expert computes nothing, and is not in the folder
				for _, p := range a.Pairs {
					if n := len(p.B.Shape); n > 2 && strings.Contains(p.Tensor, "_exps") {
						clear(p.B.Values[p.B.Shape[0]*p.B.Shape[1]*(p.B.Shape[2]-1):])
					}
				}
			}
			combined, err := lora.Combine(lora.Scaled{Adapter: a, Strength: 1})
			if err != nil {
				t.Fatal(err)
			}
			s, err := lora.AddToFolder(dir, combined)
			if name == "GptOssForCausalLM" && form == "plain" { // its experts are MXFP4
				if !errors.Is(err, lora.ErrUnsupported) {
					t.Errorf("%s, %s: %v", name, form, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s, %s: %v", name, form, err)
				continue
			}
			out := filepath.Join(t.TempDir(), "a", "b")
			var done int64
			err = s.WriteFolder(context.Background(), out, map[string]string{"format": "pt"}, func(n int64) { done = n })
			if err != nil || done != s.Size() || s.Changed == 0 {
				t.Fatalf("%s, %s: %d of %d bytes, %d tensors changed: %v", name, form, done, s.Size(), s.Changed, err)
			}
			s.Close()
			got, want := openFolder(t, out), sumOf(t, base, nil, lora.Scaled{Adapter: a, Strength: 1}).Model()
			for _, x := range want.Tensors() {
				y, ok := got.Tensor(x.Name)
				if !ok || !gguf.SameShape(x.Shape, y.Shape) {
					t.Fatalf("%s, %s: %s is missing or has another shape", name, form, x.Name)
				}
				p, err := quantize.Decode(x)
				if err != nil {
					t.Fatal(err)
				}
				q, err := quantize.Decode(y)
				if err != nil {
					t.Fatal(err)
				}
				for i := range p {
					if math.Abs(float64(p[i]-q[i])) > 1e-6 {
						t.Errorf("%s, %s: %s: element %d is %g, expected %g", name, form, x.Name, i, q[i], p[i])
						break
					}
				}
			}
			for _, file := range []string{"config.json", "tokenizer.json", "generation_config.json"} {
				if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
					continue
				}
				b, err := os.ReadFile(filepath.Join(out, file))
				if original, _ := os.ReadFile(filepath.Join(dir, file)); err != nil || string(b) != string(original) {
					t.Errorf("%s: %s is not copied: %v", name, file, err)
				}
			}
		}
	}
}

func TestAFolderKeepsItsTypesAndRefusesThoseThatCannotChange(t *testing.T) {
	for storage, fits := range map[fixtures.Storage]bool{fixtures.StoreBF16: true, fixtures.StoreF8: false} {
		dir := folderAt(t, fixtures.TinyFolder(1, "Qwen3ForCausalLM", fixtures.FolderOptions{Storage: storage}), 0)
		base := openFolder(t, dir)
		combined, err := lora.Combine(lora.Scaled{Adapter: adapterOn(t, base, 2, 3), Strength: 1})
		if err != nil {
			t.Fatal(err)
		}
		s, err := lora.AddToFolder(dir, combined)
		if !fits {
			if !errors.Is(err, lora.ErrUnsupported) {
				t.Errorf("storage %v: %v", storage, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		out := t.TempDir()
		if err := s.WriteFolder(context.Background(), out, nil, nil); err != nil {
			t.Fatal(err)
		}
		merged := openFolder(t, out)
		for _, x := range base.Tensors() {
			if y, _ := merged.Tensor(x.Name); y.Type != x.Type {
				t.Errorf("%s was %v and is %v", x.Name, x.Type, y.Type)
			}
		}
		if err := s.WriteFolder(context.Background(), out, nil, nil); err == nil || len(slices.Collect(namesIn(t, out))) == 0 {
			t.Errorf("a folder that holds something: %v", err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		gone := filepath.Join(t.TempDir(), "gone")
		if err := s.WriteFolder(ctx, gone, nil, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("interrupted: %v", err)
		}
		if _, err := os.Stat(gone); err == nil {
			t.Error("it left a folder")
		}
	}
}

func namesIn(t *testing.T, dir string) func(yield func(string) bool) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return func(yield func(string) bool) {
		for _, e := range entries {
			if !yield(e.Name()) {
				return
			}
		}
	}
}
