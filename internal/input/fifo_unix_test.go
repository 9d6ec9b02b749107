//go:build unix

package input

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestWhatIsNoFileIsRefusedWithoutBeingOpened(t *testing.T) {
	dir := t.TempDir()
	fifo, socket, link := filepath.Join(dir, "fifo"), filepath.Join(dir, "socket"), filepath.Join(dir, "link")
	if err := errors.Join(syscall.Mkfifo(fifo, 0o600), os.Symlink(fifo, link)); err != nil {
		t.Skip(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Skip(err)
	}
	defer l.Close()
	for _, path := range []string{fifo, link, socket, "/dev/zero", "/dev/null"} {
		if _, err := ReadFile(path, 1<<10); !errors.Is(err, ErrNotRegular) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, name := range []string{"fifo", "link", "socket"} {
		if _, err := fs.ReadFile(Folder(dir), name); !errors.Is(err, ErrNotRegular) {
			t.Errorf("%s in a folder: %v", name, err)
		}
	}
}

// Files of /proc say that they are empty.
func TestAFileThatDoesNotKnowItsSizeIsReadToItsEnd(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip(err)
	}
	if b, err := ReadFile("/proc/self/status", 1<<20); err != nil || len(b) == 0 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}
