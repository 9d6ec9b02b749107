package quantize

import (
	"errors"
	"fmt"
	"io"
	"math"
	"sync"

	"qtool/gguf"
	"qtool/internal/ggml"
	"qtool/internal/kernel/coding"
)

// ErrInvalidWeights is in the chain of errors about weights that are not finite, or
// that a type cannot hold.
var ErrInvalidWeights = errors.New("invalid weights")

// chunkValues is about how many values are read at once, in whole rows.
const chunkValues = 1 << 16

// conversion is the data of one tensor in its new type. It is computed on reading.
type conversion struct {
	tensor     *gguf.Tensor // the source
	from, to   *Codec
	importance []float32

	columns, rows  int // of the units that are converted
	srcRow, dstRow int // bytes of one
	chunkRows      int
	misplaced      *misplacement // nil: none is possible
	beyond         float32       // values of this size are refused
}

// Convert returns t as another type. Its data is converted as it is read, and fails with
// [ErrInvalidWeights] as that of [Plan.Model] does. importance is nil, or as in [Options]. It fails with [ErrUnsupported] if t
// cannot be decoded or the type not encoded, and if its rows are no whole blocks.
func Convert(t *gguf.Tensor, to gguf.Type, importance []float32) (*gguf.Tensor, error) {
	if _, err := Lookup(t.Type); err != nil {
		return nil, err
	}
	if _, err := LookupEncoder(to); err != nil {
		return nil, err
	}
	if len(t.Shape) == 0 {
		return nil, fmt.Errorf("tensor %q: %w: it has no rows", t.Name, ErrUnsupported)
	}
	if _, err := to.RowSize(t.Shape[0]); err != nil {
		return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	if want := t.Shape[0] * matrices(t); importance != nil && len(importance) != want {
		return nil, fmt.Errorf("tensor %q: its importance has %d weights, expected %d", t.Name, len(importance), want)
	}
	return &gguf.Tensor{Name: t.Name, Type: to, Shape: t.Shape, Data: newConversion(t, to, importance)}, nil
}

// newConversion returns the data of src as type to. Data that cannot be looked into,
// of integers and of unknown types, passes as it is.
func newConversion(src *gguf.Tensor, to gguf.Type, importance []float32) io.ReaderAt {
	if !isFloat(src.Type) || src.Elements() == 0 {
		return src.Data
	}
	c := &conversion{
		tensor: src, from: codecOf(src.Type), to: codecOf(to), importance: importance,
		columns: src.Elements() / src.Rows(), rows: src.Rows(),
	}
	if src.Type == to { // blocks are copied one by one, however long the rows
		c.columns = to.BlockElements()
		c.rows = src.Elements() / c.columns
	}
	c.srcRow = c.columns / src.Type.BlockElements() * src.Type.BlockBytes()
	c.dstRow = c.columns / to.BlockElements() * to.BlockBytes()
	c.chunkRows = max(1, chunkValues/c.columns)
	c.beyond = limit(src.Type, to)
	if !weighs(to) {
		c.importance = nil
	}
	if to == gguf.IQ3_S && src.Type != to {
		c.misplaced = &misplacement{}
	}
	return c
}

// weighs reports whether importance changes what is stored as t: there is a search.
func weighs(t gguf.Type) bool { return ggml.TraitsOf(t).Importance != ggml.Ignored }

// limit is the size from which on values are refused.
func limit(from, to gguf.Type) float32 {
	switch {
	case from == to:
	case to == gguf.F16:
		return 65520 // would become infinite
	case to == gguf.BF16:
		return math.Float32frombits(0x7f7f8000) // likewise
	case len(ggml.TraitsOf(to).Scales) > 0:
		return beyondScales
	}
	return float32(math.Inf(1))
}

func (c *conversion) size() int64 { return int64(c.rows) * int64(c.dstRow) }

// scratch is what reading needs.
type scratch struct {
	raw    []byte
	values []float32
	again  bool // the rows are also read, and counted, by whoever reads their start
}

var conversionScratch = sync.Pool{New: func() any { return new(scratch) }}

// stripValues is about how many values are decoded and encoded at once, few enough for the
// first cache.
const stripValues = 4096

// convert fills dst with whole rows from first on.
func (c *conversion) convert(dst []byte, first int, s *scratch) error {
	rows := len(dst) / c.dstRow
	buf := &s.raw
	if c.from == c.to {
		buf = &dst
	}
	raw, err := readData(c.tensor, int64(first)*int64(c.srcRow), rows*c.srcRow, buf)
	if err != nil {
		return err
	}
	if c.convertStored(dst, raw) {
		return nil
	}
	strip := max(1, stripValues/c.columns)
	if len(s.values) < strip*c.columns {
		s.values = make([]float32, strip*c.columns)
	}
	for r := 0; r < rows; r += strip {
		n := min(strip, rows-r)
		if err := c.convertStrip(dst[r*c.dstRow:(r+n)*c.dstRow], raw[r*c.srcRow:(r+n)*c.srcRow], s.values[:n*c.columns], first+r, s.again); err != nil {
			return err
		}
	}
	return nil
}

// withinScales is a size of weights below which no scale overflows: those of types without a
// search are at most twice as large.
const withinScales = 1 << 14

// convertStored converts weights of 16 bits as they are stored, where that is possible. No
// float16 is beyond any type's scale. It reports false also if some are not finite, or may be
// too large.
func (c *conversion) convertStored(dst, raw []byte) bool {
	if c.importance != nil {
		return false
	}
	var fit, ok bool
	switch c.from.typ {
	case gguf.F16:
		fit, ok = coding.EncodeHalves(c.to.typ, dst, raw)
	case gguf.BF16:
		var largest float32
		largest, ok = coding.EncodeBFloats(c.to.typ, dst, raw)
		fit = largest < withinScales || c.from == c.to && largest < float32(math.Inf(1))
	}
	if c.from == c.to {
		copy(dst, raw)
	}
	return fit && ok
}

// convertStrip converts the rows from first on, by way of values. Those that are converted again
// are not counted.
func (c *conversion) convertStrip(dst, raw []byte, values []float32, first int, again bool) error {
	if !coding.Decode(c.from.typ, values, raw) {
		c.from.DecodeRow(values, raw)
	}
	if coding.Magnitude(values) >= math.Float32bits(c.beyond) {
		i := firstFrom(values, c.beyond)
		return c.refuse(first, i, values[i])
	}
	if c.from == c.to {
		copy(dst, raw)
		return nil
	}
	if !again {
		c.misplaced.count(values)
	}
	if c.importance == nil { // to encoders, rows are one long row
		c.to.EncodeRow(dst, values, nil)
	}
	for r := 0; r*c.columns < len(values); r++ {
		row, out := values[r*c.columns:(r+1)*c.columns], dst[r*c.dstRow:(r+1)*c.dstRow]
		if c.importance != nil {
			c.to.EncodeRow(out, row, c.importanceOf(first+r))
		}
		if overflows(c.to.typ, out) {
			_, largest := extreme(row)
			return fmt.Errorf("%w: tensor %q, row %d has values up to %g, too large for %v: choose BF16 or F32",
				ErrInvalidWeights, c.tensor.Name, first+r, largest, c.to.typ)
		}
	}
	return nil
}

// refuse is the error about value i of the rows from first on.
func (c *conversion) refuse(first, i int, value float32) error {
	row, column := c.position(first, i)
	if math.Float32bits(value)&0x7f800000 == 0x7f800000 {
		return fmt.Errorf("%w: tensor %q, row %d, column %d is %g, expected a finite number: the source is damaged",
			ErrInvalidWeights, c.tensor.Name, row, column, value)
	}
	instead := "BF16 or F32"
	if c.to.typ == gguf.BF16 {
		instead = "F32"
	}
	return fmt.Errorf("%w: tensor %q, row %d, column %d is %g, too large for %v: choose %s",
		ErrInvalidWeights, c.tensor.Name, row, column, value, c.to.typ, instead)
}

// readData returns size bytes of t's data from off on, to be used once: a view where the source has
// one, else a copy in buf, which grows as needed. What a file has in the system's cache is
// copied even so.
func readData(t *gguf.Tensor, off int64, size int, buf *[]byte) ([]byte, error) {
	if c, ok := t.Data.(gguf.CachedReader); ok {
		*buf = grown(*buf, size)
		if b := (*buf)[:size]; c.ReadCached(b, off) {
			return b, nil
		}
	}
	if v, ok := t.Data.(gguf.Viewer); ok {
		if b := v.Bytes(); int64(len(b)) >= off+int64(size) {
			return b[off : off+int64(size)], nil
		}
	}
	*buf = grown(*buf, size)
	b := (*buf)[:size]
	if k, err := t.Data.ReadAt(b, off); k < size {
		return nil, fmt.Errorf("reading tensor %q at byte %d: got %d of %d bytes: %w", t.Name, off, k, size, err)
	}
	return b, nil
}

// position is where value i of the rows from first on is in the tensor.
func (c *conversion) position(first, i int) (row, column int) {
	at := first*c.columns + i
	width := c.tensor.Elements() / c.tensor.Rows()
	return at / width, at % width
}

// importanceOf is the importance of a row: each matrix of a stack has its own.
func (c *conversion) importanceOf(row int) []float32 {
	if c.importance == nil {
		return nil
	}
	matrix := row / c.tensor.Shape[1] % matrices(c.tensor)
	return c.importance[matrix*c.columns : (matrix+1)*c.columns]
}

// firstFrom is the first value of at least the given size, or not a number; -1 is none.
func firstFrom(values []float32, size float32) int {
	limit := math.Float32bits(size)
	for i, v := range values {
		if math.Float32bits(v)&^(1<<31) >= limit {
			return i
		}
	}
	return -1
}

// beyondScales is more than any type with a float16 scale can hold, and little enough
// that no sum of a search overflows, which could pass unnoticed.
const beyondScales = 1 << 29

// overflows reports whether finite weights became infinite in the blocks b of type t.
func overflows(t gguf.Type, b []byte) bool {
	size := t.BlockBytes()
	for _, at := range ggml.TraitsOf(t).Scales {
		for i := 0; i < len(b); i += size {
			scale := uint16(0)
			if at == ggml.Scattered {
				scale = scaleIQ1_M((*[56]byte)(b[i:])) // no other type has such a one
			} else {
				scale = le.Uint16(b[i+at:])
			}
			if scale&0x7c00 == 0x7c00 {
				return true
			}
		}
	}
	return false
}

// ReadAt converts the rows that hold the wanted bytes.
func (c *conversion) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("reading tensor %q at byte %d: before its start", c.tensor.Name, off)
	}
	short := int64(len(p)) > c.size()-off
	if short {
		p = p[:max(0, c.size()-off)]
	}
	s := conversionScratch.Get().(*scratch)
	defer conversionScratch.Put(s)
	var part []byte
	n := 0
	for n < len(p) {
		row, skip := int((off+int64(n))/int64(c.dstRow)), int((off+int64(n))%int64(c.dstRow))
		if whole := min((len(p)-n)/c.dstRow, c.chunkRows); skip == 0 && whole > 0 {
			if err := c.convert(p[n:n+whole*c.dstRow], row, s); err != nil {
				return n, err
			}
			n += whole * c.dstRow
			continue
		}
		if part == nil {
			part = make([]byte, c.dstRow)
		}
		s.again = skip > 0
		err := c.convert(part, row, s)
		s.again = false
		if err != nil {
			return n, err
		}
		n += copy(p[n:], part[skip:])
	}
	if short {
		return n, io.EOF
	}
	return n, nil
}

var _ gguf.Adviser = (*conversion)(nil)

// WillNeed and DontNeed pass on hints: each tensor is read once, so that of a large one need
// not stay in memory.
func (c *conversion) WillNeed() { c.tensor.WillNeed() }
func (c *conversion) DontNeed() { c.tensor.DontNeed() }
