package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"qtool/internal/input"
	"qtool/internal/mmap"
)

// File is an open GGUF file, or the files of a split model seen as one. It is a
// [Model]; its tensors' data can be read concurrently, until Close.
type File struct {
	Model
	version   int
	order     binary.ByteOrder
	alignment int
	paths     []string
	shards    []int // tensors of each file
	sources   []*source
	padding   []padding // of each file
}

// source is where a file's bytes come from.
type source struct {
	file    *input.File
	mapping *mmap.Mapping // nil if the file is read instead
}

// padding is what lies between header, tensors and the end of a file.
type padding struct {
	r         io.ReaderAt
	gaps      []extent
	misplaced string // see contents
}

// OpenOption changes how [Open] works.
type OpenOption func(*openOptions)

type openOptions struct{ noMapping, noData bool }

// WithoutMapping reads tensor data with system calls instead of mapping the
// file into memory.
func WithoutMapping() OpenOption { return func(o *openOptions) { o.noMapping = true } }

// WithoutData reads headers alone: tensors have no data that could be read, and the
// files may end behind their headers.
func WithoutData() OpenOption { return func(o *openOptions) { o.noMapping, o.noData = true, true } }

// absent is the data of a tensor that was opened without it.
type absent struct{}

func (absent) ReadAt([]byte, int64) (int, error) {
	return 0, errors.New("the model was opened without its data")
}

var _ Viewer = absent{}

// Bytes says that with its data the tensor would be a view.
func (absent) Bytes() []byte { return nil }

// Open opens a GGUF file. The first shard of a split model opens all of it: the
// result has every shard's tensors and no split.* keys. Tensor data stays in
// the file and is mapped into memory where the platform can.
//
// Errors about the content match [ErrFormat] and are a [*FormatError]. The file
// must not be made shorter while it is open: reading what is gone then fails,
// but touching a view from [Tensor.Bytes] that was taken before is a fault.
func Open(path string, opts ...OpenOption) (*File, error) {
	var o openOptions
	for _, opt := range opts {
		opt(&o)
	}
	s, c, err := openOne(path, o)
	if err != nil {
		return nil, err
	}
	f := newFile(c)
	f.paths, f.sources, f.padding = []string{path}, []*source{s}, []padding{{s.file, c.gaps, c.misplaced}}
	f.shards = []int{len(c.tensors)}
	if err := f.openShards(c, o); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Parse reads one GGUF file of size bytes from r, always through ReadAt. A
// shard of a split model is shown as it is.
func Parse(r io.ReaderAt, size int64) (*File, error) {
	c, err := parse(r, size, false)
	if err != nil {
		return nil, err
	}
	c.attach(func(e extent) io.ReaderAt { return io.NewSectionReader(r, e.off, e.size) })
	f := newFile(c)
	f.padding = []padding{{r, c.gaps, c.misplaced}}
	return f, nil
}

func newFile(c *contents) *File {
	return &File{Model: Assemble(c.metadata, c.tensors), version: c.version, order: c.order, alignment: c.alignment}
}

// openOne opens the file at path alone and parses it.
func openOne(path string, o openOptions) (*source, *contents, error) {
	file, err := input.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("opening a GGUF file: %w", err)
	}
	s := &source{file: file}
	c, err := s.parse(o)
	if err != nil {
		s.close()
		var bad *FormatError
		if errors.As(err, &bad) {
			bad.Path = path
			return nil, nil, bad
		}
		return nil, nil, fmt.Errorf("opening %s: %w", path, err)
	}
	return s, c, nil
}

func (s *source) parse(o openOptions) (*contents, error) {
	c, err := parse(s.file, s.file.Size(), o.noData)
	if err != nil {
		return nil, err
	}
	if !o.noMapping {
		// Without a mapping everything works too, only slower.
		s.mapping, _ = mmap.Map(s.file.File, s.file.Size())
	}
	if o.noData {
		c.attach(func(extent) io.ReaderAt { return absent{} })
		return c, nil
	}
	c.attach(s.data)
	return c, nil
}

