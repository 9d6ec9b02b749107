package torchfile

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"strings"

	"qtool/internal/input"
	"qtool/safetensors"
)

// maxPickle is far above the pickle of any adapter: a tensor takes about 200 bytes of it.
const maxPickle = 32 << 20

// File is an open file of tensors.
type File struct {
	file    *input.File
	tensors []*safetensors.Tensor
}

// Open reads the pickle of the file at path. Tensor data is read on demand. The caller closes
// the file.
func Open(path string) (*File, error) {
	f, err := input.Open(path)
	if err != nil {
		return nil, err
	}
	tensors, err := Parse(f, f.Size())
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return &File{f, tensors}, nil
}

// Tensors lists the tensors in the order of the dictionary.
func (f *File) Tensors() []*safetensors.Tensor { return f.tensors }

// Unchanged fails if the file is not what it was when it was opened.
func (f *File) Unchanged() error { return f.file.Unchanged() }

// Close closes the file; data is not readable afterwards.
func (f *File) Close() error { return f.file.Close() }

// Parse is [Open] of the size bytes of r, which the data of the tensors is read from.
func Parse(r io.ReaderAt, size int64) ([]*safetensors.Tensor, error) {
	if err := checkForm(r, size); err != nil {
		return nil, err
	}
	archive, err := zip.NewReader(r, size)
	if err != nil {
		return nil, invalid("its list of entries cannot be read, it may be cut off: %v", err)
	}
	a := &entries{r: r, size: size, byName: map[string]*zip.File{}}
	prefix, pickles := "", 0
	for _, e := range archive.File {
		if a.byName[e.Name] != nil {
			return nil, invalid("it has two entries %q", e.Name)
		}
		a.byName[e.Name] = e
		dir, isPickle := strings.CutSuffix(e.Name, "/data.pkl")
		if isPickle && !strings.Contains(dir, "/") {
			prefix = dir
			pickles++
		}
	}
	if a.byName["constants.pkl"] != nil || a.byName[prefix+"/constants.pkl"] != nil {
		return nil, refuse("it is a TorchScript program, no dictionary of tensors")
	}
	if pickles != 1 {
		return nil, refuse("it is a zip with %d entries DIR/data.pkl, a file of torch.save has one", pickles)
	}
	if err := a.checkByteOrder(prefix + "/byteorder"); err != nil {
		return nil, err
	}
	at, n, err := a.find(prefix + "/data.pkl")
	if err != nil {
		return nil, err
	}
	if n > maxPickle {
		return nil, refuse("its pickle has %d bytes, at most %d are read", n, int64(maxPickle))
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(io.NewSectionReader(r, at, n), text); err != nil {
		return nil, fmt.Errorf("reading data.pkl: %w", err)
	}
	top, err := unpickle(text)
	if err != nil {
		return nil, fmt.Errorf("data.pkl: %w", err)
	}
	return a.tensors(prefix, top)
}

// checkForm refuses by name what torch.save wrote before PyTorch 1.6, and what is no file of it.
func checkForm(r io.ReaderAt, size int64) error {
	head := make([]byte, min(size, 512))
	if n, err := r.ReadAt(head, 0); n < len(head) {
		return fmt.Errorf("reading the first bytes: %w", err)
	}
	const way = "load it with PyTorch and save it as adapter_model.safetensors"
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return nil
	case len(head) == 0:
		return invalid("it is empty")
	case len(head) > 262 && string(head[257:262]) == "ustar":
		return refuse("it is a tar, the form of PyTorch before 0.1.10, which is not read; %s", way)
	case head[0] == 0x80:
		return refuse("it is a bare pickle, the form of torch.save before PyTorch 1.6, which is not read; %s", way)
	}
	return invalid("it is no zip, so torch.save did not write it, or not wholly")
}

// entries are those of the zip.
type entries struct {
	r      io.ReaderAt
	size   int64
	byName map[string]*zip.File
}

// find gives where the bytes of an entry are. torch.save compresses none.
func (a *entries) find(name string) (at, n int64, err error) {
	e := a.byName[name]
	if e == nil {
		return 0, 0, invalid("it has no entry %q", name)
	}
	if e.Method != zip.Store || e.CompressedSize64 != e.UncompressedSize64 {
		return 0, 0, refuse("its entry %q is compressed; torch.save stores entries as they are", name)
	}
	if at, err = e.DataOffset(); err != nil {
		return 0, 0, invalid("the entry %q: %v", name, err)
	}
	if n = int64(e.UncompressedSize64); n < 0 || at < 0 || at > a.size || n > a.size-at {
		return 0, 0, invalid("the entry %q of %d bytes at %d ends after the file, which has %d", name, e.UncompressedSize64, at, a.size)
	}
	return at, n, nil
}

