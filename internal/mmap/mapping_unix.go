//go:build linux || darwin

package mmap

import (
	"os"

	"golang.org/x/sys/unix"
)

func mapFile(f *os.File, size int) ([]byte, error) {
	data, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err == nil {
		preferLargePages(data)
	}
	return data, err
}

func unmap(data []byte) error { return unix.Munmap(data) }

func willNeed(pages []byte) { _ = unix.Madvise(pages, unix.MADV_WILLNEED) }
func dontNeed(pages []byte) { _ = unix.Madvise(pages, unix.MADV_DONTNEED) }
