package safetensors

import (
	"errors"
	"fmt"
	"io"

	"qtool/internal/mmap"
)

// Tensor is one named tensor. Shape is in the order of the file: the last axis
// varies fastest.
type Tensor struct {
	Name  string
	DType DType
	Shape []int
	// Data gives the tensor's bytes, little-endian, from offset 0 to Size. If it
	// is also an io.WriterTo, writers stream through that. It may also be a [Viewer].
	Data io.ReaderAt
}

// Viewer is data that may lie in memory as it is; package gguf uses the same method.
type Viewer interface {
	// Bytes is all of the data without a copy; nil if it cannot be had so now. It must not
	// be written to, and is gone when the file is closed.
	Bytes() []byte
}

// Size is the number of bytes of the tensor; 0 if shape and type give none.
func (t *Tensor) Size() int64 {
	n, err := t.DType.Size(t.Shape)
	if err != nil {
		return 0
	}
	return n
}

// Bytes returns the tensor's bytes: a view of the mapping where there is one,
// which must not be written to and dies with the file, else a fresh copy.
func (t *Tensor) Bytes() ([]byte, error) {
	if v, ok := t.Data.(Viewer); ok {
		if b := v.Bytes(); b != nil {
			return b, nil
		}
	}
	b := make([]byte, t.Size())
	if n, err := t.Data.ReadAt(b, 0); n < len(b) {
		return nil, fmt.Errorf("reading tensor %q: got %d of %d bytes: %w", t.Name, n, len(b), err)
	}
	return b, nil
}

// section is the part of a file that holds one tensor.
type section struct {
	r         io.ReaderAt
	off, size int64
	mapping   *mmap.Mapping // the same file as r, nil if it is read instead
}

var _ Viewer = (*section)(nil)

// ReadAt fails with io.ErrUnexpectedEOF, not io.EOF, where the file ends early:
// it was longer when its header was checked.
func (s *section) ReadAt(p []byte, off int64) (int, error) {
	n, err := io.NewSectionReader(s.r, s.off, s.size).ReadAt(p, off)
	if errors.Is(err, io.EOF) && n < len(p) && off+int64(n) < s.size {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Bytes is a view of the mapping; nil without one, or if the file is closed or
// has become shorter.
func (s *section) Bytes() []byte {
	if s.mapping == nil {
		return nil
	}
	all := s.mapping.Bytes()
	if all == nil || !s.mapping.Intact() {
		return nil
	}
	return all[s.off : s.off+s.size : s.off+s.size]
}
