//go:build !unix

package atomicfile

import (
	"os"
	"time"
)

// renamesOpen says that a file has to be closed before it is renamed or removed.
const renamesOpen = false

// staleAge is how old a temporary file that is not open must be to be removed. One that
// has just been closed is about to be renamed.
const staleAge = 24 * time.Hour

// lock does nothing: a file that is open cannot be removed here.
func lock(*os.File) (taken bool) { return false }

// hold does nothing: folders have no locks here.
func hold(string) (release func()) { return func() {} }

// removeUnlocked removes the file at path if it was left long ago and nobody writes it.
func removeUnlocked(s System, path string) {
	if info, err := os.Lstat(path); err == nil && time.Since(info.ModTime()) > staleAge {
		_ = s.Remove(path)
	}
}

// touch makes a file that is to be closed and renamed look new, since it may have been
// written long before that.
func touch(path string) error {
	now := time.Now()
	return os.Chtimes(path, now, now)
}

// syncFolder does nothing where folders cannot be opened: the rename itself is
// recorded in the file system's journal.
func syncFolder(string) error { return nil }

func outOfQuota(error) bool { return false }

// writable asks nothing: only making a file tells.
func writable(string) error { return nil }
