package atomicfile

import (
	"os"
	"path/filepath"
	"runtime"
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

func TestWhetherAFolderCanBeMadeIsKnownWithoutMakingIt(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, reason := range map[string]string{
		dir: "", filepath.Join(dir, "a"): "", filepath.Join(dir, "a", "b", "c"): "",
		file: file + " is a file", filepath.Join(file, "a"): file + " is a file",
	} {
		err := CheckMkdirAll(path)
		if (err == nil) != (reason == "") || err != nil && !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := CheckMkdirAll("/proc/run"); runtime.GOOS == "linux" && os.Getuid() != 0 && err == nil {
		t.Error("a folder in /proc")
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Error(names, err)
	}
}
