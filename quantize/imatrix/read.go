package imatrix

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"qtool/gguf"
	"qtool/internal/input"
	"qtool/internal/printable"
)

// The metadata keys and tensor names of the GGUF form.
const (
	keyType      = "general.type"
	keyDatasets  = "imatrix.datasets"
	keyChunks    = "imatrix.chunk_count"
	keyChunkSize = "imatrix.chunk_size"

	kind         = "imatrix" // the value of keyType
	suffixSums   = ".in_sum2"
	suffixCounts = ".counts"
)

// Read reads the imatrix at path, in either form.
func Read(path string) (*Matrix, error) {
	f, err := input.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening an imatrix: %w", err)
	}
	defer f.Close()
	m, err := Parse(f, f.Size())
	if err == nil {
		err = f.Unchanged()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// Parse reads size bytes of either form.
func Parse(r io.ReaderAt, size int64) (*Matrix, error) {
	legacy, err := IsLegacy(r)
	if err != nil {
		return nil, err
	}
	if legacy {
		return parseLegacy(bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 64<<10), size)
	}
	f, err := gguf.Parse(r, size)
	if err != nil {
		return nil, err
	}
	return FromModel(f)
}

// IsLegacy reports whether r can only be of the legacy form, which has no mark of its
// own: it is no GGUF.
func IsLegacy(r io.ReaderAt) (bool, error) {
	magic := make([]byte, 4)
	n, err := r.ReadAt(magic, 0)
	if n < len(magic) && err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return !bytes.Equal(magic, []byte("GGUF")), nil
}

// FromModel reads the GGUF form.
func FromModel(src gguf.Model) (*Matrix, error) {
	m, pairs, err := readHeader(src)
	if err != nil {
		return nil, err
	}
	for _, p := range pairs {
		e, err := p.entry()
		if err != nil {
			return nil, err
		}
		m.entries[e.Name] = e
	}
	return m, nil
}

// readHeader reads all but the entries of the GGUF form, and finds their tensors.
func readHeader(src gguf.Model) (*Matrix, []pair, error) {
	md := src.Metadata()
	if found, err := gguf.Or(md.Str(keyType))(""); err != nil || found != kind {
		return nil, nil, fmt.Errorf("%w: %s is %q, expected %q: this is another kind of GGUF", ErrFormat, keyType, found, kind)
	}
	m := New(0)
	var err error
	if m.Datasets, err = md.Strings(keyDatasets); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	for _, field := range []struct {
		key  string
		into *int
	}{{keyChunks, &m.Chunks}, {keyChunkSize, &m.ChunkSize}} {
		if *field.into, err = md.Int(field.key); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		if _, err := input.Count(field.key, *field.into, 0, input.MostInt32()); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrFormat, err)
		}
	}
	pairs, err := m.pairs(src)
	return m, pairs, err
}

// pair is the tensors of one entry: sums [columns, matrices] and counts [1, matrices] or
// [1].
type pair struct {
	name         string
	sums, counts *gguf.Tensor
}

// pairs finds the tensors that belong together.
func (m *Matrix) pairs(src gguf.Model) ([]pair, error) {
	var all []pair
	for _, t := range src.Tensors() {
		if name, ok := strings.CutSuffix(t.Name, suffixCounts); ok {
			if _, ok := src.Tensor(name + suffixSums); !ok {
				return nil, fmt.Errorf("%w: there is a tensor %s, but no %s", ErrFormat, printable.Quote(t.Name), printable.Quote(name+suffixSums))
			}
			continue
		}
		name, ok := strings.CutSuffix(t.Name, suffixSums)
		if !ok {
			m.Unread = append(m.Unread, t.Name)
			continue
		}
		counts, ok := src.Tensor(name + suffixCounts)
		if !ok {
			return nil, fmt.Errorf("%w: there is a tensor %s, but no %s", ErrFormat, printable.Quote(t.Name), printable.Quote(name+suffixCounts))
		}
		all = append(all, pair{name, t, counts})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: it has no entries", ErrFormat)
	}
	return all, nil
}

// entry reads and checks the entry.
func (p pair) entry() (*Entry, error) {
	e := &Entry{Name: p.name}
	for _, t := range []*gguf.Tensor{p.sums, p.counts} {
		if t.Type != gguf.F32 {
			return nil, fmt.Errorf("%w: tensor %s is %v, expected F32", ErrFormat, printable.Quote(t.Name), t.Type)
		}
	}
	if n := p.counts.Elements(); n != 1 && n != p.sums.Rows() {
		return nil, fmt.Errorf("%w: tensor %s has the shape %v, expected a count for each of the %d rows of %s, or one",
			ErrFormat, printable.Quote(p.counts.Name), p.counts.Shape, p.sums.Rows(), printable.Quote(p.sums.Name))
	}
	data, err := p.sums.Bytes()
	if err != nil {
		return nil, err
	}
	e.Sums = gguf.DecodeFloat32(data)
	if data, err = p.counts.Bytes(); err != nil {
		return nil, err
	}
	for i, c := range gguf.DecodeFloat32(data) {
		if !(c >= 0 && c <= 1<<53) {
			return nil, fmt.Errorf("%w: tensor %s: count %d is %g", ErrFormat, printable.Quote(p.counts.Name), i, c)
		}
		e.Counts = append(e.Counts, int64(math.Round(float64(c))))
	}
	return e, e.valid()
}
