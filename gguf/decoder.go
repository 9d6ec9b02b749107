package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"qtool/internal/input"
)

const (
	window      = 64 << 10 // bytes fetched at a time while reading the header
	maxString   = 1 << 30  // as in ggml
	maxElements = 1 << 30  // of one array, as in ggml
	maxNesting  = 16       // arrays inside arrays
)

// decoder reads the header of a file front to back. It trusts no length: each
// is compared with the bytes that are left before anything is allocated for it.
type decoder struct {
	r     io.ReaderAt
	size  int64
	order binary.ByteOrder
	v1    bool // counts, lengths and dimensions are 32 bits wide

	pos     int64  // of the next byte
	buf     []byte // bytes of the file from bufPos on
	bufPos  int64
	reading string // what is being read, for errors
}

func (d *decoder) left() int64 { return d.size - d.pos }

// fail makes a FormatError about the bytes at off.
func (d *decoder) fail(off int64, format string, args ...any) error {
	return &FormatError{Offset: off, Reading: d.reading, Reason: fmt.Sprintf(format, args...)}
}

// next returns the next n bytes. They are valid until the following call.
func (d *decoder) next(n int) ([]byte, error) {
	if int64(n) > d.left() {
		return nil, d.fail(d.pos, "expected %d more bytes, the file ends after %d", n, d.left())
	}
	at := d.pos - d.bufPos
	if at+int64(n) > int64(len(d.buf)) {
		want := int(min(max(int64(n), window), d.left()))
		d.buf = slices.Grow(d.buf[:0], want)[:want]
		d.bufPos, at = d.pos, 0
		got, err := d.r.ReadAt(d.buf, d.pos)
		if got < want {
			d.buf = d.buf[:0]
			return nil, d.readError(got, want, err)
		}
	}
	d.pos += int64(n)
	return d.buf[at : at+int64(n)], nil
}

func (d *decoder) readError(got, want int, err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return d.fail(d.pos, "expected %d more bytes, found %d: the file became shorter", want, got)
	}
	return fmt.Errorf("reading %s at offset %d: %w", d.reading, d.pos, err)
}

func (d *decoder) uint32() (uint32, error) {
	b, err := d.next(4)
	if err != nil {
		return 0, err
	}
	return d.order.Uint32(b), nil
}

func (d *decoder) uint64() (uint64, error) {
	b, err := d.next(8)
	if err != nil {
		return 0, err
	}
	return d.order.Uint64(b), nil
}

// count reads a count, length or dimension: 32 bits in version 1, else 64.
func (d *decoder) count() (uint64, error) {
	if d.v1 {
		n, err := d.uint32()
		return uint64(n), err
	}
	return d.uint64()
}

func (d *decoder) countBytes() int64 {
	if d.v1 {
		return 4
	}
	return 8
}

// countOf reads the number of items that follow, each at least minBytes long.
func (d *decoder) countOf(what string, minBytes int64) (int, error) {
	at := d.pos
	n, err := d.count()
	if err != nil {
		return 0, err
	}
	most := input.Limit{Most: d.left() / minBytes, Why: fmt.Sprintf("each takes at least %d bytes, the file ends after %d", minBytes, d.left())}
	count, err := input.Count("the count of "+what, n, 0, most)
	if err != nil {
		return 0, d.fail(at, "%v", err)
	}
	return count, nil
}

func (d *decoder) string() (string, error) {
	at := d.pos
	n, err := d.countOf("bytes of a string", 1)
	if err != nil {
		return "", err
	}
	if n > maxString {
		return "", d.fail(at, "a string of %d bytes is longer than the limit of %d", n, maxString)
	}
	b, err := d.next(n)
	return string(b), err
}

func (d *decoder) valueType() (ValueType, error) {
	at := d.pos
	t, err := d.uint32()
	if err != nil {
		return 0, err
	}
	if t > uint32(TypeFloat64) {
		return 0, d.fail(at, "value type %d is not one of the known types 0 to %d", t, TypeFloat64)
	}
	return ValueType(t), nil
}

