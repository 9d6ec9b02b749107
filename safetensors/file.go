package safetensors

import (
	"io"
	"os"
)

// File is a parsed safetensors file. Tensor data is read on demand.
type File struct {
	// Path is "" if the file was parsed from a reader.
	Path string
	// Metadata is the `__metadata__` map; nil if the file has none.
	Metadata map[string]string

	tensors []*Tensor
	index   map[string]*Tensor
	close   func() error
}

// Parse reads the header of a file of size bytes and checks all of it: limits,
// names, types, shapes, and that the tensors cover the rest of the file without
// hole or overlap. Errors about the bytes match [ErrFormat]. r must stay
// readable as long as tensors are used.
func Parse(r io.ReaderAt, size int64) (*File, error) { return parse("", r, size) }

// Open maps the file at path, or reads it through ReadAt where the platform has
// no mapping, and parses it. The caller closes it.
func Open(path string) (*File, error) {
	r, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	st, err := r.Stat()
	if err != nil {
		r.Close()
		return nil, err
	}
	f, err := parse(path, r, st.Size())
	if err != nil {
		r.Close()
		return nil, err
	}
	f.close = r.Close
	return f, nil
}

func parse(path string, r io.ReaderAt, size int64) (*File, error) {
	h, dataStart, err := readHeader(path, r, size)
	if err != nil {
		return nil, err
	}
	if err := h.checkCover(path, size-dataStart); err != nil {
		return nil, err
	}
	f := &File{Path: path, Metadata: h.metadata, index: make(map[string]*Tensor, len(h.entries))}
	for i := range h.entries {
		e := &h.entries[i]
		t := &Tensor{Name: e.name, DType: e.dtype, Shape: e.shape, Data: newSection(r, dataStart+e.begin, e.end-e.begin)}
		f.tensors = append(f.tensors, t)
		f.index[t.Name] = t
	}
	return f, nil
}

// Tensors lists the tensors in the order of their data. The slice must not be changed.
func (f *File) Tensors() []*Tensor { return f.tensors }

// Tensor finds a tensor by name.
func (f *File) Tensor(name string) (*Tensor, bool) {
	t, ok := f.index[name]
	return t, ok
}

// Close releases the mapping. Views of tensor bytes die with it.
func (f *File) Close() error {
	if f.close == nil {
		return nil
	}
	return f.close()
}
