package gguf

import (
	"fmt"
	"io"
	"slices"

	"qtool/internal/ggml"
)

// bigEndian reads tensor data that is stored big-endian as little-endian.
type bigEndian struct {
	r     io.ReaderAt
	size  int64
	block int
	words []ggml.Words
}

// littleEndianOf is the data of t, which r holds big-endian.
func littleEndianOf(t *Tensor, r io.ReaderAt) io.ReaderAt {
	words := ggml.TraitsOf(t.Type).Words
	if words == nil {
		return unreadable{fmt.Errorf("%w: tensor %q: %s data in a big-endian file cannot be put in order", ErrUnsupported, t.Name, t.Type)}
	}
	return &bigEndian{r, t.Size(), t.Type.BlockBytes(), words}
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
		for _, w := range d.words {
			for i := range w.Count {
				at := w.Offset + i*w.Width
				slices.Reverse(b[at : at+w.Width])
			}
		}
	}
	return nil
}

// unreadable is data that exists but cannot be given.
type unreadable struct{ err error }

func (u unreadable) ReadAt([]byte, int64) (int, error) { return 0, u.err }
