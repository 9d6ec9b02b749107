package bench

import (
	"os"

	"golang.org/x/sys/unix"
)

// evict lets the system forget what it keeps of the file in memory, so that it is read
// from the disk like a model that lies there: into large pages, where it has them.
func evict(path string) {
	f, err := os.Open(path)
	if err != nil {
		return // whoever maps it will say why
	}
	defer f.Close()
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}
