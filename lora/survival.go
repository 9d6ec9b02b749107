package lora

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"

	"qtool/gguf"
	"qtool/internal/arch"
	"qtool/internal/work"
	"qtool/quantize"
)

// Survival tells what is left of the change ΔW of one tensor when W+ΔW is stored as some
// type. D is what the stored weight is more than W, so that without any loss D = ΔW.
type Survival struct {
	Tensor string
	Type   gguf.Type
	// Change is ‖ΔW‖/‖W‖, how large the change is.
	Change float64
	// Kept is ⟨D,ΔW⟩/‖ΔW‖², the share of the change that is in the stored weight: 1 is all of
	// it, 0 none, and more than 1 is too much of it.
	Kept float64
	// Noise is ‖D−Kept·ΔW‖/‖ΔW‖, how large what was not asked for is beside the change.
	// With weights of an unquantized source, that includes what quantizing them costs without
	// an adapter.
	Noise float64

	moments
}

// Share is Kept, less what is too much of it: 1 is best.
func (s *Survival) Share() float64 { return 1 - math.Abs(1-s.Kept) }

// moments are the sums that a Survival is made of, over rows that change.
type moments struct{ weights, changes, common, stored float64 } // Σw², ΣΔ², ΣDΔ, ΣD²

func (m *moments) join(o moments) {
	m.weights += o.weights
	m.changes += o.changes
	m.common += o.common
	m.stored += o.stored
}

// survival makes a Survival of the sums.
func (m moments) survival(tensor string, typ gguf.Type) Survival {
	s := Survival{Tensor: tensor, Type: typ, Kept: 1, moments: m}
	if m.weights > 0 {
		s.Change = math.Sqrt(m.changes / m.weights)
	}
	if m.changes > 0 {
		s.Kept = m.common / m.changes
		s.Noise = math.Sqrt(max(0, m.stored/m.changes-s.Kept*s.Kept))
	}
	return s
}

// Together is the survival of the changes of several tensors as if they were one; its type is that
// of the first.
func Together(of []Survival) Survival {
	var m moments
	for _, s := range of {
		m.join(s.moments)
	}
	return m.survival("", of[0].Type)
}

// Measuring says how [Sum.Survival] and [Sum.Keep] work.
type Measuring struct {
	Threads int // 0 takes one for each CPU; the result does not depend on it
	// Progress, unless nil, gets how many of how many weights were looked at.
	Progress func(tensor string, done, total int64)
	// Candidates are the types that Keep chooses from.
	Candidates []gguf.Type
}

// Survival stores every changed tensor as plan says and measures what is left of its change.
func (s *Sum) Survival(ctx context.Context, plan *quantize.Plan, o Measuring) ([]Survival, error) {
	pool := work.NewPool(o.Threads)
	defer pool.Close()
	var done, total int64
	for _, c := range s.changes {
		total += c.changedWeights()
	}
	var out []Survival
	for _, c := range s.changes {
		report := func(n int64) {
			if done += n; o.Progress != nil {
				o.Progress(c.stored.Name, done, total)
			}
		}
		t, _ := plan.Tensor(c.stored.Name)
		m, err := c.measure(ctx, pool, t, 1, report)
		if err != nil {
			return nil, err
		}
		c.from.DontNeed()
		out = append(out, m.survival(t.Name, t.Type))
	}
	return out, nil
}

func (c *change) changedWeights() (n int64) {
	for _, s := range c.changed {
		n += int64(s.end-s.first) * int64(c.columns)
	}
	return n
}

// chunkWeights is about how many weights are looked at at once, in whole rows.
const chunkWeights = 1 << 15

// chunks cuts the rows that change, and leaves out all but every n-th of what results.
func (c *change) chunks(every int) (chunks []rowSpan) {
	rows := max(1, chunkWeights/c.columns)
	i := 0
	for _, s := range c.changed {
		for first := s.first; first < s.end; first += rows {
			if i%every == 0 {
				chunks = append(chunks, rowSpan{first, min(s.end, first+rows)})
			}
			i++
		}
	}
	return chunks
}

// measure compares t, the stored tensor, with what it is made of, on every n-th chunk.
func (c *change) measure(ctx context.Context, pool *work.Pool, t *gguf.Tensor, every int, report func(weights int64)) (moments, error) {
	codec, err := quantize.Lookup(t.Type)
	if err != nil {
		return moments{}, err
	}
	readers := make([]survivalReader, pool.Workers())
	chunks := c.chunks(every)
	var total moments
	for batch := range slices.Chunk(chunks, 8*pool.Workers()) {
		sums, errs := make([]moments, len(batch)), make([]error, len(batch))
		err := pool.RunWithin(ctx, len(batch), func(worker, i int) {
			sums[i], errs[i] = readers[worker].compare(c, t, codec, batch[i])
		})
		if err = errors.Join(err, firstError(errs)); err != nil {
			return moments{}, err
		}
		weights := int64(0)
		for i, b := range batch { // in order, so that bits do not depend on threads
			total.join(sums[i])
			weights += int64(b.end-b.first) * int64(c.columns)
		}
		report(weights)
	}
	return total, nil
}

