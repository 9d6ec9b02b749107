package mmap

import "golang.org/x/sys/unix"

// preferLargePages asks for pages of 2 MB where the file is still to be read and its file
// system can: weights are read through and through, and each small page is another
// walk through the page tables.
func preferLargePages(data []byte) { _ = unix.Madvise(data, unix.MADV_HUGEPAGE) }
