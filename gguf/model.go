package gguf

import (
	"fmt"
	"io"
)

// Model is anything that holds tensors: metadata plus named tensors whose bytes
// are read on demand.
type Model interface {
	// Metadata is shared; callers that change it clone it first.
	Metadata() *Metadata
	// Tensors lists the tensors in file order. The slice must not be changed.
	Tensors() []*Tensor
	// Tensor finds a tensor by name.
	Tensor(name string) (*Tensor, bool)
	Source
}

// Source is what data was read from, or is.
type Source interface {
	// Unchanged fails if a file that the data comes from is not what it was when it was
	// opened, so that what was read before and what was read since do not belong together.
	Unchanged() error
}

// Tensor is one named tensor. Shape is in ggml order: Shape[0] is the length of
// a row, the axis that varies fastest.
type Tensor struct {
	Name  string
	Type  Type
	Shape []int
	// Data gives the tensor's bytes, little-endian, from offset 0 to Size, also to
	// several goroutines at once. It may also be a [Viewer], [Adviser], [PartAdviser] or
	// [CachedReader].
	Data io.ReaderAt
	// RawSize is the number of bytes where Type is unknown and the size cannot
	// be computed; ignored otherwise.
	RawSize int64
}

// Elements is the product of the shape.
func (t *Tensor) Elements() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Rows is the number of rows of Shape[0] elements.
func (t *Tensor) Rows() int {
	n := 1
	for _, d := range t.Shape[min(1, len(t.Shape)):] {
		n *= d
	}
	return n
}

// RowBytes is the number of bytes of one row; 0 if the type is unknown.
func (t *Tensor) RowBytes() int64 {
	if len(t.Shape) == 0 {
		return int64(t.Type.BlockBytes())
	}
	n, err := t.Type.RowSize(t.Shape[0])
	if err != nil {
		return 0
	}
	return n
}

// Size is the number of bytes of the tensor.
func (t *Tensor) Size() int64 {
	if !t.Type.Known() {
		return t.RawSize
	}
	return int64(t.Rows()) * t.RowBytes()
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

// Viewed reports whether [Tensor.Bytes] is a view, for which no memory is taken.
func (t *Tensor) Viewed() bool {
	_, ok := t.Data.(Viewer)
	return ok
}

// WillNeed is a hint that the tensor's bytes are about to be used, so that a
// mapped file begins to read them. It does nothing where the data is no [Adviser].
func (t *Tensor) WillNeed() {
	if d, ok := t.Data.(Adviser); ok {
		d.WillNeed()
	}
}

// WillNeedPart is WillNeed for n bytes at off, where the data is a [PartAdviser].
func (t *Tensor) WillNeedPart(off, n int64) {
	if d, ok := t.Data.(PartAdviser); ok {
		d.WillNeedPart(off, n)
	}
}

// DontNeed is a hint that the tensor's bytes will not be used soon, so that a
// mapped file gives their memory back. Views stay valid and are read again on
// use. It does nothing where the data is no [Adviser].
func (t *Tensor) DontNeed() {
	if d, ok := t.Data.(Adviser); ok {
		d.DontNeed()
	}
}

// DontNeedPart is DontNeed for n bytes at off, where the data is a [PartAdviser].
func (t *Tensor) DontNeedPart(off, n int64) {
	if d, ok := t.Data.(PartAdviser); ok {
		d.DontNeedPart(off, n)
	}
}

// SameShape compares shapes; trailing dimensions of 1 make no difference.
func SameShape(a, b []int) bool {
	for i := range max(len(a), len(b)) {
		x, y := 1, 1
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			return false
		}
	}
	return true
}

// Assemble makes a Model of metadata and tensors. from are the models and files that it is
// made of: it is unchanged as long as they are. Names must be unique; it panics otherwise,
// since a caller that builds names owns that rule.
func Assemble(md *Metadata, tensors []*Tensor, from ...Source) Model {
	a := &assembled{md: md, tensors: tensors, index: make(map[string]*Tensor, len(tensors)), from: from}
	for _, t := range tensors {
		if _, dup := a.index[t.Name]; dup {
			panic("gguf: two tensors are named " + t.Name)
		}
		a.index[t.Name] = t
	}
	return a
}

type assembled struct {
	md      *Metadata
	tensors []*Tensor
	index   map[string]*Tensor
	from    []Source
}

func (a *assembled) Unchanged() error {
	for _, s := range a.from {
		if err := s.Unchanged(); err != nil {
			return err
		}
	}
	return nil
}

func (a *assembled) Metadata() *Metadata { return a.md }
func (a *assembled) Tensors() []*Tensor  { return a.tensors }
func (a *assembled) Tensor(name string) (*Tensor, bool) {
	t, ok := a.index[name]
	return t, ok
}

// Memory is tensor data held in memory.
type Memory []byte

var _ Viewer = Memory(nil)

// ReadAt copies from the held bytes.
func (m Memory) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= int64(len(m)) {
		return 0, io.EOF
	}
	n := copy(p, m[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Bytes is the held slice itself.
func (m Memory) Bytes() []byte { return m }
