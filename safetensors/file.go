package safetensors

import (
	"errors"
	"fmt"
	"io"

	"qtool/internal/input"
	"qtool/internal/mmap"
)

// File is a parsed safetensors file. Tensor data is read on demand.
type File struct {
	// Path is "" if the file was parsed from a reader.
	Path string
	// Metadata is the `__metadata__` map; nil if the file has none.
	Metadata map[string]string

	tensors []*Tensor
	index   map[string]*Tensor
	file    *input.File   // nil if parsed from a reader
	mapping *mmap.Mapping // nil if the file is read instead
}

// Parse reads the header of a file of size bytes and checks all of it: limits,
// names, types, shapes, and that the tensors cover the rest of the file without
// hole or overlap. Errors about the bytes match [ErrFormat]. r must stay
// readable as long as tensors are used.
func Parse(r io.ReaderAt, size int64) (*File, error) { return parse("", r, size) }

// Open maps the file at path, or reads it through ReadAt where the platform has
// no mapping, and parses it. The caller closes it. The file must not be made
// shorter while it is open: reading what is gone fails, but a view from
// [Tensor.Bytes] that was taken before stops the program.
func Open(path string) (*File, error) {
	file, err := input.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening safetensors: %w", err)
	}
	f, err := openFile(path, file)
	if err != nil {
		file.Close()
		return nil, err
	}
	return f, nil
}

func openFile(path string, file *input.File) (*File, error) {
	f, err := parse(path, file, file.Size())
	if err != nil {
		return nil, err
	}
	f.file = file
	// Without a mapping everything works too, only slower.
	if f.mapping, _ = mmap.Map(file.File, file.Size()); f.mapping != nil {
		for _, t := range f.tensors {
			s := t.Data.(*section)
			s.r, s.mapping = f.mapping, f.mapping
		}
	}
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
		t := &Tensor{Name: e.name, DType: e.dtype, Shape: e.shape, Data: &section{r: r, off: dataStart + e.begin, size: e.end - e.begin}}
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

// Unchanged fails with [input.ErrChanged] if the file is not what it was when it was opened.
func (f *File) Unchanged() error {
	if f.file == nil {
		return nil
	}
	return f.file.Unchanged()
}

// Close releases the file. Views of tensor bytes die with it.
func (f *File) Close() error {
	var errs []error
	if f.mapping != nil {
		errs = append(errs, f.mapping.Close())
	}
	if f.file != nil {
		errs = append(errs, f.file.Close())
	}
	return errors.Join(errs...)
}