func firstError(errs []error) error {
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return errs[i]
	}
	return nil
}

// survivalReader is what one worker needs.
type survivalReader struct {
	raw    []byte
	values []float32
	rowScratch
}

// compare looks at rows of t.
func (r *survivalReader) compare(c *change, t *gguf.Tensor, codec *quantize.Codec, rows rowSpan) (m moments, err error) {
	size := t.RowBytes()
	n := int(size) * (rows.end - rows.first)
	r.raw = slices.Grow(r.raw[:0], n)[:n]
	if _, err := t.Data.ReadAt(r.raw, int64(rows.first)*size); err != nil {
		return m, err
	}
	r.values = slices.Grow(r.values[:0], c.columns)[:c.columns]
	for row := rows.first; row < rows.end; row++ {
		codec.DecodeRow(r.values, r.raw[int64(row-rows.first)*size:][:size])
		multiply(r.values, scaleAt(c.storedFactors, row/c.rows))
		weight, delta, err := c.row(&r.rowScratch, row)
		if err != nil {
			return m, err
		}
		for i, w := range weight {
			w, d := float64(w), float64(delta[i])
			stored := float64(r.values[i]) - w
			m.weights += w * w
			m.changes += d * d
			m.common += stored * d
			m.stored += stored * stored
		}
	}
	return m, nil
}

// sampleWeights is about how many weights of a tensor types are tried on first.
const sampleWeights = 1 << 21

// Keep gives the changed tensors of which less than share survives the type of the fewest bytes, at
// least one bit per weight more than now, with which that much does, and F32 where none does. It changes plan, and what is said of
// those tensors in survivals. It returns how many tensors it raised. A head with a separate scale
// keeps its type, since llama.cpp knows such a scale beside NVFP4 alone.
func (s *Sum) Keep(ctx context.Context, plan *quantize.Plan, survivals []Survival, share float64, o Measuring) (raised int, err error) {
	pool := work.NewPool(o.Threads)
	defer pool.Close()
	var done, total int64
	for i := range survivals {
		if survivals[i].Share() < share && !s.pinned(survivals[i].Tensor) {
			total += s.byName[survivals[i].Tensor].changedWeights()
		}
	}
	for i := range survivals {
		of := &survivals[i]
		if of.Share() >= share || s.pinned(of.Tensor) {
			continue
		}
		c := s.byName[of.Tensor]
		if *of, err = c.raise(ctx, pool, plan, *of, share, o.Candidates); err != nil {
			return raised, err
		}
		raised++
		c.from.DontNeed()
		if done += c.changedWeights(); o.Progress != nil {
			o.Progress(of.Tensor, done, total)
		}
	}
	return raised, nil
}

// pinned reports whether a tensor can have no other type.
func (s *Sum) pinned(tensor string) bool {
	return tensor == arch.Output && s.byName[tensor].storedFactors != nil
}

// raise tries types in the order of their size.
func (c *change) raise(ctx context.Context, pool *work.Pool, plan *quantize.Plan, was Survival, share float64, types []gguf.Type) (best Survival, err error) {
	every := int(max(1, c.changedWeights()/sampleWeights))
	for _, typ := range c.above(was.Type, types) {
		err := plan.Give(was.Tensor, typ)
		if errors.Is(err, quantize.ErrNoImportance) {
			continue
		}
		if err != nil {
			return best, err
		}
		enough, steps := true, []int{every}
		if every > 1 {
			steps = append(steps, 1)
		}
		for _, step := range steps {
			t, _ := plan.Tensor(was.Tensor)
			m, err := c.measure(ctx, pool, t, step, func(int64) {})
			if errors.Is(err, quantize.ErrInvalidWeights) && typ != gguf.F32 { // too large for it
				enough = false
				break
			}
			if err != nil {
				return best, err
			}
			best = m.survival(was.Tensor, typ)
			if enough = best.Share() >= share; !enough {
				break
			}
		}
		if enough {
			break
		}
	}
	return best, nil
}

// above are the types of at least one bit per weight more than typ has, in the order of their
// size; F32 is the last. A type of about as many bits keeps a change too, since weights are rounded
// to another grid, but adds an error as large as that of the base.
func (c *change) above(typ gguf.Type, types []gguf.Type) (above []gguf.Type) {
	bytes := func(t gguf.Type) int64 {
		n, err := t.RowSize(c.columns)
		if err != nil {
			return math.MaxInt64
		}
		return n
	}
	for _, t := range append(slices.Clone(types), gguf.BF16, gguf.F16) {
		if n := bytes(t); t != typ && t != gguf.F32 && n >= bytes(typ)+int64(c.columns/8) && n < bytes(gguf.F32) && !slices.Contains(above, t) {
			above = append(above, t)
		}
	}
	slices.SortStableFunc(above, func(a, b gguf.Type) int { return cmp.Compare(bytes(a), bytes(b)) })
	return append(above, gguf.F32)
}
