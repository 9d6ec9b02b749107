package gguf

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/bits"
	"slices"

	"qtool/internal/printable"
)

// The file, all numbers little-endian unless it says otherwise:
//
//	"GGUF"  version u32  tensors u64  keys u64
//	keys    × { key string, value type u32, value }
//	tensors × { name string, dimensions u32, sizes u64..., type u32, offset u64 }
//	zeros up to a multiple of the alignment
//	tensor data; offsets count from here
//
// A string is a u64 length and bytes, an array an element type u32, a u64 count
// and elements. Version 1 has u32 in place of each u64 but the offset. Versions
// 2 and 3 differ in nothing but that 3 admits big-endian files.

const (
	version          = 3
	defaultAlignment = 32
	maxAlignment     = 16 << 20
	keyAlignment     = "general.alignment"
)

// contents is what the header of one file says, checked against the file's size.
type contents struct {
	version   int
	order     binary.ByteOrder
	alignment int
	metadata  *Metadata
	tensors   []*Tensor
	extents   []extent // of the tensors, in the same order
	gaps      []extent // padding between header, tensors and the end
	misplaced string   // the first tensor that is not where the one before ends, or ""
}

// extent is the place of a tensor's data in the file.
type extent struct{ off, size int64 }

// parse reads and checks a header, and unless headerOnly that the file reaches as far
// as it says. The tensors have no Data yet.
func parse(r io.ReaderAt, size int64, headerOnly bool) (*contents, error) {
	d := &decoder{r: r, size: size, order: binary.LittleEndian}
	c := &contents{}
	nTensors, nKeys, err := c.readHeader(d)
	if err != nil {
		return nil, err
	}
	if err := c.readMetadata(d, nKeys); err != nil {
		return nil, err
	}
	if err := c.readTensors(d, nTensors); err != nil {
		return nil, err
	}
	if headerOnly {
		d.size = math.MaxInt64
	}
	return c, c.place(d)
}

func (c *contents) readHeader(d *decoder) (nTensors, nKeys int, err error) {
	d.reading = "the magic bytes"
	if d.size < 4 {
		return 0, 0, d.fail(0, "expected %q, the file has only %d bytes; the download or copy is incomplete", magic, d.size)
	}
	head, err := d.next(int(min(d.size, 32)))
	if err != nil {
		return 0, 0, err
	}
	if string(head[:4]) != magic {
		return 0, 0, d.fail(0, "%s", wrongMagic(head))
	}
	d.pos = 4
	if err := c.readVersion(d); err != nil {
		return 0, 0, err
	}
	d.reading = "the number of tensors"
	if nTensors, err = d.countOf("tensors", d.countBytes()+4+4+8); err != nil {
		return 0, 0, err
	}
	d.reading = "the number of metadata keys"
	nKeys, err = d.countOf("keys", d.countBytes()+1+4+1)
	return nTensors, nKeys, err
}

// readVersion also finds the byte order: a small number is one in that order only.
func (c *contents) readVersion(d *decoder) error {
	d.reading = "the version"
	v, err := d.uint32()
	if err != nil {
		return err
	}
	if swapped := bits.ReverseBytes32(v); v > 0xffff && swapped <= 0xffff {
		d.order, v = binary.BigEndian, swapped
	}
	if v < 1 || v > version {
		return d.fail(4, "expected version 1 to %d, found %d; a newer qtool may read it", version, v)
	}
	d.v1 = v == 1
	c.version, c.order = int(v), d.order
	return nil
}

func (c *contents) readMetadata(d *decoder, n int) error {
	c.metadata = &Metadata{}
	for i := range n {
		d.reading = fmt.Sprintf("metadata key %d of %d", i+1, n)
		at := d.pos
		key, err := d.string()
		if err != nil {
			return err
		}
		if key == "" {
			return d.fail(at, "the key is empty")
		}
		d.reading = fmt.Sprintf("metadata key %s", printable.Quote(key))
		if c.metadata.Has(key) {
			return d.fail(at, "the key is there twice")
		}
		t, err := d.valueType()
		if err != nil {
			return err
		}
		v, err := d.value(t)
		if err != nil {
			return err
		}
		c.metadata.Set(key, v)
	}
	a, err := alignmentOf(c.metadata)
	if err != nil {
		d.reading = "metadata"
		return d.fail(d.pos, "%v", err)
	}
	c.alignment = a
	return nil
}

