package mmap

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"unsafe"
)

// Lost tells whether r, a recovered panic, is the fault of reading a mapping whose file
// has become shorter: it returns the error about that, which matches [ErrShrunk], or nil.
// Such a fault ends the program unless [debug.SetPanicOnFault] is on in the goroutine.
func Lost(r any) error {
	err, _ := r.(error)
	var fault interface{ Addr() uintptr }
	if !errors.As(err, &fault) {
		return nil
	}
	if name, off, ok := mappings.find(fault.Addr()); ok {
		return shrunk(name, off)
	}
	return nil
}

func shrunk(name string, off int64) error {
	return fmt.Errorf("reading %q at offset %d: %w; nothing may write to it meanwhile", name, off, ErrShrunk)
}

// mappings are those of this process. A fault is known by its address alone, wherever
// it happens, so that they belong to the whole program.
var mappings registry

// registry knows which file lies where. It remembers a mapping that was closed until
// another takes its place: whoever recovers a fault may have closed the file before.
type registry struct {
	mu     sync.Mutex
	ranges []mappedRange
}

type mappedRange struct {
	name       string
	start, end uintptr
}

// add makes f what lies at data.
func (r *registry) add(name string, data []byte) {
	start := uintptr(unsafe.Pointer(unsafe.SliceData(data)))
	end := start + uintptr(len(data))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ranges = slices.DeleteFunc(r.ranges, func(o mappedRange) bool { return o.start < end && start < o.end })
	r.ranges = append(r.ranges, mappedRange{name, start, end})
}

// find finds the file that lies at an address, and the offset in it.
func (r *registry) find(addr uintptr) (name string, off int64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.ranges {
		if o.start <= addr && addr < o.end {
			return o.name, int64(addr - o.start), true
		}
	}
	return "", 0, false
}
