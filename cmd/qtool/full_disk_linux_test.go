package main

import (
	"bytes"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestAFullDiskIsAClearErrorAndNothingIsLeft(t *testing.T) {
	source, whole, _ := sizeableFile(t)
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=512k"); err != nil {
		t.Skipf("no small disk can be mounted: %v", err)
	}
	defer syscall.Unmount(dir, 0)
	if len(whole) < 1<<20 {
		t.Fatalf("the model of %d bytes would fit", len(whole))
	}
	out := filepath.Join(dir, "m.gguf")
	var stdout, stderr bytes.Buffer
	cmd := quantizeCommandOf(source, out)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	exit := (*exec.ExitError)(nil)
	if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != exitFailed {
		t.Errorf("%v, expected exit code %d", err, exitFailed)
	}
	for _, part := range []string{out, dir + " is on has 512.0 KiB free", "free some space"} {
		if !strings.Contains(stderr.String(), part) {
			t.Errorf("expected %q in: %s", part, stderr.String())
		}
	}
	if n := names(t, dir); len(n) > 0 {
		t.Errorf("left behind: %v", n)
	}
}
