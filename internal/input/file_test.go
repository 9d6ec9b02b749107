package input

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAFileOfAtMostTheLimitIsRead(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "f"), "12345")
	if b, err := ReadFile(path, 5); err != nil || string(b) != "12345" {
		t.Errorf("got %q, %v", b, err)
	}
	if _, err := ReadFile(path, 4); !errors.Is(err, ErrTooLarge) {
		t.Errorf("5 bytes where 4 are allowed: %v", err)
	}
}

// A terabyte that takes no room is refused before memory is taken for it.
func TestASparseGiantIsRefusedByItsSize(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "f"), "")
	if err := os.Truncate(path, 1<<40); err != nil {
		t.Skip(err)
	}
	if _, err := ReadFile(path, 1<<20); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
}

// endless is a file that grows as fast as it is read.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestWhatGrowsWhileItIsReadEndsAtTheLimit(t *testing.T) {
	if _, err := ReadAll(endless{}, "growing", 3, 1<<16); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
}

func TestAFolderIsNoFile(t *testing.T) {
	if _, err := Open(t.TempDir()); !errors.Is(err, ErrNotRegular) {
		t.Error(err)
	}
}

func TestALinkToAFileIsFollowed(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "blob"), "text")
	if err := os.Symlink("blob", filepath.Join(dir, "link")); err != nil {
		t.Skip(err)
	}
	if b, err := ReadFile(filepath.Join(dir, "link"), 10); err != nil || string(b) != "text" {
		t.Errorf("%q, %v", b, err)
	}
	if b, err := fs.ReadFile(Folder(dir), "link"); err != nil || string(b) != "text" {
		t.Errorf("in a folder: %q, %v", b, err)
	}
}

func TestEveryChangeOfAnOpenFileIsSeen(t *testing.T) {
	later := time.Now().Add(time.Hour)
	for name, change := range map[string]func(path string) error{
		"longer":   func(p string) error { return os.WriteFile(p, []byte("12345678"), 0o600) },
		"shorter":  func(p string) error { return os.Truncate(p, 1) },
		"as long":  func(p string) error { return os.Chtimes(p, later, later) },
		"gone":     os.Remove,
		"a folder": func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o700)) },
		"replaced": func(p string) error {
			info, err := os.Stat(p)
			if err != nil {
				return err
			}
			return errors.Join(os.WriteFile(p+"2", []byte("54321"), 0o600),
				os.Chtimes(p+"2", info.ModTime(), info.ModTime()), os.Rename(p+"2", p))
		},
	} {
		path := write(t, filepath.Join(t.TempDir(), "f"), "12345")
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := f.Unchanged(); err != nil {
			t.Errorf("%s, before: %v", name, err)
		}
		if err := change(path); err != nil {
			t.Fatal(name, err)
		}
		if err := f.Unchanged(); !errors.Is(err, ErrChanged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestACountIsFromTheLeastToTheLimit(t *testing.T) {
	twelve := Limit{12, "the file has 12 tensors"}
	for n, fits := range map[int64]bool{-1: false, 0: false, 1: true, 12: true, 13: false, 1<<32 - 1: false, 1 << 62: false, -1 << 63: false} {
		got, err := Count("layers", n, 1, twelve)
		if (err == nil) != fits || err != nil && !errors.Is(err, ErrCount) || err == nil && int64(got) != n {
			t.Errorf("%d: %d, %v", n, got, err)
		}
	}
	if _, err := Count("layers", uint64(1<<63), 0, MostInt32()); !errors.Is(err, ErrCount) {
		t.Error(err)
	}
}
