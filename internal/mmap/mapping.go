package mmap

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime/debug"
	"sync/atomic"
)

// ErrShrunk is in the chain of errors about a file that lost bytes while it was
// mapped.
var ErrShrunk = errors.New("the file was cut short while it was in use")

// Mapping is the content of a file as memory. The file stays the caller's: it
// must be open while the mapping is in use, and is closed by the caller.
//
// A mapped file that another process truncates cannot be read any more past its
// new end: [Mapping.ReadAt] reports that as [ErrShrunk], but touching a slice of
// [Mapping.Bytes] there is a fault, which stops the program or is a panic that [Lost]
// knows. [Mapping.Intact] tells beforehand, at the price of one system call.
type Mapping struct {
	file   *os.File
	data   []byte
	closed atomic.Bool
}

// Map maps the first size bytes of f. It fails if f is shorter than that.
func Map(f *os.File, size int64) (*Mapping, error) {
	if size < 0 || size > math.MaxInt {
		return nil, fmt.Errorf("mapping %s: %d bytes do not fit the address space", f.Name(), size)
	}
	m := &Mapping{file: f}
	if !m.reaches(size) {
		return nil, fmt.Errorf("mapping %s: expected %d bytes: %w", f.Name(), size, ErrShrunk)
	}
	if size == 0 {
		return m, nil
	}
	data, err := mapFile(f, int(size))
	if err != nil {
		return nil, fmt.Errorf("mapping %s: %w", f.Name(), err)
	}
	m.data = data
	mappings.add(f.Name(), data)
	return m, nil
}

// Bytes is the mapped content, which must not be written to and is gone after
// Close; nil then.
func (m *Mapping) Bytes() []byte {
	if m.closed.Load() {
		return nil
	}
	return m.data
}

// Intact reports whether the file still has every byte that was mapped.
func (m *Mapping) Intact() bool { return m.reaches(int64(len(m.data))) }

func (m *Mapping) reaches(size int64) bool {
	info, err := m.file.Stat()
	return err == nil && info.Size() >= size
}

// ReadAt copies from the mapping. Unlike a view of [Mapping.Bytes] it survives
// a file that shrinks, with [ErrShrunk].
func (m *Mapping) ReadAt(p []byte, off int64) (n int, err error) {
	if m.closed.Load() {
		return 0, os.ErrClosed
	}
	if off < 0 {
		return 0, fmt.Errorf("reading %s at the negative offset %d", m.file.Name(), off)
	}
	if off >= int64(len(m.data)) {
		return 0, io.EOF
	}
	src := m.data[off:]
	if len(src) > len(p) {
		src = src[:len(p)]
	}
	if !m.reaches(off + int64(len(src))) {
		return 0, shrunk(m.file.Name(), off)
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			if n, err = 0, Lost(r); err == nil {
				panic(r)
			}
		}
	}()
	n = copy(p, src)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// ReadCached fills p from off on with what the system has in its cache, and reports whether it
// could; if not, p holds nothing of use. For what is used once, copying costs less than
// page tables for small pages do. What is still on the disk is better read by way of [Mapping.Bytes], which
// may bring it in as large pages.
func (m *Mapping) ReadCached(p []byte, off int64) bool {
	size := int64(len(m.data))
	if m.closed.Load() || off < 0 || off > size || int64(len(p)) > size-off {
		return false
	}
	return m.readCached(p, off)
}

// WillNeed asks the system to begin reading n bytes at off. It is a hint:
// ranges outside the mapping are clipped and failures do not matter.
func (m *Mapping) WillNeed(off, n int64) {
	lo, hi := m.clip(off, n)
	page := os.Getpagesize()
	lo -= lo % page // the neighbours on the same page come along anyway
	if lo < hi && !m.closed.Load() {
		willNeed(m.data[lo:hi])
	}
}

// DontNeed tells the system that n bytes at off will not be used soon, so that
// their pages are the first to leave memory. Pages shared with other bytes stay.
func (m *Mapping) DontNeed(off, n int64) {
	lo, hi := m.clip(off, n)
	page := os.Getpagesize()
	lo = (lo + page - 1) / page * page
	if hi < len(m.data) {
		hi -= hi % page
	}
	if lo < hi && !m.closed.Load() {
		dontNeed(m.data[lo:hi])
	}
}

func (m *Mapping) clip(off, n int64) (lo, hi int) {
	size := int64(len(m.data))
	off = min(max(off, 0), size)
	n = min(max(n, 0), size-off)
	return int(off), int(off + n)
}

// Close removes the mapping. A second call does nothing.
func (m *Mapping) Close() error {
	if m.closed.Swap(true) || len(m.data) == 0 {
		return nil
	}
	return unmap(m.data)
}
