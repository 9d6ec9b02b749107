package lora

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"

	"qtool/gguf"
	"qtool/internal/arch"
	"qtool/internal/kernel/vector"
	"qtool/quantize"
)

// Sum is a base with an adapter added to its weights: W + B·A, computed in float32 as it is
// read.
type Sum struct {
	base    gguf.Model
	from    gguf.Model // what the change is added to: base, or see [Sum.Use]
	changes []*change  // in the order of the base
	byName  map[string]*change
	// Idle are tensors whose pair is all zero, which stay as they are.
	Idle []string
}

// change is what an adapter does to one tensor.
type change struct {
	stored *gguf.Tensor    // of the base
	from   *gguf.Tensor    // that the change is added to
	codec  *quantize.Codec // of from
	// Factors of the stored values of each matrix; nil where there is no separate scale. The
	// scale of the base stays as it is: what is stored is the sum divided by it.
	storedFactors, fromFactors []float32
	columns                    int
	rank                       int
	rows                       int         // of one matrix
	factors                    []float32   // rank of each row, of all matrices
	basis                      [][]float32 // of each matrix: rank rows of columns
	changed                    []rowSpan
}

// rowSpan are rows that follow each other.
type rowSpan struct{ first, end int }

// Add makes the sum of a base and an adapter, such as [Combine] makes. It reads no weights. It
// fails with [ErrMismatch] if the adapter does not fit the base, with [quantize.ErrUnsupported]
// if a weight cannot be decoded, and with [ErrUnsupported] if the base is no model.
func Add(base gguf.Model, a *Adapter) (*Sum, error) {
	if err := checkBase(base); err != nil {
		return nil, err
	}
	name, err := arch.Name(base)
	if err != nil {
		return nil, err
	}
	if a.Architecture != name {
		return nil, fmt.Errorf("%w: it was made for architecture %q, the base is %q", ErrMismatch, a.Architecture, name)
	}
	s := &Sum{base: base, from: base, byName: map[string]*change{}}
	for i := range a.Pairs {
		c, err := s.newChange(&a.Pairs[i], a)
		if err != nil {
			return nil, err
		}
		s.byName[a.Pairs[i].Tensor] = c
	}
	for _, t := range base.Tensors() {
		switch c := s.byName[t.Name]; {
		case c == nil:
		case len(c.changed) == 0:
			s.Idle = append(s.Idle, t.Name)
			delete(s.byName, t.Name)
		default:
			s.changes = append(s.changes, c)
		}
	}
	return s, nil
}

// checkBase refuses a file that says it is no model.
func checkBase(base gguf.Model) error {
	if kind, _ := base.Metadata().Str("general.type"); kind != "" && kind != "model" {
		return fmt.Errorf("%w: the base is a file of general.type %q; adapters are merged into models", ErrUnsupported, kind)
	}
	return nil
}

// newChange is the change that a pair makes.
func (s *Sum) newChange(p *Pair, a *Adapter) (*change, error) {
	c, err := s.fitted(p)
	if err != nil {
		return nil, err
	}
	c.bind(p, a.Scale(c.rank))
	for _, span := range c.changed {
		for m := span.first / c.rows; m <= (span.end-1)/c.rows; m++ {
			if scaleAt(c.storedFactors, m) == 0 {
				return nil, fmt.Errorf("%w: matrix %d of %q is multiplied by a scale of 0, so that nothing can be added to it", ErrUnsupported, m, p.Tensor)
			}
		}
	}
	return c, nil
}

