//go:build !unix

package atomicfile

import "os"

// lock does nothing: a file that is open cannot be removed here.
func lock(*os.File) error { return nil }

func isLocked(error) bool { return false }

func removeUnlocked(path string) { os.Remove(path) }

func outOfQuota(error) bool { return false }