// alignmentOf is the alignment that md asks for.
func alignmentOf(md *Metadata) (int, error) {
	v, ok := md.Get(keyAlignment)
	if !ok {
		return defaultAlignment, nil
	}
	a, ok := v.(uint32)
	if !ok {
		return 0, fmt.Errorf("%s must be a uint32, found %T", keyAlignment, v)
	}
	return int(a), checkAlignment(int(a))
}

func checkAlignment(a int) error {
	if a < 1 || a > maxAlignment || a&(a-1) != 0 {
		return fmt.Errorf("the alignment must be a power of two up to %d, found %d", maxAlignment, a)
	}
	return nil
}

func (c *contents) readTensors(d *decoder, n int) error {
	seen := make(map[string]bool, min(n, 4096))
	for i := range n {
		d.reading = fmt.Sprintf("tensor %d of %d", i+1, n)
		at := d.pos
		name, err := d.string()
		if err != nil {
			return err
		}
		d.reading = fmt.Sprintf("tensor %s", printable.Quote(name))
		if seen[name] {
			return d.fail(at, "a tensor of that name is there twice")
		}
		seen[name] = true
		if err := c.readTensor(d, name); err != nil {
			return err
		}
	}
	return nil
}

func (c *contents) readTensor(d *decoder, name string) error {
	at := d.pos
	n, err := d.uint32()
	if err != nil {
		return err
	}
	if n > maxDims {
		return d.fail(at, "expected at most %d dimensions, found %d", maxDims, n)
	}
	shape := make([]int, n)
	for i := range shape {
		dim, err := d.count()
		if err != nil {
			return err
		}
		if shape[i] = int(dim); shape[i] < 0 || uint64(shape[i]) != dim {
			return d.fail(at, "dimension %d is %d, which is too large", i, dim)
		}
	}
	t, err := d.uint32()
	if err != nil {
		return err
	}
	size, err := measure(Type(t), shape)
	if err != nil {
		return d.fail(at, "%v", err)
	}
	at = d.pos
	off, err := d.uint64()
	if err != nil {
		return err
	}
	if off%uint64(c.alignment) != 0 {
		return d.fail(at, "its data begins at %d, which is no multiple of the alignment %d", off, c.alignment)
	}
	if off > math.MaxInt64/2 {
		return d.fail(at, "its data begins at %d, which is beyond any file", off)
	}
	c.tensors = append(c.tensors, &Tensor{Name: name, Type: Type(t), Shape: shape})
	c.extents = append(c.extents, extent{int64(off), size})
	return nil
}

// place turns offsets into places in the file and checks that the data of each
// tensor is there and is no other tensor's.
func (c *contents) place(d *decoder) error {
	start := padTo(d.pos, c.alignment)
	order := make([]int, len(c.tensors))
	for i := range order {
		order[i] = i
		c.extents[i].off += start
	}
	// Empty tensors sort before the one that shares their place.
	slices.SortStableFunc(order, func(a, b int) int {
		x, y := c.extents[a], c.extents[b]
		return cmp.Or(cmp.Compare(x.off, y.off), cmp.Compare(x.size, y.size))
	})
	end := d.pos // of what is before
	for k, i := range order {
		limit := d.size
		if k+1 < len(order) {
			limit = min(limit, c.extents[order[k+1]].off)
		}
		t, e := c.tensors[i], &c.extents[i]
		d.reading = fmt.Sprintf("the data of tensor %s", printable.Quote(t.Name))
		if !t.Type.Known() && t.Elements() > 0 {
			t.RawSize = max(0, limit-e.off)
			e.size = t.RawSize
			if e.size == 0 {
				return d.fail(e.off, "its type %d is unknown and there are no bytes for it", uint32(t.Type))
			}
		}
		if found := max(0, d.size-e.off); e.size > found {
			return d.fail(e.off, "expected %d bytes, found %d: the file is cut short; download or copy it again", e.size, found)
		}
		if e.size > 0 && e.off+e.size > limit {
			return d.fail(e.off, "its %d bytes overlap tensor %s, which begins after %d",
				e.size, printable.Quote(c.tensors[order[k+1]].Name), limit-e.off)
		}
		if e.off > end {
			c.gaps = append(c.gaps, extent{end, e.off - end})
		}
		end = max(end, e.off+e.size)
	}
	if end < d.size {
		c.gaps = append(c.gaps, extent{end, d.size - end})
	}
	for i, e := range c.extents {
		if e.off != start {
			c.misplaced = c.tensors[i].Name
			break
		}
		start += padTo(e.size, c.alignment)
	}
	return nil
}

func padTo(n int64, alignment int) int64 {
	a := int64(alignment)
	return (n + a - 1) / a * a
}
