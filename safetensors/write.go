package safetensors

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Write writes a file of the given tensors and metadata, which may be nil. As
// the official writer does, it places types of higher number first, then names
// in byte order, and pads the header with spaces to a multiple of 8. Data is
// streamed; memory does not grow with the tensors.
func Write(ctx context.Context, w io.Writer, tensors []*Tensor, metadata map[string]string) error {
	ordered := writingOrder(tensors)
	h, err := encodeHeader(ordered, metadata)
	if err != nil {
		return err
	}
	out := &contextWriter{ctx, w}
	if _, err := out.Write(h); err != nil {
		return err
	}
	for _, t := range ordered {
		if err := writeData(out, t); err != nil {
			return fmt.Errorf("writing tensor %q: %w", t.Name, err)
		}
	}
	return nil
}

func writingOrder(tensors []*Tensor) []*Tensor {
	ordered := slices.Clone(tensors)
	slices.SortFunc(ordered, func(a, b *Tensor) int {
		return cmp.Or(cmp.Compare(b.DType, a.DType), cmp.Compare(a.Name, b.Name))
	})
	return ordered
}

// encodeHeader gives the length and the padded JSON.
func encodeHeader(ordered []*Tensor, metadata map[string]string) ([]byte, error) {
	var b bytes.Buffer
	b.Write(make([]byte, 8))
	b.WriteByte('{')
	if metadata != nil {
		if err := writeMetadata(&b, metadata); err != nil {
			return nil, err
		}
	}
	seen := make(map[string]bool, len(ordered))
	begin := int64(0)
	for i, t := range ordered {
		if t.Name == metadataKey || seen[t.Name] || !utf8.ValidString(t.Name) {
			return nil, fmt.Errorf("tensor name %q is reserved, used twice or not valid UTF-8", t.Name)
		}
		seen[t.Name] = true
		size, err := t.DType.Size(t.Shape)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		end := begin + size
		if end < begin {
			return nil, fmt.Errorf("tensor %q: the file would be larger than can be addressed", t.Name)
		}
		if i > 0 || metadata != nil {
			b.WriteByte(',')
		}
		writeEntry(&b, t, begin, end)
		begin = end
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	h := b.Bytes()
	if len(h)-8 > MaxHeader {
		return nil, fmt.Errorf("the header of %d tensors takes %d bytes, the format allows %d; write shards", len(ordered), len(h)-8, MaxHeader)
	}
	binary.LittleEndian.PutUint64(h, uint64(len(h)-8))
	return h, nil
}

func writeMetadata(b *bytes.Buffer, metadata map[string]string) error {
	b.WriteString(`"` + metadataKey + `":{`)
	for i, k := range slices.Sorted(maps.Keys(metadata)) {
		if !utf8.ValidString(k) || !utf8.ValidString(metadata[k]) {
			return fmt.Errorf("metadata %q: key and value must be valid UTF-8", k)
		}
		if i > 0 {
			b.WriteByte(',')
		}
		writeString(b, k)
		b.WriteByte(':')
		writeString(b, metadata[k])
	}
	b.WriteByte('}')
	return nil
}

func writeEntry(b *bytes.Buffer, t *Tensor, begin, end int64) {
	writeString(b, t.Name)
	fmt.Fprintf(b, `:{"dtype":"%v","shape":[`, t.DType)
	for i, d := range t.Shape {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprint(b, d)
	}
	fmt.Fprintf(b, `],"data_offsets":[%d,%d]}`, begin, end)
}

// writeString escapes only what JSON demands, as the official writer does;
// encoding/json escapes more.
func writeString(b *bytes.Buffer, s string) {
	const escaped, letters = "\"\\\b\f\n\r\t", `"\bfnrt`
	b.WriteByte('"')
	for _, r := range s {
		if i := strings.IndexRune(escaped, r); i >= 0 {
			b.WriteByte('\\')
			b.WriteByte(letters[i])
		} else if r < 0x20 {
			fmt.Fprintf(b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
}

func writeData(w io.Writer, t *Tensor) (err error) {
	size, n := t.Size(), int64(0)
	if src, ok := t.Data.(io.WriterTo); ok {
		n, err = src.WriteTo(w)
	} else {
		n, err = io.CopyBuffer(w, io.NewSectionReader(t.Data, 0, size), make([]byte, min(size+1, 1<<20)))
	}
	if err == nil && n != size {
		err = fmt.Errorf("shape %v of %v takes %d bytes, its data gave %d", t.Shape, t.DType, size, n)
	}
	return err
}

// contextWriter stops at a cancelled context.
type contextWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c *contextWriter) Write(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	return c.w.Write(p)
}
