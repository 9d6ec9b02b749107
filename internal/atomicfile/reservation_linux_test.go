package atomicfile

import (
	"bytes"
	"errors"
	"path/filepath"
	"syscall"
	"testing"
)

func TestReservedSpaceIsThereForTheFileAndForNothingElse(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("no small disk can be mounted: %v", err)
	}
	defer syscall.Unmount(dir, 0)
	path, large := filepath.Join(dir, "m"), bytes.Repeat([]byte{1}, 700_000)
	r, err := Reserve(path, int64(len(large)))
	if err != nil {
		t.Fatal(err)
	}
	if got := folder(t, dir); got != "" {
		t.Errorf("a killed process would leave %s", got)
	}
	if err := writeWhole(filepath.Join(dir, "other"), large); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("another file took the space: %v", err)
	}
	if _, err := Reserve(path, int64(len(large))); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the same space was reserved twice: %v", err)
	}
	r.Release()
	r.Release()
	if err := writeWhole(path, large); err != nil {
		t.Error(err)
	}
	if got := folder(t, dir); got != "m" {
		t.Errorf("left behind: %s", got)
	}
}
