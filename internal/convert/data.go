package convert

import (
	"encoding/binary"
	"io"
	"math"

	"qtool/gguf"
	"qtool/internal/half"
	"qtool/safetensors"
)

// newData gives the bytes of a recipe's tensor. A source that needs no change
// is handed on as it is, with its view of the mapping.
func newData(x *recipe, sources []sourceTensor, to gguf.Type) io.ReaderAt {
	if x.transposed {
		inner := *x
		inner.transposed = false
		inner.shape = []int{x.shape[1], x.shape[0], x.shape[2]}
		return &transposed{of: newData(&inner, sources, to), rows: x.shape[1], columns: x.shape[0], matrices: x.shape[2], itemBytes: to.BlockBytes()}
	}
	if len(sources) == 1 && x.heads == 0 && x.shift == 0 && x.cut.step == 0 && x.everyOther == 0 && sameType(sources[0].DType, to) {
		return sources[0].Data
	}
	if x.rowsLast {
		inner := *x
		inner.rowsLast = false
		return newData(&inner, []sourceTensor{rowsFirst(x, sources[0], to)}, to)
	}
	if x.everyOther > 0 { // each element is a row of its own
		all := recipe{shape: []int{1, x.shape[0], x.shape[1]}, cut: cut{groupRows: 2 * x.shape[0], first: x.everyOther - 1, step: 2}}
		return newData(&all, sources, to)
	}
	g := &gathered{itemBytes: to.BlockBytes(), width: 1, rows: x.shape[0], matrices: len(sources), cut: x.cut}
	if len(x.shape) > 1 {
		g.width, g.rows = x.shape[0], x.shape[1]
	}
	if x.cut.step > 0 && len(x.shape) > 2 {
		g.matrices = x.shape[2] - x.zeros
	}
	g.cutMatrices = g.matrices
	for _, s := range sources {
		g.sources = append(g.sources, source{s.Data, s.DType.Bits() / 8, shifted(decoder(s.DType, to), x.shift), s.scales})
	}
	for range x.zeros {
		g.matrices++
		g.sources = append(g.sources, source{data: zeros{}, itemBytes: to.BlockBytes()})
	}
	if x.heads > 0 {
		g.headRows = g.rows / x.heads
	}
	return g
}

// rowsFirst is a source [matrices, in, out] of the type to as [matrices, out, in].
func rowsFirst(x *recipe, s sourceTensor, to gguf.Type) sourceTensor {
	n, in, out := x.sourceShape[0], x.sourceShape[1], x.sourceShape[2]
	plain := &recipe{shape: []int{out, n * in}}
	data := &transposed{of: newData(plain, []sourceTensor{s}, to), rows: out, columns: in, matrices: n, itemBytes: to.BlockBytes()}
	kind := map[gguf.Type]safetensors.DType{gguf.F32: safetensors.F32, gguf.F16: safetensors.F16, gguf.BF16: safetensors.BF16}[to]
	return sourceTensor{Tensor: &safetensors.Tensor{Name: s.Name, DType: kind, Shape: []int{n, out, in}, Data: data}}
}

// zeros is data that is 0 everywhere.
type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

// shifted adds shift to the F32 values that decode gives; to those of the source if it is nil.
func shifted(decode func(dst, src []byte), shift float32) func(dst, src []byte) {
	if shift == 0 {
		return decode
	}
	return func(dst, src []byte) {
		if decode == nil {
			copy(dst, src)
		} else {
			decode(dst, src)
		}
		for i := range len(dst) / 4 {
			putF32(dst, i, math.Float32frombits(binary.LittleEndian.Uint32(dst[4*i:]))+shift)
		}
	}
}

func sameType(from safetensors.DType, to gguf.Type) bool {
	return from == safetensors.F32 && to == gguf.F32 ||
		from == safetensors.F16 && to == gguf.F16 || from == safetensors.BF16 && to == gguf.BF16
}

// gathered is tensor data that is made of rows of one or several sources when
// it is read: stacked, reordered within heads, converted to F32. The result is a stack of
// matrices; a vector is one, its elements rows of width 1.
type gathered struct {
	sources     []source // one for each matrix, or one for all that are cut, then those of zeros
	matrices    int
	cutMatrices int // with a cut: how many come from the first source; zeros follow
	rows        int // of a matrix
	cut         cut
	width       int // elements of a row
	itemBytes   int // bytes of one element of the result
	headRows    int // rows of one attention head if they are reordered, else 0
}

type source struct {
	data      io.ReaderAt
	itemBytes int
	// decode converts whole elements; nil if they stay as they are.
	decode func(dst, src []byte)
	scales *scales // nil if there are none
}

// Size is the number of bytes of the result.
func (g *gathered) Size() int64 {
	return int64(g.matrices) * int64(g.rows) * int64(g.width) * int64(g.itemBytes)
}

