package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

func create(t *testing.T, path, content string) *File {
	t.Helper()
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	return f
}

// folder lists the names in dir.
func folder(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func content(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}

func TestNothingHasTheNameBeforeCommit(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.gguf")
	f := create(t, path, "new")
	if name := folder(t, dir); !strings.HasPrefix(name, ".m.gguf.") || !strings.HasSuffix(name, Suffix) {
		t.Errorf("while writing: %s", name)
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	f.Abort()
	if folder(t, dir) != "m.gguf" || content(path) != "new" {
		t.Errorf("after: %s, %q", folder(t, dir), content(path))
	}
}

func TestCommitReplacesAndKeepsPermissions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := create(t, path, "new")
	if content(path) != "old" {
		t.Error("replaced before Commit")
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || content(path) != "new" {
		t.Fatalf("%q, %v", content(path), err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("permissions became %v", info.Mode())
	}
}

func TestAbortLeavesEverythingAsItWas(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	f := create(t, path, "new")
	f.Abort()
	f.Abort()
	if folder(t, dir) != "m" || content(path) != "old" {
		t.Errorf("%s, %q", folder(t, dir), content(path))
	}
	if _, err := f.Write(nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Write after Abort: %v", err)
	}
	if err := f.Commit(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Commit after Abort: %v", err)
	}
}

func TestTheTargetOfALinkIsReplaced(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.WriteFile(target, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Skip(err)
	}
	if err := create(t, link, "new").Commit(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(link)
	if err != nil || info.Mode()&fs.ModeSymlink == 0 || content(target) != "new" {
		t.Errorf("%v, %q", info.Mode(), content(target))
	}
}

func TestErrorsSayWhatIsWrongWithThePath(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for path, says := range map[string]string{
		filepath.Join(dir, "none", "m"): "does not exist; create it first",
		filepath.Join(file, "m"):        "is a file, not a folder",
		dir:                             "that is a folder",
		os.DevNull:                      "no regular file",
	} {
		if _, err := Create(path); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: expected %q in: %v", path, says, err)
		}
	}
	if got := folder(t, dir); got != "file" {
		t.Errorf("left behind: %s", got)
	}
}

func TestAReadOnlyFolderIsSaidToBeOne(t *testing.T) {
	dir := t.TempDir()
	for _, cause := range []error{fs.ErrPermission, syscall.EROFS} {
		if err := folderError(dir, cause); !errors.Is(err, cause) || !strings.Contains(err.Error(), "read-only") {
			t.Error(err)
		}
	}
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	f, err := Create(filepath.Join(dir, "m"))
	if err == nil {
		f.Abort()
		t.Skip("this user may write to read-only folders")
	}
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "read-only") {
		t.Error(err)
	}
}

func TestAFailedCommitLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m")
	f := create(t, path, "new")
	if err := os.MkdirAll(filepath.Join(path, "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); err == nil {
		t.Error("a folder was replaced")
	}
	if got := folder(t, dir); got != "m" {
		t.Errorf("left behind: %s", got)
	}
}

func TestWhatAKilledProcessLeftGoesWithTheNextFileOfTheSameName(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.gguf")
	stale := filepath.Join(dir, ".m.gguf.0123abcd"+Suffix)
	others := []string{".other.gguf.0123abcd" + Suffix, ".m.gguf.notes" + Suffix, "m.gguf.0123abcd" + Suffix}
	for _, p := range append([]string{filepath.Base(stale)}, others...) {
		if err := os.WriteFile(filepath.Join(dir, p), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if old := time.Now().Add(-25 * time.Hour); os.Chtimes(stale, old, old) != nil { // matters where nothing is locked
		t.Fatal("its time cannot be set")
	}
	first := create(t, path, "first")
	if _, err := os.Stat(stale); err == nil {
		t.Error("it is still there")
	}
	second := create(t, path, "second") // must leave the first alone
	if err := first.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := second.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := folder(t, dir); got != ".m.gguf.notes.partial .other.gguf.0123abcd.partial m.gguf m.gguf.0123abcd.partial" || content(path) != "second" {
		t.Errorf("%s, %q", got, content(path))
	}
}

func TestReservedSpaceIsNotPartOfTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m")
	f := create(t, path, "new")
	if err := f.Reserve(1 << 20); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); err != nil || content(path) != "new" {
		t.Errorf("%q, %v", content(path), err)
	}
	if err := f.Reserve(1); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Commit: %v", err)
	}
}
