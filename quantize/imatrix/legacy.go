package imatrix

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"

	"qtool/gguf"
	"qtool/internal/input"
	"qtool/internal/printable"
)

// The legacy form, all numbers little-endian:
//
//	entries i32
//	entries × { length i32, name, calls i32, values i32, f32... }
//	chunks i32, length i32, dataset     both, the first, or neither
//
// A value is the mean of squares times calls, the number of chunks. A stack of
// matrices has one number of calls, so that experts of different use cannot be told
// apart once it is written.

// minLegacyEntry is the size of an entry with a name of one byte and one value.
const minLegacyEntry = 4 + 1 + 4 + 4 + 4

// legacyReader reads front to back. It trusts no length: each is compared with the
// bytes that are left before anything is allocated for it.
type legacyReader struct {
	r         *bufio.Reader
	pos, size int64
	reading   string
}

func (l *legacyReader) left() int64 { return l.size - l.pos }

func (l *legacyReader) fail(format string, args ...any) error {
	return fmt.Errorf("%w: offset %d, reading %s: %s", ErrFormat, l.pos, l.reading, fmt.Sprintf(format, args...))
}

func (l *legacyReader) bytes(n int64) ([]byte, error) {
	if n > l.left() {
		return nil, l.fail("expected %d more bytes, the file ends after %d", n, l.left())
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(l.r, b); err != nil {
		return nil, fmt.Errorf("reading %s at offset %d: %w", l.reading, l.pos, err)
	}
	l.pos += n
	return b, nil
}

// number reads an i32, which counts what, from least to what there can be.
func (l *legacyReader) number(what string, least int, most input.Limit) (int64, error) {
	b, err := l.bytes(4)
	if err != nil {
		return 0, err
	}
	n, err := input.Count("the number of "+what, int32(binary.LittleEndian.Uint32(b)), least, most)
	if err != nil {
		l.pos -= 4
		return 0, l.fail("%v", err)
	}
	return int64(n), nil
}

// room is how many items of that many bytes can follow a number.
func (l *legacyReader) room(bytes int64) input.Limit {
	left := max(0, l.left()-4)
	return input.Limit{Most: left / bytes, Why: fmt.Sprintf("the file ends %d bytes later", left)}
}

func (l *legacyReader) string(least int) (string, error) {
	n, err := l.number("bytes of a name", least, l.room(1))
	if err != nil {
		return "", err
	}
	b, err := l.bytes(n)
	return string(b), err
}

func parseLegacy(r *bufio.Reader, size int64) (*Matrix, error) {
	l := &legacyReader{r: r, size: size}
	return l.parse(func(m *Matrix, at legacyEntry) error {
		data, err := l.bytes(4 * at.values)
		if err != nil {
			return err
		}
		return m.Add(at.entry(data))
	})
}

// legacyEntry says where the values of an entry are.
type legacyEntry struct {
	name                  string
	calls, values, offset int64
}

// entry is the entry of these bytes. With no calls the values are taken as they are.
func (at legacyEntry) entry(data []byte) *Entry {
	return &Entry{Name: at.name, Sums: gguf.DecodeFloat32(data), Counts: []int64{max(1, at.calls)}}
}

// parse reads all but the values of the entries; take reads those.
func (l *legacyReader) parse(take func(*Matrix, legacyEntry) error) (*Matrix, error) {
	l.reading = "the number of entries"
	m := New(0)
	n, err := l.number("entries", 1, l.room(minLegacyEntry))
	if err != nil {
		l.pos = 0
		return nil, l.fail("there is no valid number of entries for a file of %d bytes: this is neither the GGUF nor the legacy form of an imatrix", l.size)
	}
	seen := map[string]bool{}
	for i := range n {
		l.reading = fmt.Sprintf("entry %d of %d", i+1, n)
		at, err := l.entry()
		if err != nil {
			return nil, err
		}
		if seen[at.name] {
			return nil, l.fail("an entry of that name is there twice")
		}
		seen[at.name] = true
		if err := take(m, at); err != nil {
			return nil, err
		}
	}
	return m, l.trailer(m)
}

// entry reads what stands before the values of an entry.
func (l *legacyReader) entry() (at legacyEntry, err error) {
	if at.name, err = l.string(1); err != nil {
		return at, err
	}
	l.reading = "entry " + printable.Quote(at.name)
	if at.calls, err = l.number("calls", 0, input.MostInt32()); err != nil {
		return at, err
	}
	if at.values, err = l.number("values", 1, l.room(4)); err != nil {
		return at, err
	}
	at.offset = l.pos
	return at, nil
}

// skip passes over n bytes.
func (l *legacyReader) skip(n int64) error {
	if n > l.left() {
		return l.fail("expected %d more bytes, the file ends after %d", n, l.left())
	}
	if _, err := l.r.Discard(int(n)); err != nil {
		return fmt.Errorf("reading %s at offset %d: %w", l.reading, l.pos, err)
	}
	l.pos += n
	return nil
}

// trailer reads what follows the entries. Files of early 2024 have none of it, or the
// number of chunks alone.
func (l *legacyReader) trailer(m *Matrix) error {
	l.reading = "the number of chunks"
	if l.left() == 0 {
		return nil
	}
	chunks, err := l.number("chunks", 0, input.MostInt32())
	if err != nil {
		return err
	}
	m.Chunks = int(chunks)
	l.reading = "the name of the dataset"
	if l.left() == 0 {
		return nil
	}
	dataset, err := l.string(0)
	if err != nil {
		return err
	}
	if dataset != "" {
		m.Datasets = []string{dataset}
	}
	if l.left() > 0 {
		return l.fail("expected the end of the file, found %d more bytes", l.left())
	}
	return nil
}

// AppendLegacy appends the legacy form to b. It keeps what quantizing needs: entries
// of which nothing was counted are left out, of several datasets the last remains, and
// matrices of a stack that nothing was counted for get the importance 1.
func (m *Matrix) AppendLegacy(b []byte) ([]byte, error) {
	var stored []*Entry
	for _, e := range m.Entries() {
		if slices.Max(e.Counts) > 0 {
			stored = append(stored, e)
		}
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(stored)))
	for _, e := range stored {
		values, calls := e.legacyValues(m.ChunkSize)
		if len(values) > math.MaxInt32 || calls > math.MaxInt32 {
			return nil, fmt.Errorf("entry %s: %d values and %d chunks are more than the legacy form can hold; write the GGUF form",
				printable.Quote(e.Name), len(values), calls)
		}
		b = appendLegacyString(b, e.Name)
		b = binary.LittleEndian.AppendUint32(b, uint32(calls))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(values)))
		for _, v := range values {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(m.Chunks))
	dataset := ""
	if n := len(m.Datasets); n > 0 {
		dataset = m.Datasets[n-1]
	}
	return appendLegacyString(b, dataset), nil
}

// legacyValues is the importance times the number of chunks, rounded up so that it
// never is 0.
func (e *Entry) legacyValues(chunkSize int) (values []float32, calls int64) {
	if chunkSize == 0 && len(e.Counts) == 1 {
		return e.Sums, e.Counts[0]
	}
	size := int64(max(1, chunkSize))
	calls = (slices.Max(e.Counts) + size - 1) / size
	values = e.Weights()
	for i := range values {
		values[i] *= float32(calls)
	}
	return values, calls
}

func appendLegacyString(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}
