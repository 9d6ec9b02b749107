package atomicfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMissingFoldersAreMadeAndOthersLeftAlone(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, path := range []string{filepath.Join(dir, "a", "b", "c"), "x/y/", "x/y", ".", dir, "x/../z"} {
		if err := MkdirAll(path, 0o755); err != nil {
			t.Error(err)
		}
		if info, err := os.Stat(path); err != nil || !info.IsDir() {
			t.Errorf("%s: %v", path, err)
		}
	}
	if got := folder(t, dir); got != "a x z" {
		t.Errorf("found %s", got)
	}
}

func TestAFileInTheWayOfAFolderIsSaid(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(file, "a"), filepath.Join(file, "a", "b")} {
		if err := MkdirAll(path, 0o755); err == nil || !strings.Contains(err.Error(), file+": it is a file") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestRemovingWhatIsNotThereIsNoError(t *testing.T) {
	if err := Remove(filepath.Join(t.TempDir(), "m")); err != nil {
		t.Error(err)
	}
}
