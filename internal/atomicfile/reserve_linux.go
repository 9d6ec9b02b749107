package atomicfile

import (
	"errors"
	"os"
	"syscall"
)

// reserve sets space aside for a file of n bytes. File systems that cannot are no error.
func reserve(f *os.File, n int64) error {
	const keepSize = 1 // FALLOC_FL_KEEP_SIZE
	err := syscall.Fallocate(int(f.Fd()), keepSize, 0, n)
	if full(err) || errors.Is(err, syscall.EFBIG) {
		return err
	}
	return nil
}
