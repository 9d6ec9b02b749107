package atomicfile

import (
	"errors"
	"os"
	"syscall"
)

// allocate sets space aside for a file of n bytes. File systems that cannot are no error.
func allocate(f *os.File, n int64) error {
	const keepSize = 1 // FALLOC_FL_KEEP_SIZE
	err := syscall.Fallocate(int(f.Fd()), keepSize, 0, n)
	if full(err) || errors.Is(err, syscall.EFBIG) {
		return err
	}
	return nil
}

// writeBack starts writing n bytes from off on to the disk.
func writeBack(f *os.File, off, n int64) {
	const write = 2 // SYNC_FILE_RANGE_WRITE
	_ = syscall.SyncFileRange(int(f.Fd()), off, n, write)
}
