package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"

	"qtool/internal/printable"
)

const (
	magic     = "PAR1"
	maxFooter = 64 << 20
	// maxStructs bounds the column chunks and other structs that a footer holds; one takes
	// some 700 bytes in memory.
	maxStructs = 1 << 18
)

// File is an open Parquet file.
type File struct {
	r      io.ReaderAt
	size   int64
	meta   format.FileMetaData
	root   *node
	leaves []*column
	held   int64 // bytes of pages in memory
	unzstd *zstd.Decoder
}

// Open reads the footer of a file of the given size.
func Open(r io.ReaderAt, size int64) (*File, error) {
	footer, err := readFooter(r, size)
	if err != nil {
		return nil, err
	}
	n, structs, err := structLength(footer)
	switch {
	case err != nil:
		return nil, fmt.Errorf("its footer is damaged: %w", err)
	case structs > maxStructs:
		return nil, fmt.Errorf("its footer describes %d columns and chunks, expected at most %d; write it with larger row groups", structs, maxStructs)
	}
	f := &File{r: r, size: size}
	if err := decode(footer[:n], &f.meta); err != nil {
		return nil, fmt.Errorf("its footer is damaged: %w", err)
	}
	if f.meta.EncryptionAlgorithm.Value != nil {
		return nil, errors.New("it is encrypted; write it without encryption")
	}
	if err := f.openSchema(); err != nil {
		return nil, err
	}
	for i := range f.meta.RowGroups {
		if err := f.checkGroup(&f.meta.RowGroups[i]); err != nil {
			return nil, fmt.Errorf("row group %d: %w", i, err)
		}
	}
	return f, nil
}

func readFooter(r io.ReaderAt, size int64) ([]byte, error) {
	const tail = 8
	if size < int64(len(magic))+tail {
		return nil, fmt.Errorf("it has %d bytes, too few for a footer: it is cut short", size)
	}
	var end [tail]byte
	if err := readAt(r, end[:], size-tail); err != nil {
		return nil, err
	}
	if string(end[4:]) != magic {
		return nil, fmt.Errorf("it does not end with %s: it is cut short, or was not closed by its writer; download or write it again", magic)
	}
	n := int64(binary.LittleEndian.Uint32(end[:4]))
	if n > min(maxFooter, size-tail-int64(len(magic))) {
		return nil, fmt.Errorf("its footer would have %d bytes, and the file has %d", n, size)
	}
	footer := make([]byte, n)
	return footer, readAt(r, footer, size-tail-n)
}

// readAt fills b.
func readAt(r io.ReaderAt, b []byte, at int64) error {
	n, err := r.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("reading %d bytes at %d: %w", len(b), at, err)
}

// Rows is how many rows the file says it has.
func (f *File) Rows() int64 { return f.meta.NumRows }

// Size is how many bytes its values have before compression, as the file says.
func (f *File) Size() int64 {
	var n int64
	for _, g := range f.meta.RowGroups {
		n += max(g.TotalByteSize, 0)
	}
	return n
}

// Names are the fields of a row, in the order of the file.
func (f *File) Names() []string {
	names := make([]string, len(f.root.children))
	for i, c := range f.root.children {
		names[i] = c.name
	}
	return names
}

// checkGroup holds a row group against the schema and the size of the file.
func (f *File) checkGroup(g *format.RowGroup) error {
	if g.NumRows < 0 || len(g.Columns) != len(f.leaves) {
		return fmt.Errorf("it has %d rows and %d columns, and the schema %d columns", g.NumRows, len(g.Columns), len(f.leaves))
	}
	for i := range g.Columns {
		c, leaf := &g.Columns[i], f.leaves[i]
		m := &c.MetaData
		switch {
		case c.FilePath != "":
			return fmt.Errorf("column %s lies in another file, %s; give the files that hold the data", leaf.name(), printable.Quote(c.FilePath))
		case c.CryptoMetadata.Value != nil || len(c.EncryptedColumnMetadata) > 0:
			return fmt.Errorf("column %s is encrypted; write it without encryption", leaf.name())
		case m.Type != leaf.physical:
			return fmt.Errorf("column %s is %v in its row group and %v in the schema", leaf.name(), m.Type, leaf.physical)
		case m.NumValues < 0:
			return fmt.Errorf("column %s has %d values", leaf.name(), m.NumValues)
		}
		if err := checkCodec(m.Codec); err != nil {
			return fmt.Errorf("column %s: %w", leaf.name(), err)
		}
		if begin, end := chunkBounds(m); begin < int64(len(magic)) || end < begin || end > f.size {
			return fmt.Errorf("column %s lies from byte %d to %d, and the file has %d: it is cut short or damaged", leaf.name(), begin, end, f.size)
		}
	}
	return nil
}

// chunkBounds is where a column chunk lies in the file.
func chunkBounds(m *format.ColumnMetaData) (begin, end int64) {
	begin = m.DataPageOffset
	if d := m.DictionaryPageOffset; d > 0 && d < begin {
		begin = d
	}
	return begin, begin + m.TotalCompressedSize
}

// RowError is about one row, after which the next can be read.
type RowError struct{ error }

// Visit is called for each row, counted from 1: with the JSON of its fields, which is valid
// until it returns, or with a [RowError].
type Visit func(row int, fields [][]byte, err error) error

// Read visits all rows in order. It returns an error of visit as it is.
func (f *File) Read(visit Visit) error {
	a := assembler{file: f, fields: make([][]byte, len(f.root.children))}
	row := 0
	for i := range f.meta.RowGroups {
		g := &f.meta.RowGroups[i]
		for k, leaf := range f.leaves {
			if err := leaf.open(f, &g.Columns[k].MetaData); err != nil {
				return fmt.Errorf("row group %d: column %s: %w", i, leaf.name(), err)
			}
		}
		for range g.NumRows {
			row++
			if err := a.row(row, visit); err != nil {
				return err
			}
		}
		for _, leaf := range f.leaves {
			if !leaf.done {
				return fmt.Errorf("row group %d: column %s goes on after the last of %d rows", i, leaf.name(), g.NumRows)
			}
			leaf.release(f)
		}
	}
	return nil
}

// dotted is a path of names, as errors show it.
func dotted(path []string) string { return printable.Quote(strings.Join(path, ".")) }
