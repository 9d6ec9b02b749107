package imatrix

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"

	"qtool/gguf"
	"qtool/internal/input"
	"qtool/internal/printable"
)

// File is an imatrix whose entries are read when they are asked for: that of a model of
// many experts is larger than what its weights need.
type File struct {
	Header  *Matrix // everything but the entries
	path    string
	file    openFile
	entries map[string]func() (*Entry, error)
}

// openFile is the file of either form.
type openFile interface {
	io.Closer
	gguf.Source
}

// Open opens the imatrix at path, in either form. The caller closes it.
func Open(path string) (*File, error) {
	f, err := input.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening an imatrix: %w", err)
	}
	legacy, err := IsLegacy(f)
	if err == nil && !legacy {
		f.Close()
		return openGGUF(path)
	}
	lazy := &File{path: path, file: f, entries: map[string]func() (*Entry, error){}}
	if err == nil {
		err = lazy.index(f)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return lazy, nil
}

func openGGUF(path string) (*File, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	m, pairs, err := readHeader(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	lazy := &File{Header: m, path: path, file: f, entries: map[string]func() (*Entry, error){}}
	for _, p := range pairs {
		lazy.entries[p.name] = p.entry
	}
	return lazy, nil
}

// index finds the entries of the legacy form.
func (f *File) index(file *input.File) (err error) {
	l := &legacyReader{r: bufio.NewReaderSize(io.NewSectionReader(file, 0, file.Size()), 64<<10), size: file.Size()}
	f.Header, err = l.parse(func(_ *Matrix, at legacyEntry) error {
		f.entries[at.name] = func() (*Entry, error) {
			data := make([]byte, 4*at.values)
			if _, err := file.ReadAt(data, at.offset); err != nil {
				return nil, fmt.Errorf("reading entry %s at offset %d: %w", printable.Quote(at.name), at.offset, err)
			}
			e := at.entry(data)
			return e, e.valid()
		}
		return l.skip(4 * at.values)
	})
	return err
}

// Len is the number of entries.
func (f *File) Len() int { return len(f.entries) }

// Names lists the weights that have an entry.
func (f *File) Names() []string { return slices.Sorted(maps.Keys(f.entries)) }

// Entry reads the entry of a weight; nil if it has none.
func (f *File) Entry(name string) (*Entry, error) {
	read, ok := f.entries[name]
	if !ok {
		return nil, nil
	}
	e, err := read()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, err)
	}
	return e, nil
}

// Weights reads the importance of each column of a weight; nil if it has no entry.
func (f *File) Weights(name string) ([]float32, error) {
	e, err := f.Entry(name)
	if e == nil || err != nil {
		return nil, err
	}
	return e.Weights(), nil
}

// Unchanged fails if the file is not what it was when it was opened.
func (f *File) Unchanged() error { return f.file.Unchanged() }

// Close closes the file; entries are not readable afterwards.
func (f *File) Close() error { return f.file.Close() }
