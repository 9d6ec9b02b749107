package main

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/usage"
)

func TestWorkThatDoesNotFitOnTheDiskIsRefused(t *testing.T) {
	dir := t.TempDir()
	_, free, ok := freeSpace(dir)
	if !ok {
		t.Skip("this system does not tell what is free")
	}
	path := filepath.Join(dir, "not", "there", "yet.gguf")
	if err := checkSpace(need{path, 1}); err != nil {
		t.Error(err)
	}
	for name, needs := range map[string][]need{
		"one file":  {{path, math.MaxInt64}},
		"together":  {{path, free/2 + free/4}, {filepath.Join(dir, "x"), free/2 + free/4}},
		"overflows": {{path, math.MaxInt64}, {path, math.MaxInt64}},
	} {
		if err := checkSpace(needs...); err == nil || !strings.Contains(err.Error(), "free some space") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestModelsOfSeveralShardsAreCheckedAsAWhole(t *testing.T) {
	dir := t.TempDir()
	shard := filepath.Join(dir, "m-00002-of-00003.gguf")
	if err := os.WriteFile(shard, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	m := tiny(fixtures.Shape{Untied: true})
	err := checkModel([]string{shard}, filepath.Join(dir, "m.gguf"), m, []gguf.WriteOption{gguf.WithSplitTensors(8)})
	if !errors.Is(err, usage.Err) {
		t.Errorf("a shard is an input: %v", err)
	}
}