// value reads one value of type t.
func (d *decoder) value(t ValueType) (Value, error) {
	switch t {
	case TypeUint8:
		return scalar[uint8](d)
	case TypeInt8:
		return scalar[int8](d)
	case TypeUint16:
		return scalar[uint16](d)
	case TypeInt16:
		return scalar[int16](d)
	case TypeUint32:
		return scalar[uint32](d)
	case TypeInt32:
		return scalar[int32](d)
	case TypeFloat32:
		return scalar[float32](d)
	case TypeBool:
		return scalar[bool](d)
	case TypeString:
		return d.string()
	case TypeUint64:
		return scalar[uint64](d)
	case TypeInt64:
		return scalar[int64](d)
	case TypeFloat64:
		return scalar[float64](d)
	}
	return d.array(1)
}

// array reads an array: element type, count, elements.
func (d *decoder) array(depth int) (Value, error) {
	if depth > maxNesting {
		return nil, d.fail(d.pos, "arrays are nested more than %d deep", maxNesting)
	}
	t, err := d.valueType()
	if err != nil {
		return nil, err
	}
	switch t {
	case TypeUint8:
		return numbers[uint8](d)
	case TypeInt8:
		return numbers[int8](d)
	case TypeUint16:
		return numbers[uint16](d)
	case TypeInt16:
		return numbers[int16](d)
	case TypeUint32:
		return numbers[uint32](d)
	case TypeInt32:
		return numbers[int32](d)
	case TypeFloat32:
		return numbers[float32](d)
	case TypeBool:
		return numbers[bool](d)
	case TypeString:
		return list[[]string](d, d.countBytes(), (*decoder).string)
	case TypeUint64:
		return numbers[uint64](d)
	case TypeInt64:
		return numbers[int64](d)
	case TypeFloat64:
		return numbers[float64](d)
	}
	inner := func(d *decoder) (Value, error) { return d.array(depth + 1) }
	return list[Arrays](d, 4+d.countBytes(), inner)
}

// fixed are the value types with a fixed number of bytes.
type fixed interface {
	uint8 | int8 | uint16 | int16 | uint32 | int32 | uint64 | int64 | float32 | float64 | bool
}

func scalar[E fixed](d *decoder) (Value, error) {
	var one [1]E
	if err := decode(d, one[:]); err != nil {
		return nil, err
	}
	return one[0], nil
}

func numbers[E fixed](d *decoder) (Value, error) {
	var zero E
	width := binary.Size(zero)
	n, err := d.arrayCount(int64(width))
	if err != nil {
		return nil, err
	}
	// In steps, so that a lie about the count fails before it costs much.
	out := make([]E, 0, min(n, window))
	for len(out) < n {
		k := min(n-len(out), window/width)
		out = slices.Grow(out, k)[:len(out)+k]
		if err := decode(d, out[len(out)-k:]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func list[S ~[]E, E any](d *decoder, minBytes int64, read func(*decoder) (E, error)) (Value, error) {
	n, err := d.arrayCount(minBytes)
	if err != nil {
		return nil, err
	}
	out := make(S, 0, min(n, window/16))
	for range n {
		e, err := read(d)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

func (d *decoder) arrayCount(minBytes int64) (int, error) {
	at := d.pos
	n, err := d.countOf("array elements", minBytes)
	if err == nil && n > maxElements {
		return 0, d.fail(at, "an array of %d elements is longer than the limit of %d", n, maxElements)
	}
	return n, err
}

// decode fills dst, which must fit the window.
func decode[E fixed](d *decoder, dst []E) error {
	at := d.pos
	b, err := d.next(binary.Size(dst))
	if err != nil {
		return err
	}
	if _, isBool := any(dst).([]bool); isBool {
		for i, x := range b {
			if x > 1 {
				return d.fail(at+int64(i), "a boolean is 0 or 1, found %d", x)
			}
		}
	}
	_, err = binary.Decode(b, d.order, dst)
	return err
}