// fitted finds the tensor of a pair and checks that both fit. It does not take the values.
func (s *Sum) fitted(p *Pair) (*change, error) {
	t, ok := s.base.Tensor(p.Tensor)
	if !ok {
		return nil, fmt.Errorf("%w: it has a pair for %q, and %s", ErrMismatch, p.Tensor, s.whyMissing(p.Tensor))
	}
	if err := s.checkTied(p.Tensor); err != nil {
		return nil, err
	}
	c := &change{stored: t, from: t, rank: p.Rank()}
	if err := c.fit(p); err != nil {
		return nil, err
	}
	var err error
	if c.storedFactors, err = factorsOf(s.base, t); err != nil {
		return nil, err
	}
	c.fromFactors = c.storedFactors
	if c.codec, err = quantize.Lookup(c.from.Type); err != nil {
		return nil, fmt.Errorf("tensor %q: %w", p.Tensor, err)
	}
	return c, nil
}

// factorsOf are the factors of a weight's separate scale; nil if it has none.
func factorsOf(m gguf.Model, t *gguf.Tensor) ([]float32, error) {
	scale, err := arch.ScaleOf(m, t)
	if err != nil && !errors.Is(err, gguf.ErrFormat) {
		err = fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	if scale == nil || err != nil {
		return nil, err
	}
	return arch.Factors(scale)
}

// scaleAt is the factor of a matrix.
func scaleAt(factors []float32, matrix int) float32 {
	if factors == nil {
		return 1
	}
	return factors[matrix]
}

// whyMissing says what the base has in place of a tensor.
func (s *Sum) whyMissing(name string) string {
	if name == arch.Output {
		return "the base has no such tensor: its embedding serves as the head too, which a pair on the head alone cannot change"
	}
	return fmt.Sprintf("the base has no such tensor among its %d; is it another model, or an adapter for another conversion of it?", len(s.base.Tensors()))
}

// checkTied refuses a pair on an embedding that is the head too.
func (s *Sum) checkTied(name string) error {
	if _, own := s.base.Tensor(arch.Output); name != arch.TokenEmbedding || own {
		return nil
	}
	return fmt.Errorf("%w: it has a pair for %q, which serves as the head too in this base: merged, it would change the head as well, for which it was not trained", ErrMismatch, name)
}

// fit checks the shapes of a pair against those of the tensor.
func (c *change) fit(p *Pair) error {
	shape := append(slices.Clone(c.stored.Shape), 1, 1)[:max(3, len(c.stored.Shape))]
	a, b := []int{shape[0], c.rank, shape[2]}, []int{c.rank, shape[1], shape[2]}
	if p.Tensor == arch.TokenEmbedding {
		a, b = []int{c.rank, shape[1], shape[2]}, []int{c.rank, shape[0], shape[2]}
	}
	if len(shape) > 3 || c.stored.Elements() == 0 {
		return fmt.Errorf("%w: it has a pair for %q, which has shape %v in the base and is no matrix", ErrMismatch, p.Tensor, c.stored.Shape)
	}
	for _, half := range []struct {
		name      string
		got, want []int
	}{{".lora_a", p.A.Shape, a}, {".lora_b", p.B.Shape, b}} {
		if !gguf.SameShape(half.got, half.want) {
			return fmt.Errorf("%w: tensor %q has shape %v, %q of shape %v in the base asks for %v",
				ErrMismatch, p.Tensor+half.name, half.got, p.Tensor, c.stored.Shape, half.want[:min(3, max(2, len(c.stored.Shape)))])
		}
	}
	c.columns, c.rows = shape[0], shape[1]
	return nil
}

// bind takes the values of a pair.
func (c *change) bind(p *Pair, scale float32) {
	rows, basis := p.B.Values, p.A.Values
	if p.Tensor == arch.TokenEmbedding {
		rows, basis = p.A.Values, exchanged(p.B.Values, c.columns, c.rank)
	}
	if scale != 1 {
		rows = scaled(rows, scale)
	}
	c.set(rows, basis)
}

// set takes factors of all rows and the basis of all matrices, and finds the rows that change.
func (c *change) set(factors, basis []float32) {
	c.factors = factors
	width := c.columns * c.rank
	for m := 0; m < len(basis); m += width {
		c.basis = append(c.basis, basis[m:m+width])
	}
	zero := make([]bool, len(c.basis))
	for m, b := range c.basis {
		zero[m] = allZero(b)
	}
	for row := range c.from.Rows() {
		if zero[row/c.rows] || allZero(c.factors[row*c.rank:][:c.rank]) {
			continue
		}
		if n := len(c.changed); n > 0 && c.changed[n-1].end == row {
			c.changed[n-1].end++
		} else {
			c.changed = append(c.changed, rowSpan{row, row + 1})
		}
	}
}

// exchanged exchanges rows and columns.
func exchanged(v []float32, rows, columns int) []float32 {
	out := make([]float32, len(v))
	for r := range rows {
		for c := range columns {
			out[c*rows+r] = v[r*columns+c]
		}
	}
	return out
}

func allZero(v []float32) bool {
	return !slices.ContainsFunc(v, func(x float32) bool { return x != 0 })
}

// delta fills dst with what is added to a row.
func (c *change) delta(dst []float32, row int) {
	clear(dst)
	basis := c.basis[row/c.rows]
	for r, f := range c.factors[row*c.rank:][:c.rank] {
		if f != 0 {
			vector.Axpy(dst, f, basis[r*c.columns:][:c.columns])
		}
	}
}

// rowScratch is what computing rows needs.
type rowScratch struct {
	raw           []byte
	weight, delta []float32
}

var rowScratches = sync.Pool{New: func() any { return new(rowScratch) }}

// row computes one row before the change, and the change.
func (c *change) row(s *rowScratch, row int) (weight, delta []float32, err error) {
	if err := c.read(s, row); err != nil {
		return nil, nil, err
	}
	multiply(s.weight, scaleAt(c.fromFactors, row/c.rows))
	return s.weight, s.delta, nil
}

// sum computes one row of the sum as the base stores it: divided by the base's scale.
func (c *change) sum(s *rowScratch, row int) ([]float32, error) {
	if err := c.read(s, row); err != nil {
		return nil, err
	}
	from, stored := scaleAt(c.fromFactors, row/c.rows), scaleAt(c.storedFactors, row/c.rows)
	if c.from == c.stored { // divided by it already
		from = stored
	}
	switch {
	case from == stored && (stored == 0 || stored == 1): // where it is 0, so is the change
		for i, d := range s.delta {
			s.weight[i] += d
		}
	case from == stored:
		for i, d := range s.delta {
			s.weight[i] += d / stored
		}
	case stored == 0:
		clear(s.weight)
	default:
		for i, d := range s.delta {
			s.weight[i] = (s.weight[i]*from + d) / stored
		}
	}
	return s.weight, nil
}

// read fills s with the values of a row as they are stored, and with its change.
func (c *change) read(s *rowScratch, row int) error {
	size := int(c.from.RowBytes())
	s.raw = slices.Grow(s.raw[:0], size)[:size]
	s.weight = slices.Grow(s.weight[:0], c.columns)[:c.columns]
	s.delta = slices.Grow(s.delta[:0], c.columns)[:c.columns]
	off := int64(row) * int64(size)
	if n, err := c.from.Data.ReadAt(s.raw, off); n < size {
		return fmt.Errorf("reading tensor %q at byte %d: got %d of %d bytes: %w", c.from.Name, off, n, size, err)
	}
	c.codec.DecodeRow(s.weight, s.raw)
	c.delta(s.delta, row)
	return nil
}

func multiply(v []float32, factor float32) {
	if factor == 1 {
		return
	}
	for i := range v {
		v[i] *= factor
	}
}

// sumData is the sum as the data of an F32 tensor.
type sumData struct{ *change }

var _ gguf.Adviser = sumData{}

// ReadAt computes the rows that hold the wanted bytes.
func (d sumData) ReadAt(p []byte, off int64) (int, error) {
	s := rowScratches.Get().(*rowScratch)
	defer rowScratches.Put(s)
	size := 4 * int64(d.columns)
	n := 0
	for n < len(p) {
		row, skip := int((off+int64(n))/size), (off+int64(n))%size
		if off < 0 || row >= d.from.Rows() {
			return n, io.EOF
		}
		weight, err := d.sum(s, row)
		if err != nil {
			return n, err
		}
		if skip > 0 || int64(len(p)-n) < size {
			k, _ := gguf.Float32s(weight).ReadAt(p[n:], skip) // ends with the row
			n += k
			continue
		}
		for i, v := range weight {
			binary.LittleEndian.PutUint32(p[n+4*i:], math.Float32bits(v))
		}
		n += int(size)
	}
	return n, nil
}

// WillNeed and DontNeed pass on hints.
func (d sumData) WillNeed() { d.from.WillNeed() }
func (d sumData) DontNeed() { d.from.DontNeed() }

// Model is the sum: the base with its changed weights as F32, computed as they are read. It
// lives as long as the base and the source do.
func (s *Sum) Model() gguf.Model {
	var tensors []*gguf.Tensor
	for _, t := range s.base.Tensors() {
		if c := s.byName[t.Name]; c != nil {
			t = &gguf.Tensor{Name: t.Name, Type: gguf.F32, Shape: t.Shape, Data: sumData{c}}
		}
		tensors = append(tensors, t)
	}
	return gguf.Assemble(s.base.Metadata(), tensors, s.base, s.from)
}

// Stored are the types of the changed tensors in the base, for [quantize.Options].
func (s *Sum) Stored() map[string]gguf.Type {
	types := map[string]gguf.Type{}
	for name, c := range s.byName {
		types[name] = c.stored.Type
	}
	return types
}

// Merged is the model of a plan that was made for [Sum.Model]. Rows that do not change, such as
// those of experts without a pair, are those of the base byte for byte where they keep
// their type, unless they come from the source.
func (s *Sum) Merged(plan *quantize.Plan) gguf.Model {
	planned := plan.Model()
	var tensors []*gguf.Tensor
	for _, t := range planned.Tensors() {
		if c := s.byName[t.Name]; c != nil && c.from == c.stored && t.Type == c.stored.Type {
			again := *t
			again.Data = &keptRows{c, t}
			t = &again
		}
		tensors = append(tensors, t)
	}
	return gguf.Assemble(planned.Metadata(), tensors, planned)
}

// keptRows is the data of a tensor of which some rows do not change.
type keptRows struct {
	*change
	merged *gguf.Tensor
}

var _ gguf.Adviser = (*keptRows)(nil)

// ReadAt reads changed rows from the merged tensor and others from the base.
func (k *keptRows) ReadAt(p []byte, off int64) (n int, err error) {
	size := k.stored.RowBytes()
	for n < len(p) && err == nil {
		at := off + int64(n)
		data, end := k.sourceAt(int(at / size))
		want, got := int(min(int64(len(p)-n), int64(end)*size-at)), 0
		if want <= 0 { // at the end, or before the start
			want = len(p) - n
		}
		if got, err = data.ReadAt(p[n:n+want], at); got == want {
			err = nil
		}
		n += got
	}
	return n, err
}

// sourceAt is where a row comes from, and the first row that comes from elsewhere.
func (k *keptRows) sourceAt(row int) (data io.ReaderAt, end int) {
	i, _ := slices.BinarySearchFunc(k.changed, row, func(s rowSpan, row int) int { return s.end - 1 - row })
	switch {
	case i == len(k.changed):
		return k.stored.Data, k.stored.Rows()
	case row < k.changed[i].first:
		return k.stored.Data, k.changed[i].first
	}
	return k.merged.Data, k.changed[i].end
}

// WillNeed and DontNeed pass on hints.
func (k *keptRows) WillNeed() { k.merged.WillNeed() }
func (k *keptRows) DontNeed() { k.merged.DontNeed() }
