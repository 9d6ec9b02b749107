package main

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"qtool/fixtures"
	"qtool/gguf"
)

// sizeableFile writes a model that takes some time to quantize, and returns its path, what
// becomes of it and how long that takes.
func sizeableFile(t *testing.T) (path string, quantized []byte, took time.Duration) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "source.gguf")
	m := tiny(fixtures.Shape{Layers: 4, Dim: 256, Heads: 4, KVHeads: 2, FF: 2048})
	if err := gguf.WriteFile(context.Background(), path, m); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "m.gguf")
	start := time.Now()
	if b, err := quantizeCommandOf(path, out).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	took = time.Since(start)
	quantized, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return path, quantized, took
}

func quantizeCommandOf(in, out string) *exec.Cmd {
	return exec.Command("qtool", "quantize", "--type", "Q4_K_M", in, out)
}

// A killed process cannot tidy up: at any moment the target must be what it was, or whole.
func TestAQuantizeThatIsKilledLeavesTheOldFileOrTheWholeNewOne(t *testing.T) {
	source, whole, took := sizeableFile(t)
	rng := rand.New(rand.NewPCG(1, 2))
	old := []byte("an old file")
	counts := map[string]int{}
	for round := range 16 {
		dir := t.TempDir()
		out := filepath.Join(dir, "m.gguf")
		if round%2 == 1 {
			if err := os.WriteFile(out, old, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		cmd := quantizeCommandOf(source, out)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rng.Float64() * 1.1 * float64(took)))
		cmd.Process.Kill()
		cmd.Wait()
		got, err := os.ReadFile(out)
		switch {
		case bytes.Equal(got, whole):
			counts["whole"]++
		case round%2 == 1 && bytes.Equal(got, old), round%2 == 0 && os.IsNotExist(err):
			counts["as before"]++
		default:
			t.Fatalf("round %d: found %d bytes, %v", round, len(got), err)
		}
		for _, name := range names(t, dir) {
			if name == "m.gguf" {
				continue
			}
			counts["left behind"]++
			if !strings.HasPrefix(name, ".") || !strings.HasSuffix(name, ".partial") {
				t.Errorf("%s could be taken for a model", name)
			}
		}
		if b, err := quantizeCommandOf(source, out).CombinedOutput(); err != nil {
			t.Fatalf("the next run: %v\n%s", err, b)
		}
		if got, _ := os.ReadFile(out); !bytes.Equal(got, whole) {
			t.Error("the next run made another file")
		}
		if n := names(t, dir); len(n) != 1 {
			t.Errorf("after the next run: %v", n)
		}
	}
	t.Log(counts)
}

func names(t testing.TB, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}
