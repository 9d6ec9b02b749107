package atomicfile

import (
	"os"
	"syscall"
)

// beginWriteBack starts writing n bytes from off on to the disk, and waits for none. It
// is a hint: what fails here fails again in Sync.
func beginWriteBack(f *os.File, off, n int64) {
	const write = 2 // SYNC_FILE_RANGE_WRITE
	_ = syscall.SyncFileRange(int(f.Fd()), off, n, write)
}
