package gguf

import "io"

// A behind writer hands what it is given to another goroutine, so that tensors are
// computed while the file system copies those before them. Errors come late: with a
// later Write, or with Close.
type behind struct {
	part       []byte // being filled
	free, full chan []byte
	failed     chan struct{} // closed when err is set
	ended      chan struct{}
	err        error
}

// The parts, all of one size: large writes, at multiples of it.
const (
	behindParts    = 3
	behindPartSize = 1 << 20
)

// writeBehind makes a writer to dst. Close must be called, and ends its goroutine.
func writeBehind(dst io.Writer) *behind {
	b := &behind{
		free: make(chan []byte, behindParts), full: make(chan []byte, behindParts),
		failed: make(chan struct{}), ended: make(chan struct{}),
	}
	for range behindParts {
		b.free <- nil // made when it is needed: most files are small
	}
	go func(full <-chan []byte) { // Close takes b.full away
		defer close(b.ended)
		for part := range full {
			if b.err == nil {
				if _, b.err = dst.Write(part); b.err != nil {
					close(b.failed)
				}
			}
			b.free <- part[:0]
		}
	}(b.full)
	return b
}

// Write takes all of p, or fails with the error of an earlier part.
func (b *behind) Write(p []byte) (n int, err error) {
	for n < len(p) {
		select {
		case <-b.failed:
			return n, b.err
		default:
		}
		if b.part == nil {
			if b.part = <-b.free; b.part == nil {
				b.part = make([]byte, 0, behindPartSize)
			}
		}
		k := min(len(p)-n, cap(b.part)-len(b.part))
		b.part = append(b.part, p[n:n+k]...)
		n += k
		if len(b.part) == cap(b.part) {
			b.full <- b.part
			b.part = nil
		}
	}
	return n, nil
}

// Close writes the rest, waits for all of it and returns the first error. It may be
// called again.
func (b *behind) Close() error {
	if b.full != nil {
		if b.part != nil {
			b.full <- b.part
			b.part = nil
		}
		close(b.full)
		b.full = nil
	}
	<-b.ended
	return b.err
}
