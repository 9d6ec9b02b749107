package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/parquet-go/parquet-go/format"
)

// column is one leaf of the schema, at one triple of its chunk in the row group at hand.
type column struct {
	path           []string
	physical       format.Type
	width          int // of values of fixed length
	maxDef, maxRep int
	write          writer

	rep, def int   // the triple
	value    value // if def is maxDef
	done     bool  // there is none

	file       *File
	codec      format.CompressionCodec
	at, end    int64 // what is to be read of the chunk
	left       int64 // triples of the chunk that were not decoded yet
	pageLeft   int   // of its page
	reps, defs hybrid
	values     decoder
	dictionary *dictionary
	packed     []byte // a page as it is in the file
	page       []byte // decompressed
	held       int64  // bytes of packed, page and dictionary
}

func (c *column) name() string { return dotted(c.path) }

// open begins a chunk, at its first triple.
func (c *column) open(f *File, m *format.ColumnMetaData) error {
	c.file, c.codec, c.dictionary = f, m.Codec, nil
	c.at, c.end = chunkBounds(m)
	c.left, c.pageLeft, c.done = m.NumValues, 0, false
	return c.advance()
}

// release forgets the memory of a chunk.
func (c *column) release(f *File) {
	c.packed, c.page, c.dictionary, c.values = nil, nil, nil, nil
	c.reps, c.defs = hybrid{}, hybrid{}
	f.held -= c.held
	c.held = 0
}

// advance goes to the next triple.
func (c *column) advance() error {
	for c.pageLeft == 0 {
		if c.left == 0 {
			c.done = true
			return nil
		}
		if err := c.nextPage(); err != nil {
			return err
		}
	}
	c.pageLeft--
	c.left--
	rep, err := c.level(&c.reps, c.maxRep)
	if err != nil {
		return err
	}
	if c.def, err = c.level(&c.defs, c.maxDef); err != nil {
		return err
	}
	c.rep = rep
	if c.def == c.maxDef {
		c.value, err = c.values.next()
	}
	return err
}

func (c *column) level(h *hybrid, most int) (int, error) {
	if most == 0 {
		return 0, nil
	}
	v, err := h.next()
	if err == nil && v > uint32(most) {
		err = fmt.Errorf("a level is %d, expected at most %d", v, most)
	}
	return int(v), err
}

// nextPage reads the next page, which may be the dictionary.
func (c *column) nextPage() error {
	at := c.at
	h, err := c.header()
	if err == nil {
		err = c.read(h)
	}
	if err != nil {
		return fmt.Errorf("the page at byte %d: %w", at, err)
	}
	return nil
}

// header reads the header of a page.
func (c *column) header() (*format.PageHeader, error) {
	for size := int64(1 << 10); ; size *= 16 {
		b := c.room(&c.packed, int(min(size, c.end-c.at)))
		if err := readAt(c.file.r, b, c.at); err != nil {
			return nil, err
		}
		n, _, err := structLength(b)
		if errors.Is(err, errShort) && size < c.end-c.at && size < maxHeader {
			continue
		}
		var h format.PageHeader
		if err == nil {
			err = decode(b[:n], &h)
		}
		if err != nil {
			return nil, fmt.Errorf("its header is damaged: %w", err)
		}
		c.at += int64(n)
		return &h, nil
	}
}

const maxHeader = 16 << 20

// read reads what follows a header.
func (c *column) read(h *format.PageHeader) error {
	packed, size := int64(h.CompressedPageSize), int64(h.UncompressedPageSize)
	if packed < 0 || size < 0 || packed > c.end-c.at {
		return fmt.Errorf("it would have %d bytes, %d decompressed, and the column has %d more", packed, size, c.end-c.at)
	}
	if size > maxPage || size > leastPage && size/maxRatio > packed {
		return fmt.Errorf("it would expand from %d bytes to %d, expected at most %d, or %d times as many; write the file with smaller pages", packed, size, maxPage, maxRatio)
	}
	b := c.room(&c.packed, int(packed))
	if err := readAt(c.file.r, b, c.at); err != nil {
		return err
	}
	c.at += packed
	switch {
	case h.Type == format.DictionaryPage && h.DictionaryPageHeader.Valid:
		return c.readDictionary(&h.DictionaryPageHeader.V, b, int(size))
	case h.Type == format.DataPage && h.DataPageHeader.Valid:
		return c.readData(&h.DataPageHeader.V, b, int(size))
	case h.Type == format.DataPageV2 && h.DataPageHeaderV2.Valid:
		return c.readDataV2(&h.DataPageHeaderV2.V, b, int(size))
	case h.Type == format.IndexPage:
		return nil
	}
	return fmt.Errorf("it is of type %d, which is not known, or its header is not", h.Type)
}

