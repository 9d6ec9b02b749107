package gguf

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// field is a run of n numbers of width bytes, at an offset in a block.
type field struct{ off, width, n int }

// wideFields are the numbers of more than one byte in a block of each type:
// what differs between byte orders. IQ2_XXS is absent on purpose: ggml writes
// its grid indices as 32-bit words and reads them as bytes, so that a
// big-endian file of it has no meaning to agree on.
var wideFields = map[Type][]field{
	F32: {{0, 4, 1}}, F64: {{0, 8, 1}}, F16: {{0, 2, 1}}, BF16: {{0, 2, 1}},
	I8: {}, I16: {{0, 2, 1}}, I32: {{0, 4, 1}}, I64: {{0, 8, 1}},
	Q1_0: {{0, 2, 1}}, Q2_0: {{0, 2, 1}},
	Q4_0: {{0, 2, 1}}, Q4_1: {{0, 2, 2}},
	Q5_0: {{0, 2, 1}, {2, 4, 1}}, Q5_1: {{0, 2, 2}, {4, 4, 1}}, // the fifth bits are one word
	Q8_0: {{0, 2, 1}}, Q8_1: {{0, 2, 2}},
	Q2_K: {{80, 2, 2}}, Q3_K: {{108, 2, 1}}, Q4_K: {{0, 2, 2}}, Q5_K: {{0, 2, 2}}, Q6_K: {{208, 2, 1}},
	Q8_K:  {{0, 4, 1}, {260, 2, 16}},
	IQ1_S: {{0, 2, 1}, {34, 2, 8}}, IQ1_M: {{48, 2, 4}},
	IQ2_XS: {{0, 2, 33}}, IQ2_S: {{0, 2, 1}},
	IQ3_XXS: {{0, 2, 1}, {66, 4, 8}}, IQ3_S: {{0, 2, 1}},
	IQ4_NL: {{0, 2, 1}}, IQ4_XS: {{0, 2, 2}},
	TQ1_0: {{52, 2, 1}}, TQ2_0: {{64, 2, 1}},
	MXFP4: {}, NVFP4: {},
}

// bigEndian reads tensor data that is stored big-endian as little-endian.
type bigEndian struct {
	r      io.ReaderAt
	size   int64
	block  int
	fields []field
}

// littleEndianOf is the data of t, which r holds big-endian.
func littleEndianOf(t *Tensor, r io.ReaderAt) io.ReaderAt {
	fields, ok := wideFields[t.Type]
	if !ok {
		return unreadable{fmt.Errorf("tensor %s: %s data in a big-endian file cannot be put in order: %w",
			t.Name, t.Type, errors.ErrUnsupported)}
	}
	return &bigEndian{r, t.Size(), t.Type.BlockBytes(), fields}
}

// ReadAt converts whole blocks in place in p, and a block that p holds only a
// part of beside it.
func (d *bigEndian) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("reading at the negative offset %d", off)
	}
	done := 0
	for done < len(p) && off < d.size {
		within := int(off % int64(d.block))
		dst := p[done:]
		if within == 0 && len(dst) >= d.block {
			dst = dst[:min(int64(len(dst)/d.block*d.block), d.size-off)]
			if err := d.blocks(dst, off); err != nil {
				return done, err
			}
		} else {
			var one [512]byte
			if err := d.blocks(one[:d.block], off-int64(within)); err != nil {
				return done, err
			}
			dst = dst[:copy(dst, one[within:d.block])]
		}
		done += len(dst)
		off += int64(len(dst))
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}

// blocks fills p, a number of whole blocks.
func (d *bigEndian) blocks(p []byte, off int64) error {
	if n, err := d.r.ReadAt(p, off); n < len(p) {
		return err
	}
	for b := range slices.Chunk(p, d.block) {
		for _, f := range d.fields {
			for i := range f.n {
				at := f.off + i*f.width
				slices.Reverse(b[at : at+f.width])
			}
		}
	}
	return nil
}

// unreadable is data that exists but cannot be given.
type unreadable struct{ err error }

func (u unreadable) ReadAt([]byte, int64) (int, error) { return 0, u.err }
