package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/parquet-go/parquet-go/format"
)

const (
	maxFixed = 1 << 16  // bytes of a value of fixed length
	maxValue = 64 << 20 // bytes of any value
)

var errValues = errors.New("its values end too early")

// value is one value as it is stored: bits of numbers, bytes of everything else.
type value struct {
	bits  uint64
	bytes []byte
}

// decoder gives the values of a page one after another. Bytes stay valid until the next
// call.
type decoder interface {
	next() (value, error)
}

// plainDictionary is what early writers call both the encoding of dictionaries and that of
// values by their place in one.
const plainDictionary = format.Encoding(2)

// decoderOf reads the values of a data page, which are most at most.
func (c *column) decoderOf(encoding format.Encoding, b []byte, most uint64) (decoder, error) {
	switch encoding {
	case format.Plain:
		return &plain{c.physical, c.width, b, 0}, nil
	case plainDictionary, format.RLEDictionary:
		return c.dictionary.indices(b)
	case format.RLE:
		if c.physical == format.Boolean {
			return newBooleans(b)
		}
	case format.DeltaBinaryPacked:
		if c.physical == format.Int32 || c.physical == format.Int64 {
			return newDeltas(b, c.physical == format.Int32, most)
		}
	case format.DeltaLengthByteArray:
		if c.physical == format.ByteArray {
			return newLengths(b, most)
		}
	case format.DeltaByteArray:
		if c.physical == format.ByteArray || c.physical == format.FixedLenByteArray {
			return newPrefixes(b, most)
		}
	case format.ByteStreamSplit:
		if size := sizeOf(c.physical, c.width); size > 0 && c.physical != format.Int96 {
			return &split{c.physical, size, b, 0, make([]byte, size)}, nil
		}
	}
	return nil, fmt.Errorf("values of %v are encoded as %v, which is not read; write the file with plain or dictionary encoding", c.physical, encoding)
}

// sizeOf is the number of bytes of a value; 0 if values differ, or are bits.
func sizeOf(t format.Type, width int) int {
	switch t {
	case format.Int32, format.Float:
		return 4
	case format.Int64, format.Double:
		return 8
	case format.Int96:
		return 12
	case format.FixedLenByteArray:
		return width
	}
	return 0
}

// fixed is the value of t that b is.
func fixed(t format.Type, b []byte) value {
	switch t {
	case format.Int32, format.Float:
		return value{bits: uint64(binary.LittleEndian.Uint32(b))}
	case format.Int64, format.Double:
		return value{bits: binary.LittleEndian.Uint64(b)}
	}
	return value{bytes: b}
}

// plain is one value after another; byte arrays have their length before them, booleans
// are bits.
type plain struct {
	physical format.Type
	width    int
	b        []byte
	bit      int
}

func (p *plain) next() (value, error) {
	switch p.physical {
	case format.Boolean:
		if p.bit >= 8*len(p.b) {
			return value{}, errValues
		}
		p.bit++
		return value{bits: bitsAt(p.b, p.bit-1, 1)}, nil
	case format.ByteArray:
		v, rest, err := byteArray(p.b)
		p.b = rest
		return value{bytes: v}, err
	}
	n := sizeOf(p.physical, p.width)
	if len(p.b) < n {
		return value{}, errValues
	}
	v := fixed(p.physical, p.b[:n])
	p.b = p.b[n:]
	return v, nil
}

func byteArray(b []byte) (v, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, errValues
	}
	n := binary.LittleEndian.Uint32(b)
	if b = b[4:]; uint64(n) > uint64(len(b)) {
		return nil, nil, errValues
	}
	return b[:n], b[n:], nil
}

// dictionary is the plain values that the indices of data pages stand for.
type dictionary struct {
	physical format.Type
	width    int
	b        []byte
	starts   []uint32 // of byte arrays
	n        int
}

