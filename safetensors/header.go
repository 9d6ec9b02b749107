package safetensors

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"

	"qtool/internal/input"
)

// MaxHeader is the largest header, in bytes, that the format allows.
const MaxHeader = 100_000_000

// metadataKey names the one header entry that is no tensor.
const metadataKey = "__metadata__"

// header is what the JSON says, checked entry by entry but not yet against the file.
type header struct {
	metadata map[string]string
	entries  []entry // in the order of the JSON
}

type entry struct {
	name       string
	dtype      DType
	shape      []int
	begin, end int64 // from the first byte after the header
	at         int64 // where the file says so
}

func (e *entry) reading() string { return fmt.Sprintf("tensor %q", e.name) }

// readHeader reads the header and gives the offset where tensor data begins.
func readHeader(path string, r io.ReaderAt, size int64) (*header, int64, error) {
	fail := func(reading, format string, args ...any) (*header, int64, error) {
		return nil, 0, &FormatError{path, 0, reading, fmt.Sprintf(format, args...)}
	}
	if size < 8 {
		return fail("header length", "expected at least 8 bytes, the file has %d", size)
	}
	var prefix [8]byte
	if _, err := io.ReadFull(io.NewSectionReader(r, 0, 8), prefix[:]); err != nil {
		return nil, 0, fmt.Errorf("reading the header length of %s: %w", orReader(path), err)
	}
	n := binary.LittleEndian.Uint64(prefix[:])
	if n > MaxHeader {
		return fail("header length", "expected at most %d bytes, found %d; is this a safetensors file?", MaxHeader, n)
	}
	left := input.Limit{Most: size - 8, Why: fmt.Sprintf("the file has only %d bytes after it; it may be cut short", size-8)}
	if _, err := input.Count("the length of the header", n, 0, left); err != nil {
		return fail("header length", "%v", err)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(io.NewSectionReader(r, 8, int64(n)), text); err != nil {
		return nil, 0, fmt.Errorf("reading the header of %s: %w", orReader(path), err)
	}
	h, err := parseHeader(path, text)
	return h, 8 + int64(n), err
}

func orReader(path string) string {
	if path == "" {
		return "a safetensors file"
	}
	return path
}

func parseHeader(path string, text []byte) (*header, error) {
	j := newJSONReader(path, 8, text)
	if len(text) == 0 || text[0] != '{' {
		return nil, j.errorf("header", "expected JSON that begins with {, found %q", text[:min(1, len(text))])
	}
	if err := j.validUTF8("header"); err != nil {
		return nil, err
	}
	h := &header{}
	err := j.object("header", func(key string) error {
		if key == metadataKey {
			return h.readMetadata(j)
		}
		e, err := readEntry(j, key)
		h.entries = append(h.entries, e)
		return err
	})
	if err != nil {
		return nil, err
	}
	return h, j.end("header")
}

func (h *header) readMetadata(j *jsonReader) error {
	h.metadata = map[string]string{}
	return j.object(metadataKey, func(key string) error {
		v, err := j.str(fmt.Sprintf("%s %q", metadataKey, key))
		h.metadata[key] = v
		return err
	})
}

func readEntry(j *jsonReader, name string) (entry, error) {
	e := entry{name: name, at: j.base + j.dec.InputOffset()}
	reading := e.reading()
	var haveType, haveShape, haveOffsets bool
	err := j.object(reading, func(key string) (err error) {
		switch key {
		case "dtype":
			haveType = true
			e.dtype, err = readDType(j, reading)
		case "shape":
			haveShape = true
			e.shape, err = readShape(j, reading)
		case "data_offsets":
			haveOffsets = true
			e.begin, e.end, err = readOffsets(j, reading)
		default:
			err = j.errorf(reading, "the format has no field %q", key)
		}
		return err
	})
	if err != nil {
		return e, err
	}
	if !haveType || !haveShape || !haveOffsets {
		return e, j.errorf(reading, "expected dtype, shape and data_offsets, one is missing")
	}
	size, err := e.dtype.Size(e.shape)
	if err != nil {
		return e, j.errorf(reading, "%v", err)
	}
	if e.end-e.begin != size {
		return e, j.errorf(reading, "shape %v of %v takes %d bytes, data_offsets [%d,%d] give %d",
			e.shape, e.dtype, size, e.begin, e.end, e.end-e.begin)
	}
	return e, nil
}

func readDType(j *jsonReader, reading string) (DType, error) {
	s, err := j.str(reading)
	if err != nil {
		return 0, err
	}
	d, err := ParseDType(s)
	if err != nil {
		return 0, j.errorf(reading, "%v", err)
	}
	return d, nil
}

func readShape(j *jsonReader, reading string) ([]int, error) {
	dims, err := j.integers(reading)
	if err != nil {
		return nil, err
	}
	shape := make([]int, len(dims))
	for i, d := range dims {
		if d > math.MaxInt {
			return nil, j.errorf(reading, "dimension %d is too large", d)
		}
		shape[i] = int(d)
	}
	return shape, nil
}

func readOffsets(j *jsonReader, reading string) (begin, end int64, err error) {
	o, err := j.integers(reading)
	if err != nil {
		return 0, 0, err
	}
	if len(o) != 2 || o[0] > o[1] {
		return 0, 0, j.errorf(reading, "expected data_offsets [begin,end] with begin <= end, found %v", o)
	}
	return o[0], o[1], nil
}

// checkCover sorts the entries by place and checks that they cover the data
// part, dataSize bytes, exactly.
func (h *header) checkCover(path string, dataSize int64) error {
	slices.SortStableFunc(h.entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end))
	})
	next := int64(0)
	for i := range h.entries {
		e := &h.entries[i]
		reason := ""
		switch {
		case e.begin > next:
			reason = fmt.Sprintf("expected its data at %d, found %d: a hole before it", next, e.begin)
		case e.begin < next:
			reason = fmt.Sprintf("expected its data at %d, found %d: it overlaps %q", next, e.begin, h.entries[i-1].name)
		case e.end > dataSize:
			reason = fmt.Sprintf("its data ends at %d, the file holds only %d bytes of data; it may be cut short", e.end, dataSize)
		}
		if reason != "" {
			return &FormatError{path, e.at, e.reading(), reason}
		}
		next = e.end
	}
	if next != dataSize {
		return &FormatError{path, 0, "header", fmt.Sprintf("its tensors take %d bytes, the file holds %d bytes of data", next, dataSize)}
	}
	return nil
}