// locate finds the source row of a result row, and how many rows from there on
// follow each other in both.
func (g *gathered) locate(row int64) (s *source, sourceRow int64, run int64) {
	n := int64(g.rows)
	if step := int64(g.cut.step); step > 0 && row/n < int64(g.cutMatrices) {
		at := row/n*int64(g.cut.groupRows) + int64(g.cut.first) + row%n*step
		if step > 1 {
			return &g.sources[0], at, 1
		}
		return &g.sources[0], at, n - row%n
	}
	if g.cut.step > 0 {
		return &g.sources[1], 0, n - row%n
	}
	s, row = &g.sources[row/n], row%n
	if g.headRows == 0 {
		return s, row, n - row
	}
	// Within a head of d rows, Hugging Face rotates row i with row i+d/2, the
	// llama architecture row 2i with row 2i+1.
	d := int64(g.headRows)
	head, k := row/d, row%d
	return s, head*d + k%2*(d/2) + k/2, 1
}

// ReadAt computes the bytes that p asks for.
func (g *gathered) ReadAt(p []byte, off int64) (int, error) {
	size := g.Size()
	if off < 0 || off >= size {
		return 0, io.EOF
	}
	short := size-off < int64(len(p))
	if short {
		p = p[:size-off]
	}
	read := 0
	var scratch conversion
	for read < len(p) {
		n, err := g.readRun(p[read:], off+int64(read), &scratch)
		read += n
		if err != nil {
			return read, err
		}
	}
	if short {
		return read, io.EOF
	}
	return read, nil
}

// readRun reads up to the end of a run of rows.
func (g *gathered) readRun(p []byte, off int64, scratch *conversion) (int, error) {
	item, width := int64(g.itemBytes), int64(g.width)
	element, skip := off/item, off%item
	s, row, run := g.locate(element / width)
	at := row*width + element%width
	left := run*width - element%width
	p = p[:min(int64(len(p)), left*item-skip)]
	if s.decode == nil {
		return readFull(s.data, p, at*item+skip)
	}
	return scratch.read(s, p, at, int(skip), g)
}

// conversion holds the buffers of one ReadAt.
type conversion struct {
	from, to []byte
	scale    scaleRow
}

// conversionElements bounds the buffers.
const conversionElements = 8192

// read fills p from byte skip of element at on.
func (c *conversion) read(s *source, p []byte, at int64, skip int, g *gathered) (int, error) {
	itemBytes := g.itemBytes
	n := min(conversionElements, (skip+len(p)+itemBytes-1)/itemBytes)
	if len(c.to) < n*itemBytes {
		c.from, c.to = make([]byte, n*s.itemBytes), make([]byte, n*itemBytes)
	}
	from, to := c.from[:n*s.itemBytes], c.to[:n*itemBytes]
	if _, err := readFull(s.data, from, at*int64(s.itemBytes)); err != nil {
		return 0, err
	}
	if s.scales == nil {
		s.decode(to, from)
	} else if err := s.scales.decode(to, from, at, g.width, &c.scale); err != nil {
		return 0, err
	}
	return copy(p, to[skip:]), nil
}

func readFull(r io.ReaderAt, p []byte, off int64) (int, error) {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return n, nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// decoder converts elements of a source to the result's type, F32, or for 8-bit floats
// without scales BF16, which holds them all; nil if they have that type already.
func decoder(from safetensors.DType, to gguf.Type) func(dst, src []byte) {
	if sameType(from, to) {
		return nil
	}
	switch from {
	case safetensors.F16:
		return func(dst, src []byte) {
			for i := range len(src) / 2 {
				putF32(dst, i, half.FromFloat16(binary.LittleEndian.Uint16(src[2*i:])))
			}
		}
	case safetensors.BF16:
		return func(dst, src []byte) {
			for i := range len(src) / 2 {
				putF32(dst, i, half.FromBFloat16(binary.LittleEndian.Uint16(src[2*i:])))
			}
		}
	case safetensors.F8_E4M3:
		return eightBitDecoder(&e4m3, to)
	case safetensors.F8_E5M2:
		return eightBitDecoder(&e5m2, to)
	case safetensors.F64:
		return func(dst, src []byte) {
			for i := range len(src) / 8 {
				putF32(dst, i, float32(math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:]))))
			}
		}
	}
	panic("convert: no decoder from " + from.String() + " to " + to.String())
}

func eightBitDecoder(values *[256]float32, to gguf.Type) func(dst, src []byte) {
	if to == gguf.BF16 {
		return func(dst, src []byte) {
			for i, b := range src {
				binary.LittleEndian.PutUint16(dst[2*i:], half.ToBFloat16(values[b]))
			}
		}
	}
	return func(dst, src []byte) {
		for i, b := range src {
			putF32(dst, i, values[b])
		}
	}
}

func putF32(dst []byte, i int, f float32) {
	binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(f))
}

func encodeF32(values []float32) gguf.Memory {
	b := make(gguf.Memory, 4*len(values))
	for i, v := range values {
		putF32(b, i, v)
	}
	return b
}
