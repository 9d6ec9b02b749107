package lora

import (
	"fmt"
	"io"
	"math"
	"slices"

	"qtool/gguf"
	"qtool/internal/kernel/product"
	"qtool/quantize"
)

// difference is a tensor of a tuned model less that of its base, both decoded to float32.
type difference struct {
	base, tuned *gguf.Tensor
	codecs      [2]*quantize.Codec // of base and tuned
	first       int                // row of the tensor that is row 0 of the matrix at hand
	scratch     []differenceRows   // of each worker
}

// differenceRows is what one worker needs.
type differenceRows struct {
	raw  []byte
	base []float32
}

// newDifference fails with an error matching [ErrMismatch] if the shapes differ, or
// [quantize.ErrUnsupported] if a type cannot be decoded.
func newDifference(base, tuned *gguf.Tensor, workers int) (d *difference, err error) {
	if !gguf.SameShape(base.Shape, tuned.Shape) {
		return nil, fmt.Errorf("%w: tensor %q has shape %v in the base and %v in the tuned model", ErrMismatch, base.Name, base.Shape, tuned.Shape)
	}
	d = &difference{base: base, tuned: tuned, scratch: make([]differenceRows, workers)}
	for i, t := range []*gguf.Tensor{base, tuned} {
		if d.codecs[i], err = quantize.Lookup(t.Type); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
	}
	return d, nil
}

// decode stores rows of one of the two tensors in dst.
func (s *differenceRows) decode(dst []float32, t *gguf.Tensor, c *quantize.Codec, first, end int) error {
	size := t.RowBytes()
	n := int(size) * (end - first)
	s.raw = slices.Grow(s.raw[:0], n)[:n]
	off := int64(first) * size
	if got, err := t.Data.ReadAt(s.raw, off); got < n {
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("reading tensor %q at byte %d: got %d of %d bytes: %w", t.Name, off, got, n, err)
	}
	c.DecodeRow(dst, s.raw)
	return nil
}

// fill implements rowSource.
func (d *difference) fill(worker int, dst []float32, first, end int, sums *energies) error {
	s := &d.scratch[worker]
	s.base = slices.Grow(s.base[:0], len(dst))[:len(dst)]
	if err := s.decode(s.base, d.base, d.codecs[0], d.first+first, d.first+end); err != nil {
		return err
	}
	if err := s.decode(dst, d.tuned, d.codecs[1], d.first+first, d.first+end); err != nil {
		return err
	}
	for i, w := range s.base {
		dst[i] -= w
	}
	if sums == nil {
		return nil
	}
	for i, w := range s.base {
		c, w := float64(dst[i]), float64(w)
		sums.changes += c * c
		sums.weights += w * w
	}
	return nil
}

const (
	// noiseSample is about how many weights of a tensor are quantized again to learn how large
	// the error of quantization is.
	noiseSample = 1 << 17
	// Differences whose energy is no more than so many times what quantization alone explains may be
	// nothing else: searches and importance make errors that differ from those of the sample. Where
	// both tensors are of one type, a weight that moves to the next level counts twice by the
	// estimate's construction.
	noiseLimit         = 2
	noiseLimitSameType = 2.5
	// A difference without structure has about the singular values of noise.
	noiseTerms     = 4
	noiseTermsOver = 1.5
)

// noise is what of a difference rounding explains, on a sample of rows.
type noise struct{ changes, rounding, limit float64 }

// share is how much of the energy of the difference rounding explains.
func (n noise) share() float64 {
	if n.changes == 0 {
		return 0
	}
	return min(1, n.rounding/n.changes)
}

// suffices reports whether rounding may be all that there is.
func (n noise) suffices() bool { return n.changes > 0 && n.changes <= n.limit*n.rounding }

// rounding estimates what quantizing the same weights as base and tuned are would make them differ
// by: the error of storing the tuned weights in the type of the base, and of the base's in that
// of the tuned. Of one block type, it is twice the error of storing their mean. Weights of one
// type without blocks, such as BF16, are what they are: all of their difference counts.
func (d *difference) rounding(pool *product.Pool) (noise, error) {
	n := noise{limit: noiseLimit}
	same := d.base.Type == d.tuned.Type
	columns, rows := d.base.Shape[0], d.base.Rows()
	if same && d.base.Type.BlockElements() == 1 || rows == 0 || columns == 0 {
		return n, nil
	}
	if same {
		n.limit = noiseLimitSameType
	}
	take := min(rows, max(1, noiseSample/columns))
	errs, found := make([]error, take), make([]noise, take)
	pool.Run(take, func(worker, i int) {
		found[i], errs[i] = d.roundingOfRow(worker, i*rows/take)
	})
	for _, f := range found { // in order, so that bits do not depend on threads
		n.changes += f.changes
		n.rounding += f.rounding
	}
	return n, firstError(errs)
}

func (d *difference) roundingOfRow(worker, row int) (n noise, err error) {
	s := &d.scratch[worker]
	columns := d.base.Shape[0]
	base, tuned := make([]float32, columns), make([]float32, columns)
	if err := s.decode(base, d.base, d.codecs[0], row, row+1); err != nil {
		return n, err
	}
	if err := s.decode(tuned, d.tuned, d.codecs[1], row, row+1); err != nil {
		return n, err
	}
	for i, w := range base {
		c := float64(tuned[i]) - float64(w)
		n.changes += c * c
	}
	if d.base.Type == d.tuned.Type {
		for i := range base {
			base[i] += (tuned[i] - base[i]) / 2
		}
		n.rounding = 2 * errorOf(d.codecs[0], base)
		return n, nil
	}
	n.rounding = errorOf(d.codecs[0], tuned) + errorOf(d.codecs[1], base)
	return n, nil
}

// errorOf is the energy of what storing a row with c changes; 0 if it cannot be stored so.
func errorOf(c *quantize.Codec, row []float32) (sum float64) {
	if !c.CanEncode() || slices.ContainsFunc(row, notFinite) {
		return 0
	}
	size, err := c.Type().RowSize(len(row))
	if err != nil {
		return 0
	}
	stored, back := make([]byte, size), make([]float32, len(row))
	c.EncodeRow(stored, row, nil)
	c.DecodeRow(back, stored)
	for i, v := range row {
		e := float64(back[i]) - float64(v)
		sum += e * e
	}
	return sum
}

// structureless reports whether the leading singular values of a matrix are no larger than those
// of independent random values with its energy: the largest of rows × columns such values is about
// (√rows+√columns)² of rows·columns shares (Marchenko and Pastur, 1967).
func (s *sketch) structureless() (bool, error) {
	d, err := s.decompose(goal{rank: noiseTerms})
	if err != nil {
		return false, err
	}
	edge := math.Sqrt(float64(s.rows)) + math.Sqrt(float64(s.columns))
	most := noiseTermsOver * float64(len(d.values)) * edge * edge / (float64(s.rows) * float64(s.columns))
	return d.energy(noiseTerms) <= most*s.all.changes, nil
}
