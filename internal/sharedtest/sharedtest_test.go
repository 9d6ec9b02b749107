package sharedtest

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// What lies in the repository is a copy.
func TestReferenceDataInTheRepositoryAreThoseBesideIt(t *testing.T) {
	local := os.DirFS(filepath.Join(folder(), "testdata"))
	files := 0
	err := fs.WalkDir(local, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		files++
		got, err := fs.ReadFile(local, name)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, Read(t, name)) {
			t.Errorf("%s is another file in the reference data", name)
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Fatal(files, err)
	}
}

func TestWithoutReferenceDataThoseInTheRepositoryAreTaken(t *testing.T) {
	for _, root := range []string{"none", t.TempDir()} {
		t.Setenv("QTOOL_SHARED", root)
		if got, want := Path(t, "golden/archs/llama.gguf"), filepath.Join(folder(), "testdata", "golden", "archs", "llama.gguf"); got != want {
			t.Errorf("QTOOL_SHARED=%s: %s", root, got)
		}
		if t.Run("missing", func(t *testing.T) { Path(t, "golden/none"); t.Error("not skipped") }); t.Failed() {
			t.Errorf("QTOOL_SHARED=%s", root)
		}
	}
}
