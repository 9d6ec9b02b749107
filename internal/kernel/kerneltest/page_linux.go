package kerneltest

import (
	"os"
	"syscall"
	"testing"
	"unsafe"
)

// BeforeForbiddenPage copies data to where the byte after it cannot be read, as
// at the end of a mapped file.
func BeforeForbiddenPage(t *testing.T, data []byte) []byte {
	t.Helper()
	page := os.Getpagesize()
	size := (len(data) + page - 1) / page * page
	m, err := syscall.Mmap(-1, 0, size+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Skipf("no mapping: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(m) })
	if err := syscall.Mprotect(m[size:], syscall.PROT_NONE); err != nil {
		t.Skipf("no protection: %v", err)
	}
	copied := m[size-len(data) : size : size]
	copy(copied, data)
	return copied
}

// FloatsBeforeForbiddenPage is n zeros there.
func FloatsBeforeForbiddenPage(t *testing.T, n int) []float32 {
	b := BeforeForbiddenPage(t, make([]byte, 4*n))
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), n)
}
