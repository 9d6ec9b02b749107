package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/adapt"
	"qtool/internal/model"
)

// everyFlip flips one bit of each stride-th byte of the file at path, another one each
// time, and asks verify about it.
func everyFlip(t *testing.T, path string, stride int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	verify := func() int {
		return run(t.Context(), []string{"verify", "--quiet", path}, &bytes.Buffer{}, io.Discard, io.Discard)
	}
	if code := verify(); code != exitDone {
		t.Fatalf("the whole file: exit code %d", code)
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for i := 0; i < len(b); i += stride {
		bit := byte(1) << (i / stride % 8)
		if _, err := file.WriteAt([]byte{b[i] ^ bit}, int64(i)); err != nil {
			t.Fatal(err)
		}
		if code := verify(); code != exitInvalid {
			t.Errorf("byte %d of %d, after %q, with bit %#x flipped: exit code %d", i, len(b), b[max(0, i-24):i], bit, code)
		}
		if _, err := file.WriteAt(b[i:i+1], int64(i)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVerifyFindsEveryFlippedBitOfAnAdapter(t *testing.T) {
	d, err := model.Load(tiny(fixtures.Shape{}), model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := adapt.New(d, adapt.Config{Rank: 1, Alpha: 2, Targets: []string{"attn_k", "ffn_up"}, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "a.gguf")
	if err := a.WriteFile(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	everyFlip(t, path, strideOf(1, 7))
}

func TestVerifyFindsEveryFlippedBitOfAModelWithHashes(t *testing.T) {
	dir := t.TempDir()
	source, path := filepath.Join(dir, "m.gguf"), filepath.Join(dir, "h.gguf")
	if err := gguf.WriteFile(context.Background(), source, tiny(fixtures.Shape{Untied: true})); err != nil {
		t.Fatal(err)
	}
	if code := run(t.Context(), []string{"quantize", "--quiet", "--type", "Q8_0", "--hashes", source, path}, &bytes.Buffer{}, io.Discard, io.Discard); code != exitDone {
		t.Fatalf("exit code %d", code)
	}
	everyFlip(t, path, strideOf(29, 211)) // of all bits in package gguf
}

// strideOf is short in short tests.
func strideOf(normal, short int) int {
	if testing.Short() {
		return short
	}
	return normal
}
