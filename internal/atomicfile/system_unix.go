//go:build unix

package atomicfile

import (
	"errors"
	"os"
	"syscall"
)

// lock marks f as being written, until it is closed or the process ends.
func lock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }

// isLocked reports whether lock failed because another process has the lock; not every
// file system has locks.
func isLocked(err error) bool { return errors.Is(err, syscall.EWOULDBLOCK) }

// removeUnlocked removes the file at path unless it is being written.
func removeUnlocked(path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	if lock(f) == nil {
		os.Remove(path)
	}
}

func outOfQuota(err error) bool { return errors.Is(err, syscall.EDQUOT) }