func newDictionary(c *column, b []byte, n int) (*dictionary, error) {
	d := &dictionary{physical: c.physical, width: c.width, b: b, n: n}
	if size := sizeOf(c.physical, c.width); size > 0 {
		if n > len(b)/size {
			return nil, errValues
		}
		return d, nil
	}
	if c.physical != format.ByteArray {
		return nil, fmt.Errorf("a dictionary of %v", c.physical)
	}
	if n > len(b)/4 {
		return nil, errValues
	}
	d.starts = make([]uint32, 0, n)
	for rest := b; len(d.starts) < n; {
		d.starts = append(d.starts, uint32(len(b)-len(rest)))
		var err error
		if _, rest, err = byteArray(rest); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// indices reads a page of indices: a byte with their width, then a hybrid.
func (d *dictionary) indices(b []byte) (decoder, error) {
	switch {
	case d == nil:
		return nil, errors.New("a page refers to a dictionary, and there is none before it")
	case len(b) == 0:
		return &indices{d, hybrid{}}, nil // a page of nulls
	case b[0] > 32:
		return nil, fmt.Errorf("indices of %d bits", b[0])
	}
	return &indices{d, hybrid{b: b[1:], width: int(b[0])}}, nil
}

type indices struct {
	d *dictionary
	h hybrid
}

func (i *indices) next() (value, error) {
	at, err := i.h.next()
	if err != nil {
		return value{}, err
	}
	d := i.d
	if uint64(at) >= uint64(d.n) {
		return value{}, fmt.Errorf("index %d into a dictionary of %d values", at, d.n)
	}
	if d.starts == nil {
		size := sizeOf(d.physical, d.width)
		return fixed(d.physical, d.b[int(at)*size:][:size]), nil
	}
	v, _, err := byteArray(d.b[d.starts[at]:])
	return value{bytes: v}, err
}

// booleans is a hybrid of bits after its length in bytes.
type booleans struct{ h hybrid }

func newBooleans(b []byte) (decoder, error) {
	v, _, err := byteArray(b)
	return &booleans{hybrid{b: v, width: 1}}, err
}

func (b *booleans) next() (value, error) {
	v, err := b.h.next()
	return value{bits: uint64(v)}, err
}

// deltas gives integers as differences: a head with the block's size, its number of
// miniblocks, the count and the first value; then blocks, each the least difference, a
// byte of width for each miniblock, and the miniblocks, bit-packed, less the least.
type deltas struct {
	b          []byte
	short      bool // 32 bits
	perMini    int
	minis      int
	left       uint64 // values of the whole that were not given yet
	value      uint64 // the next one
	least      uint64
	widths     []byte // of the block's miniblocks that are to come
	mini       []byte // the one at hand
	miniWidth  int
	miniAt     int // numbers of it that were used
	miniOpened bool
}

func newDeltas(b []byte, short bool, most uint64) (*deltas, error) {
	d := &deltas{b: b, short: short}
	block, minis, count, first := d.uvarint(), d.uvarint(), d.uvarint(), d.varint()
	if d.b == nil || minis == 0 || minis > 1<<10 || block == 0 || block > 1<<20 || block%minis != 0 || block/minis%8 != 0 || count > most {
		return nil, errors.New("the head of its differences is damaged")
	}
	d.minis, d.perMini, d.left, d.value = int(minis), int(block/minis), count, first
	return d, nil
}

// uvarint takes a number from b, which is nil after one that is damaged.
func (d *deltas) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.b = nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *deltas) varint() uint64 {
	u := d.uvarint()
	return u>>1 ^ -(u & 1)
}

func (d *deltas) next() (value, error) {
	v, err := d.number()
	if d.short {
		v = uint64(uint32(v))
	}
	return value{bits: v}, err
}

func (d *deltas) number() (uint64, error) {
	if d.left == 0 {
		return 0, errValues
	}
	v := d.value
	if d.left--; d.left == 0 {
		d.drop()
		return v, nil
	}
	if !d.miniOpened || d.miniAt == d.perMini {
		if err := d.open(); err != nil {
			return 0, err
		}
	}
	d.value += d.least + bitsAt(d.mini, d.miniAt*d.miniWidth, d.miniWidth)
	d.miniAt++
	return v, nil
}

// open begins the next miniblock, of the next block if the last one is through.
func (d *deltas) open() error {
	if len(d.widths) == 0 {
		d.least = d.varint()
		if len(d.b) < d.minis {
			return errValues
		}
		d.widths, d.b = d.b[:d.minis], d.b[d.minis:]
	}
	d.miniWidth, d.miniAt, d.miniOpened = int(d.widths[0]), 0, true
	d.widths = d.widths[1:]
	if d.miniWidth > 64 {
		return fmt.Errorf("differences of %d bits", d.miniWidth)
	}
	n := d.perMini * d.miniWidth / 8
	if n > len(d.b) {
		return errValues
	}
	d.mini, d.b = d.b[:n], d.b[n:]
	return nil
}

// drop passes over the miniblocks of the block that hold nothing any more; b is then what
// follows the numbers. Writers may leave their bytes out or not; their widths say.
func (d *deltas) drop() {
	for _, w := range d.widths {
		if n := d.perMini * int(w) / 8; w <= 64 && n <= len(d.b) {
			d.b = d.b[n:]
		}
	}
	d.widths = nil
}

// skip passes over all numbers, and returns what follows them.
func (d *deltas) skip() ([]byte, error) {
	if d.left == 0 {
		return d.b, nil
	}
	for d.left > 0 {
		if _, err := d.number(); err != nil {
			return nil, err
		}
	}
	return d.b, nil
}

// lengths is the lengths of byte arrays, as differences, and then all their bytes.
type lengths struct {
	sizes *deltas
	data  []byte
}

func newLengths(b []byte, most uint64) (*lengths, error) {
	through, err := newDeltas(b, true, most)
	if err != nil {
		return nil, err
	}
	data, err := through.skip()
	if err != nil {
		return nil, err
	}
	sizes, err := newDeltas(b, true, most)
	return &lengths{sizes, data}, err
}

func (l *lengths) next() (value, error) {
	n, err := l.sizes.next()
	if err != nil {
		return value{}, err
	}
	if n.bits > uint64(len(l.data)) {
		return value{}, errValues
	}
	v := l.data[:n.bits]
	l.data = l.data[n.bits:]
	return value{bytes: v}, nil
}

// prefixes gives byte arrays that share a beginning with the one before: the lengths of
// these, as differences, then the rest of each as in [lengths].
type prefixes struct {
	shared *deltas
	rest   *lengths
	last   []byte
}

func newPrefixes(b []byte, most uint64) (*prefixes, error) {
	through, err := newDeltas(b, true, most)
	if err != nil {
		return nil, err
	}
	suffixes, err := through.skip()
	if err != nil {
		return nil, err
	}
	rest, err := newLengths(suffixes, most)
	if err != nil {
		return nil, err
	}
	shared, err := newDeltas(b, true, most)
	return &prefixes{shared: shared, rest: rest}, err
}

func (p *prefixes) next() (value, error) {
	n, err := p.shared.next()
	if err != nil {
		return value{}, err
	}
	v, err := p.rest.next()
	if err != nil {
		return value{}, err
	}
	if n.bits > uint64(len(p.last)) || len(v.bytes) > maxValue-int(n.bits) {
		return value{}, fmt.Errorf("a value shares %d bytes with one of %d", n.bits, len(p.last))
	}
	p.last = append(p.last[:n.bits], v.bytes...)
	return value{bytes: p.last}, nil
}

// split has the first bytes of all values, then the second ones, and so on.
type split struct {
	physical format.Type
	size     int
	b        []byte
	at       int
	one      []byte
}

func (s *split) next() (value, error) {
	n := len(s.b) / s.size
	if s.at >= n {
		return value{}, errValues
	}
	for i := range s.one {
		s.one[i] = s.b[i*n+s.at]
	}
	s.at++
	return fixed(s.physical, s.one), nil
}

// widthOf is how many bits a level up to most takes.
func widthOf(most int) int { return bits.Len(uint(most)) }