func (c *column) readDictionary(h *format.DictionaryPageHeader, b []byte, size int) error {
	if c.dictionary != nil {
		return errors.New("it is a second dictionary")
	}
	if h.NumValues < 0 || h.Encoding != format.Plain && h.Encoding != plainDictionary {
		return fmt.Errorf("a dictionary of %d values encoded as %v", h.NumValues, h.Encoding)
	}
	var own []byte
	b, err := c.decompress(&own, b, size)
	if err != nil {
		return err
	}
	if own == nil {
		b = append(own, b...)
	}
	c.dictionary, err = newDictionary(c, b, int(h.NumValues))
	if err != nil {
		return err
	}
	return c.hold()
}

// readData begins a data page: repetition levels, definition levels and values, all
// compressed together. The length of the levels stands before each.
func (c *column) readData(h *format.DataPageHeader, b []byte, size int) error {
	b, err := c.decompress(&c.page, b, size)
	if err != nil {
		return err
	}
	if c.reps.b, b, err = c.levels(b, c.maxRep, h.RepetitionLevelEncoding); err != nil {
		return err
	}
	if c.defs.b, b, err = c.levels(b, c.maxDef, h.DefinitionLevelEncoding); err != nil {
		return err
	}
	return c.begin(h.NumValues, h.Encoding, b)
}

func (c *column) levels(b []byte, most int, encoding format.Encoding) (levels, rest []byte, err error) {
	if most == 0 {
		return nil, b, nil
	}
	if encoding != format.RLE {
		return nil, nil, fmt.Errorf("its levels are encoded as %v; write the file again", encoding)
	}
	if len(b) < 4 || uint64(binary.LittleEndian.Uint32(b)) > uint64(len(b)-4) {
		return nil, nil, errLevels
	}
	n := 4 + int(binary.LittleEndian.Uint32(b))
	return b[4:n], b[n:], nil
}

// readDataV2 begins a data page of the second version, whose levels lie uncompressed before
// the rest; the header has their lengths.
func (c *column) readDataV2(h *format.DataPageHeaderV2, b []byte, size int) error {
	reps, defs := int64(h.RepetitionLevelsByteLength), int64(h.DefinitionLevelsByteLength)
	if reps < 0 || defs < 0 || reps+defs > int64(min(len(b), size)) {
		return errLevels
	}
	c.reps.b, c.defs.b = b[:reps], b[reps:reps+defs]
	b = b[reps+defs:]
	if !h.IsCompressed.Valid || h.IsCompressed.V {
		var err error
		if b, err = c.decompress(&c.page, b, size-int(reps+defs)); err != nil {
			return err
		}
	}
	return c.begin(h.NumValues, h.Encoding, b)
}

// begin is at the first triple of a page.
func (c *column) begin(n int32, encoding format.Encoding, b []byte) error {
	if n < 0 || int64(n) > min(c.left, maxPageValues) {
		return fmt.Errorf("it has %d values, and the column has %d more; expected at most %d", n, c.left, maxPageValues)
	}
	c.reps = hybrid{b: c.reps.b, width: widthOf(c.maxRep)}
	c.defs = hybrid{b: c.defs.b, width: widthOf(c.maxDef)}
	c.pageLeft = int(n)
	if err := c.hold(); err != nil || n == 0 {
		return err
	}
	if len(b) == 0 && c.maxDef > 0 { // of nulls alone, which some writers end here
		c.values = &plain{c.physical, c.width, nil, 0}
		return nil
	}
	var err error
	c.values, err = c.decoderOf(encoding, b, uint64(n))
	return err
}

// room is n bytes of a buffer that grows.
func (c *column) room(buf *[]byte, n int) []byte {
	if cap(*buf) < n {
		*buf = make([]byte, n)
	}
	*buf = (*buf)[:n]
	return *buf
}

// hold counts the memory of the column, which is bounded for all columns together.
func (c *column) hold() error {
	now := int64(cap(c.packed) + cap(c.page))
	if d := c.dictionary; d != nil {
		now += int64(cap(d.b) + 4*cap(d.starts))
	}
	c.file.held += now - c.held
	c.held = now
	if c.file.held > maxHeld {
		return fmt.Errorf("the pages of all columns together take more than %d MiB; write the file with smaller pages", maxHeld>>20)
	}
	return nil
}
