//go:build unix

package atomicfile

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// renamesOpen says that a file can be renamed and removed while it is open. So a
// temporary file is locked until it has its own name, and nobody takes it for stale.
const renamesOpen = true

// lock locks f and reports whether another process has the lock. Where the file system
// has no locks nothing is locked, and nothing is ever taken for stale.
func lock(f *os.File) (taken bool) { return errors.Is(flock(f, syscall.LOCK_NB), syscall.EWOULDBLOCK) }

func flock(f *os.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|how); err != syscall.EINTR {
			return err
		}
	}
}

// hold waits until no other process has the lock of a file or folder, and takes it.
func hold(path string) (release func()) {
	f, err := os.Open(path)
	if err != nil {
		return func() {}
	}
	_ = flock(f, 0) // not every file system can
	return func() { f.Close() }
}

// removeUnlocked removes the file at path unless it is being written.
func removeUnlocked(s System, path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	if flock(f, syscall.LOCK_NB) == nil {
		_ = s.Remove(path)
	}
}

// syncFolder makes a rename survive a power cut. Some file systems cannot sync
// folders and say so with EINVAL or ENOTSUP; they have nothing to make durable.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil
	}
	return err
}

// touch is not needed where files are locked.
func touch(string) error { return nil }

func outOfQuota(err error) bool { return errors.Is(err, syscall.EDQUOT) }

// writable is the reason why this user can make nothing in dir, as far as permissions say.
func writable(dir string) error { return unix.Access(dir, unix.W_OK|unix.X_OK) }