func (s *source) data(e extent) io.ReaderAt {
	if s.mapping != nil {
		return &mapped{s.mapping, e}
	}
	return io.NewSectionReader(s.file, e.off, e.size)
}

func (s *source) close() error {
	var err error
	if s.mapping != nil {
		err = s.mapping.Close()
	}
	if e := s.file.Close(); err == nil && !errors.Is(e, fs.ErrClosed) {
		err = e
	}
	return err
}

// attach gives the tensors their data.
func (c *contents) attach(data func(extent) io.ReaderAt) {
	for i, t := range c.tensors {
		t.Data = data(c.extents[i])
		if c.order == binary.BigEndian {
			t.Data = littleEndianOf(t, t.Data)
		}
	}
}

// Version is the version of the format, 1 to 3.
func (f *File) Version() int { return f.version }

// ByteOrder is the order in the file. Metadata and tensor data are given in the
// machine's order and little-endian in any case.
func (f *File) ByteOrder() binary.ByteOrder { return f.order }

// Alignment is the alignment of tensor data in the file, in bytes.
func (f *File) Alignment() int { return f.alignment }

// Paths lists the files: one, or all shards in order; none after [Parse].
func (f *File) Paths() []string { return slices.Clone(f.paths) }

// ShardSizes is the number of tensors of each file, in the order of [File.Paths]; none
// after [Parse]. Tensors lists those of the first shard first.
func (f *File) ShardSizes() []int { return slices.Clone(f.shards) }

// Unchanged fails with [input.ErrChanged] if one of the files is not what it was when it
// was opened.
func (f *File) Unchanged() error {
	for _, s := range f.sources {
		if err := s.file.Unchanged(); err != nil {
			return err
		}
	}
	return nil
}

// Close releases the files. Views of tensor data must not be used after it. A
// second call does nothing.
func (f *File) Close() error {
	var errs []error
	for _, s := range f.sources {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}

// mapped is tensor data in a mapped file.
type mapped struct {
	m *mmap.Mapping
	extent
}

var _ interface {
	Viewer
	Adviser
	PartAdviser
	CachedReader
} = (*mapped)(nil)

// ReadAt copies from the mapping.
func (d *mapped) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= d.size {
		return 0, io.EOF
	}
	if int64(len(p)) > d.size-off {
		n, err := d.m.ReadAt(p[:d.size-off], d.off+off)
		if err == nil {
			err = io.EOF
		}
		return n, err
	}
	return d.m.ReadAt(p, d.off+off)
}

// Bytes is a view, or nil if the file is closed or has become shorter.
func (d *mapped) Bytes() []byte {
	if d.size == 0 {
		return []byte{} // its place may be past the end of the file
	}
	all := d.m.Bytes()
	if all == nil || !d.m.Intact() {
		return nil
	}
	return all[d.off : d.off+d.size : d.off+d.size]
}

// ReadCached fills p with what the system has in its cache, which is faster than looking at a
// view once, and reports whether it could.
func (d *mapped) ReadCached(p []byte, off int64) bool {
	return off >= 0 && off <= d.size && int64(len(p)) <= d.size-off && d.m.ReadCached(p, d.off+off)
}

// WillNeed is a hint to begin reading the data.
func (d *mapped) WillNeed() { d.m.WillNeed(d.off, d.size) }

// WillNeedPart is WillNeed for n bytes at off.
func (d *mapped) WillNeedPart(off, n int64) { d.m.WillNeed(d.off+off, n) }

// DontNeed is a hint to let the data leave memory.
func (d *mapped) DontNeed() { d.m.DontNeed(d.off, d.size) }

// DontNeedPart is DontNeed for n bytes at off.
func (d *mapped) DontNeedPart(off, n int64) { d.m.DontNeed(d.off+off, n) }
