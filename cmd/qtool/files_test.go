package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestOutputAmongTheFilesOfAFolderIsRefused(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "model [v1]*")
	inside, outside := filepath.Join(folder, "model.safetensors"), filepath.Join(filepath.Dir(folder), "other")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Skip("this system has no such names: ", err)
	}
	for _, path := range []string{inside, outside} {
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := checkOutput(inside, folder); !errors.Is(err, errUsage) {
		t.Errorf("an input as output: %v", err)
	}
	for _, path := range []string{outside, filepath.Join(folder, "new.gguf")} {
		if err := checkOutput(path, "", folder); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}
