package kernel

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestGeneratedFilesAreWhatTheGeneratorPrints(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the Go tool")
	}
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	if out, err := exec.Command(tool, "run", "./_asm", dir).CombinedOutput(); err != nil {
		t.Fatalf("cannot run the generator: %v\n%s", err, out)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) == 0 {
		t.Fatalf("the generator printed %d files: %v", len(files), err)
	}
	for _, f := range files {
		want, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(f.Name()); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs from what the generator prints; run go generate ./internal/kernel (%v)", f.Name(), err)
		}
	}
}
