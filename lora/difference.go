package lora

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
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

// newDifference fails with an error matching [ErrUnlike] if the shapes differ, or
// [quantize.ErrUnsupported] if a type cannot be decoded.
func newDifference(base, tuned *gguf.Tensor, workers int) (d *difference, err error) {
	if !gguf.SameShape(base.Shape, tuned.Shape) {
		return nil, fmt.Errorf("%w: tensor %q has shape %v in the base and %v in the tuned model", ErrUnlike, base.Name, base.Shape, tuned.Shape)
	}
	d = &difference{base: base, tuned: tuned, scratch: make([]differenceRows, workers)}
	for i, t := range []*gguf.Tensor{base, tuned} {
		if d.codecs[i], err = quantize.Lookup(t.Type); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
	}
	return d, nil
}

// columns is the length of a row.
func (d *difference) columns() int {
	if len(d.base.Shape) == 0 { // a single value
		return 1
	}
	return d.base.Shape[0]
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
	columns := len(dst) / (end - first)
	for row := range end - first {
		var of energies
		for i, w := range s.base[row*columns:][:columns] {
			c, w := float64(dst[row*columns+i]), float64(w)
			of.changes += c * c
			of.weights += w * w
		}
		if of.changes > 0 {
			of.row = of.changes / of.weights // infinite for a row of zeros
		}
		sums.join(of)
	}
	return nil
}

const (
	// noiseSample is about how many weights of a matrix are quantized again to learn what the error of
	// quantization is like, in whole rows and no fewer than noiseRows.
	noiseSample = 1 << 18
	noiseRows   = 64
	// Differences whose energy is no more than so many times what quantization alone explains may be
	// nothing else: searches and importance make errors that differ from those of the sample. Where
	// both tensors are of one type, a weight that moves to the next level counts twice by the
	// estimate's construction.
	noiseLimit         = 2
	noiseLimitSameType = 2.5
	// No row differs by so many times more, relative to its weights, than quantization explains
	// of any row of the sample.
	noiseRowLimit = 8
	// The leading singular values of a difference that is only noise hold no more than so many times what
	// those of the error of quantization hold.
	noiseTerms      = 4
	noiseTermsLimit = 1.3
)

// noise is what of the difference of a matrix rounding explains, on a sample of rows.
type noise struct {
	limit           float64
	columns         int
	changes, errors []float32 // rows of the difference, and of the error of quantization
	change, error   energies
}

// share is how much of the energy of the difference rounding explains.
func (n *noise) share() float64 {
	if n.change.changes == 0 {
		return 0
	}
	return min(1, n.error.changes/n.change.changes)
}

// rounding samples what quantizing the same weights as base and tuned are would make them differ
// by: the error of storing the tuned weights in the type of the base, less that of the base's in the
// type of the tuned. Of one block type, it is √2 times the error of storing their mean. Weights of
// one type without blocks, such as BF16, are what they are: all of their difference counts.
func (d *difference) rounding(pool *product.Pool, rows int) (*noise, error) {
	n := &noise{limit: noiseLimit, columns: d.columns()}
	same := d.base.Type == d.tuned.Type
	if same && d.base.Type.BlockElements() == 1 {
		return n, nil
	}
	if same {
		n.limit = noiseLimitSameType
	}
	take := min(rows, max(noiseRows, noiseSample/n.columns))
	n.changes, n.errors = make([]float32, take*n.columns), make([]float32, take*n.columns)
	errs, found := make([]error, take), make([][2]energies, take)
	pool.Run(take, func(worker, i int) {
		change, e := n.changes[i*n.columns:][:n.columns], n.errors[i*n.columns:][:n.columns]
		errs[i] = d.roundingOfRow(worker, i*rows/take, change, e, &found[i])
	})
	for _, f := range found { // in order, so that bits do not depend on threads
		n.change.join(f[0])
		n.error.join(f[1])
	}
	return n, firstError(errs)
}

// roundingOfRow stores the difference of a row, and an error of quantization.
func (d *difference) roundingOfRow(worker, row int, change, rounding []float32, sums *[2]energies) error {
	if err := d.fill(worker, change, row, row+1, &sums[0]); err != nil {
		return err
	}
	base := d.scratch[worker].base
	if d.base.Type == d.tuned.Type {
		mean := make([]float32, len(base))
		for i, w := range base {
			mean[i] = w + change[i]/2
		}
		addError(rounding, d.codecs[0], mean, math.Sqrt2)
	} else {
		tuned := make([]float32, len(base))
		for i, w := range base {
			tuned[i] = w + change[i]
		}
		addError(rounding, d.codecs[0], tuned, 1)
		addError(rounding, d.codecs[1], base, -1)
	}
	for i, e := range rounding {
		sums[1].changes += float64(e) * float64(e)
		sums[1].weights += float64(base[i]) * float64(base[i])
	}
	if sums[1].changes > 0 {
		sums[1].row = sums[1].changes / sums[1].weights
	}
	return nil
}

// addError adds a multiple of what storing a row with c changes; nothing if it cannot be
// stored so.
func addError(dst []float32, c *quantize.Codec, row []float32, times float32) {
	if !c.CanEncode() || slices.ContainsFunc(row, notFinite) {
		return
	}
	size, err := c.Type().RowSize(len(row))
	if err != nil {
		return
	}
	stored, back := make([]byte, size), make([]float32, len(row))
	c.EncodeRow(stored, row, nil)
	c.DecodeRow(back, stored)
	for i, v := range row {
		dst[i] += times * (back[i] - v)
	}
}

// explains reports whether rounding may be all of the difference whose energies are all.
func (n *noise) explains(pool *product.Pool, all energies) (bool, error) {
	switch {
	case n.error.changes == 0, n.change.changes > n.limit*n.error.changes, all.row > noiseRowLimit*n.error.row:
		return false, nil
	case n.change.changes == 0: // what differs is not in the sample
		return true, nil
	}
	change, err := n.leading(pool, n.changes, n.change)
	if err != nil {
		return false, err
	}
	rounding, err := n.leading(pool, n.errors, n.error)
	return change <= noiseTermsLimit*rounding, err
}

// leading is the share that the leading singular values of sampled rows hold.
func (n *noise) leading(pool *product.Pool, rows []float32, all energies) (float64, error) {
	s := &sketch{pool: pool, rows: len(rows) / n.columns, columns: n.columns, rng: rand.New(rand.NewPCG(0, 0)), held: [][]float32{rows}, all: all}
	d, err := s.decompose(goal{rank: noiseTerms})
	if err != nil {
		return 0, err
	}
	return d.energy(noiseTerms) / all.changes, nil
}
