package mmap

import (
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// readCached asks first and then reads without waiting: asked to read what is not in the
// cache, the system would begin to fetch it in small pages.
func (m *Mapping) readCached(p []byte, off int64) bool {
	if len(p) == 0 {
		return true
	}
	start := off - off%int64(os.Getpagesize())
	if !isCached(m.data[start : off+int64(len(p))]) {
		return false
	}
	n, err := unix.Preadv2(int(m.file.Fd()), [][]byte{p}, off, unix.RWF_NOWAIT)
	return err == nil && n == len(p)
}

// isCached reports whether mapped pages are in the cache.
func isCached(pages []byte) bool {
	size := os.Getpagesize()
	resident := make([]byte, (len(pages)+size-1)/size)
	_, _, err := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(unsafe.SliceData(pages))), uintptr(len(pages)),
		uintptr(unsafe.Pointer(unsafe.SliceData(resident))))
	return err == 0 && !slices.ContainsFunc(resident, func(r byte) bool { return r&1 == 0 })
}
