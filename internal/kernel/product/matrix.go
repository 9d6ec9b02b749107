package product

import (
	"encoding/binary"
	"math/bits"
	"unsafe"

	"qtool/internal/ggml"
	"qtool/internal/kernel/coding"
)

// Matrix is a weight of Rows × Cols elements whose rows are stored in some ggml
// type and decoded when they are needed. A Matrix is a small value; Slice and
// the operations never copy its storage.
type Matrix struct {
	Rows, Cols int

	// The elements, where they can be used in place: row r begins at r·lda. Rounded rows
	// are those of [Batch.RoundedRows], two elements in one.
	f32     []float32
	lda     int
	rounded bool

	data   []byte // else the encoded rows
	stride int    // bytes of one encoded row
	decode func(dst []float32, src []byte)
	typ    ggml.Type
	shift  uint8 // 1<<shift elements of typ make a block
	block  int   // of so many bytes; 0: typ is not known

	roundable bool
	far       bool // elements may lie in memory: they are fetched before they are needed
}

// Float32Matrix views rows*cols elements in place; writes to them show.
func Float32Matrix(elements []float32, rows, cols int) Matrix {
	return Matrix{Rows: rows, Cols: cols, f32: elements[:rows*cols], lda: cols, far: true}
}

// WithElements is m, a matrix of float32, with other elements.
func (m Matrix) WithElements(elements []float32) Matrix {
	m.f32 = elements[:m.Rows*m.Cols]
	return m
}

// EncodedMatrix views encoded rows, stride bytes each, that decode turns into
// cols elements. decode is also given parts of a row that begin and end at
// multiples of 256 elements or at the row's end; every ggml block divides 256.
func EncodedMatrix(data []byte, rows, cols, stride int, decode func(dst []float32, src []byte)) Matrix {
	return Matrix{Rows: rows, Cols: cols, data: data[:rows*stride], stride: stride, decode: decode, far: true}
}

// OfType is m, known to be stored in that type, so that a tier may decode it with
// instructions of its own instead of m's function. Types and shapes that no tier
// decodes, and F32, change nothing.
func (m Matrix) OfType(t ggml.Type) Matrix {
	if t.Known() && t != ggml.F32 && m.decode != nil && m.Cols%coding.Columns == 0 && m.stride == m.Cols/t.BlockElements()*t.BlockBytes() {
		m.typ, m.shift, m.block = t, uint8(bits.TrailingZeros(uint(t.BlockElements()))), t.BlockBytes()
	}
	return m
}

// Roundable is m, whose elements may be rounded to bfloat16 like those of encoded
// rows where the precision allows it.
func (m Matrix) Roundable() Matrix {
	m.roundable = true
	return m
}

// Encoded reports whether the elements are stored in another type than float32.
func (m Matrix) Encoded() bool { return m.decode != nil }

// cuts is what the columns of a part of a row must begin and end at a multiple of.
func (m Matrix) cuts() int {
	switch {
	case m.decode == nil:
		return 1
	case m.block == 0:
		return decodedColumns
	}
	return max(1<<m.shift, coding.Columns)
}

// rowBytes is the size of a row as it is stored.
func (m *Matrix) rowBytes() int {
	if m.decode == nil {
		return 4 * m.Cols
	}
	return m.stride
}

// Float32View returns b as float32 without a copy, or false where alignment or
// byte order forbid it.
func Float32View(b []byte) ([]float32, bool) {
	if len(b) == 0 {
		return nil, true
	}
	p := unsafe.Pointer(unsafe.SliceData(b))
	if !littleEndian || uintptr(p)%4 != 0 || len(b)%4 != 0 {
		return nil, false
	}
	return unsafe.Slice((*float32)(p), len(b)/4), true
}

var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// Slice is the matrix of rows from to to-1.
func (m Matrix) Slice(from, to int) Matrix {
	s := m
	s.Rows = to - from
	if m.decode == nil {
		s.f32 = m.f32[from*m.lda : to*m.lda]
	} else {
		s.data = m.data[from*m.stride : to*m.stride]
	}
	return s
}

// Row returns row r: in place where the storage is float32, else decoded into
// scratch, which must hold Cols elements.
func (m Matrix) Row(r int, scratch []float32) []float32 {
	if m.decode == nil {
		return m.f32[r*m.lda:][:m.Cols]
	}
	row := scratch[:m.Cols]
	m.decodeColumns(active(), row, r, 0, m.Cols)
	return row
}

// decodeColumns stores columns from to to-1 of row r in dst. Encoded rows can be cut
// at multiples of cuts.
func (m Matrix) decodeColumns(t *tier, dst []float32, r, from, to int) {
	m.decodeRows(t, dst, to-from, r, r+1, from, to)
}

// decodeRows is decodeColumns for rows r0 to r1-1, stride elements apart in dst.
func (m *Matrix) decodeRows(t *tier, dst []float32, stride, r0, r1, from, to int) {
	n := to - from
	if r0 == r1 || n == 0 {
		return
	}
	dst = dst[:(r1-r0-1)*stride+n]
	if d := &t.decoders[m.typ]; m.decode != nil && d.Float32 != nil {
		_ = m.bytesOf(r1-1, from, to)
		d.Float32(&dst[0], &m.bytesOf(r0, from, to)[0], n/d.Elements, r1-r0, 4*stride, m.stride)
		return
	}
	for r := r0; r < r1; r++ {
		row := dst[(r-r0)*stride:][:n]
		if m.decode == nil {
			copy(row, m.f32[r*m.lda+from:])
		} else {
			t.fetch(m, r+rowsAhead, from, to)
			m.decode(row, m.bytesOf(r, from, to))
		}
	}
}

// bytesOf is where columns from to to-1 of encoded row r are stored.
func (m Matrix) bytesOf(r, from, to int) []byte {
	row := m.data[r*m.stride : (r+1)*m.stride]
	if m.block > 0 { // its blocks are known: no division by a variable
		return row[from>>m.shift*m.block : to>>m.shift*m.block]
	}
	return row[from*m.stride/m.Cols : to*m.stride/m.Cols]
}