func (a *entries) checkByteOrder(name string) error {
	if a.byName[name] == nil {
		return nil
	}
	at, n, err := a.find(name)
	if err != nil {
		return err
	}
	text := make([]byte, min(n, 16))
	if _, err := io.ReadFull(io.NewSectionReader(a.r, at, int64(len(text))), text); err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	if order := strings.TrimSpace(string(text)); order != "little" {
		return refuse("its byte order is %q; little is read", order)
	}
	return nil
}

// maxShared is how many times the bytes of the file its tensors may have together: several may
// share a storage, but a small file must not claim more than memory holds.
const maxShared = 4

// tensors are the values of the dictionary.
func (a *entries) tensors(prefix string, top any) ([]*safetensors.Tensor, error) {
	d, ok := top.(*dict)
	if !ok {
		return nil, refuse("it holds %s, not a dictionary of tensors", kindOf(top))
	}
	names := map[string]bool{}
	var out []*safetensors.Tensor
	var total int64
	for _, it := range d.items {
		name, ok := it.key.(string)
		if !ok {
			return nil, refuse("its dictionary has %s as a key, not the name of a tensor", kindOf(it.key))
		}
		x, ok := it.value.(*tensor)
		if !ok {
			return nil, refuse("%q is %s, no tensor", name, kindOf(it.value))
		}
		if names[name] {
			return nil, invalid("there are two tensors %q", name)
		}
		names[name] = true
		t, err := a.tensor(prefix, name, x)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		if total += t.Size(); total > maxShared*a.size {
			return nil, refuse("its tensors share bytes so often that they are more than %d times the file", maxShared)
		}
		out = append(out, t)
	}
	return out, nil
}

// tensor finds the bytes of one.
func (a *entries) tensor(prefix, name string, x *tensor) (*safetensors.Tensor, error) {
	at, n, err := a.find(prefix + "/data/" + x.storage.key)
	if err != nil {
		return nil, err
	}
	item := int64(x.storage.dtype.Bits() / 8)
	if x.storage.elements < 0 || x.storage.elements > n/item {
		return nil, invalid("its storage %q of %d elements has %d bytes", x.storage.key, x.storage.elements, n)
	}
	t := &safetensors.Tensor{Name: name, DType: x.storage.dtype, Shape: x.shape}
	count, last := int64(1), x.offset
	for i, d := range x.shape {
		if d < 0 || x.strides[i] < 0 {
			return nil, invalid("it has shape %v and strides %v", x.shape, x.strides)
		}
		if d > 0 && count > x.storage.elements/int64(d) {
			return nil, invalid("it has shape %v, its storage %d elements", x.shape, x.storage.elements)
		}
		count *= int64(d)
	}
	if count == 0 {
		t.Data = bytes.NewReader(nil)
		return t, nil
	}
	contiguous, step := true, int64(1)
	for i := len(x.shape) - 1; i >= 0; i-- {
		d := int64(x.shape[i])
		if d == 1 {
			continue
		}
		if x.strides[i] > x.storage.elements {
			return nil, invalid("it has strides %v, its storage %d elements", x.strides, x.storage.elements)
		}
		contiguous = contiguous && x.strides[i] == step
		step *= d
		last += (d - 1) * x.strides[i]
	}
	if x.offset < 0 || x.offset >= x.storage.elements || last < x.offset || last >= x.storage.elements {
		return nil, invalid("its elements %d to %d are not in its storage of %d", x.offset, last, x.storage.elements)
	}
	span := io.NewSectionReader(a.r, at+x.offset*item, (last-x.offset+1)*item)
	if t.Data = span; !contiguous {
		t.Data = &strided{span, x.shape, x.strides, int(item)}
	}
	return t, nil
}

// strided is the data of a tensor whose elements do not follow each other in the file.
type strided struct {
	span    *io.SectionReader
	shape   []int
	strides []int64 // in elements
	item    int     // bytes of an element
}

// ReadAt reads the whole span, which is no larger than the storage, and picks what p asks for.
func (s *strided) ReadAt(p []byte, off int64) (int, error) {
	all := make([]byte, s.span.Size())
	if _, err := s.span.ReadAt(all, 0); err != nil && err != io.EOF {
		return 0, err
	}
	size := int64(s.item)
	for _, d := range s.shape {
		size *= int64(d)
	}
	if off < 0 || off >= size {
		return 0, io.EOF
	}
	n := 0
	for n < len(p) && off+int64(n) < size {
		at := off + int64(n)
		index, from := at/int64(s.item), int64(0)
		for i := len(s.shape) - 1; i >= 0; i-- {
			from += index % int64(s.shape[i]) * s.strides[i]
			index /= int64(s.shape[i])
		}
		within := at % int64(s.item)
		n += copy(p[n:], all[from*int64(s.item)+within:(from+1)*int64(s.item)])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
