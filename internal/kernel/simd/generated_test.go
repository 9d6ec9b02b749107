package simd

import (
	"bytes"
	"io/fs"
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
	if out, err := exec.Command(tool, "run", "../_asm", dir).CombinedOutput(); err != nil {
		t.Fatalf("cannot run the generator: %v\n%s", err, out)
	}
	printed := 0
	err = fs.WalkDir(os.DirFS(dir), ".", func(path string, file fs.DirEntry, err error) error {
		if err != nil || file.IsDir() {
			return err
		}
		printed++
		want, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			return err
		}
		if got, err := os.ReadFile(filepath.Join("..", path)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs from what the generator prints; run go generate ./internal/kernel/simd (%v)", path, err)
		}
		return nil
	})
	if err != nil || printed == 0 {
		t.Fatalf("the generator printed %d files: %v", printed, err)
	}
}
