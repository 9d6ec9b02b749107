package lora

import (
	"fmt"
	"math"
	"slices"

	"qtool/internal/arch"
)

// Scaled is an adapter and the strength with which it is used. Its pairs change the base by
// Strength · Scale(rank) · B · A.
type Scaled struct {
	*Adapter
	Strength float32
}

// Combine makes one adapter that changes a base as all of them do together: pairs on one
// tensor follow each other in its rank, and the scale of each is multiplied into its B, so
// that the new alpha is 0. It keeps no metadata, and may share memory with the adapters. It
// fails with [ErrMismatch] if they are not for one base, and with [ErrInvalid] if a pair is
// none or becomes too large.
func Combine(adapters ...Scaled) (*Adapter, error) {
	to, all, err := grouped(adapters)
	if err != nil {
		return nil, err
	}
	for _, pairs := range all {
		p, err := combined(pairs)
		if err != nil {
			return nil, err
		}
		to.Pairs = append(to.Pairs, p)
	}
	return to, nil
}

// grouped is an adapter without pairs for the base of all, and their pairs by tensor, in the order
// in which tensors appear.
func grouped(adapters []Scaled) (to *Adapter, pairs [][]scaledPair, err error) {
	to = &Adapter{}
	place := map[string]int{}
	for i, a := range adapters {
		if _, err := a.bound(); err != nil { // which checks the pairs
			return nil, nil, err
		}
		if i == 0 {
			to.Architecture = a.Architecture
		} else if a.Architecture != to.Architecture {
			return nil, nil, fmt.Errorf("%w: one adapter is for architecture %q, another for %q", ErrMismatch, to.Architecture, a.Architecture)
		}
		to.MergeOnly = to.MergeOnly || a.MergeOnly
		for j := range a.Pairs {
			p := &a.Pairs[j]
			k, ok := place[p.Tensor]
			if !ok {
				k, pairs = len(pairs), append(pairs, nil)
				place[p.Tensor] = k
			}
			pairs[k] = append(pairs[k], scaledPair{p, a.Strength * a.Scale(p.Rank()), i})
		}
	}
	return to, pairs, nil
}

// scaledPair is a pair with the factor of its change.
type scaledPair struct {
	*Pair
	scale float32
	owner int // the number of its adapter
}

// combined is the sum of pairs on one tensor.
func combined(pairs []scaledPair) (Pair, error) {
	first := pairs[0].Pair
	transposed := first.Tensor == arch.TokenEmbedding
	var a, b []matrices
	for _, p := range pairs {
		pa, pb := matricesOf(p.A, p.Rank(), !transposed), matricesOf(p.B, p.Rank(), false)
		if len(a) > 0 && (pa.count != a[0].count || pb.count != b[0].count || pa.other != a[0].other || pb.other != b[0].other) {
			return Pair{}, fmt.Errorf("%w: the adapters have pairs for %q of the shapes %v and %v, and %v and %v", ErrMismatch,
				first.Tensor, first.A.Shape, first.B.Shape, p.A.Shape, p.B.Shape)
		}
		pb.values = scaled(pb.values, p.scale)
		if i := slices.IndexFunc(pb.values, notFinite); i >= 0 {
			return Pair{}, fmt.Errorf("%w: the pair of %q becomes %g when it is multiplied by its scale, %g", ErrInvalid, first.Tensor, pb.values[i], p.scale)
		}
		a, b = append(a, pa), append(b, pb)
	}
	return Pair{first.Tensor, joined(a), joined(b)}, nil
}

func notFinite(v float32) bool { return !(math.Abs(float64(v)) <= math.MaxFloat32) }

func scaled(values []float32, by float32) []float32 {
	out := make([]float32, len(values))
	for i, v := range values {
		out[i] = by * v
	}
	return out
}

// matrices is a half of a pair, one matrix or a stack of them.
type matrices struct {
	values             []float32
	rank, other, count int
	rows               bool // each rank is a row of other elements; else a column of them
	shape              []int
}

func matricesOf(h Half, rank int, rows bool) matrices {
	m := matrices{values: h.Values, rank: rank, other: h.Shape[1], count: 1, rows: rows, shape: h.Shape}
	if rows {
		m.other = h.Shape[0]
	}
	if len(h.Shape) > 2 {
		m.count = h.Shape[2]
	}
	return m
}

// joined puts the ranks of several halves into one.
func joined(parts []matrices) Half {
	first := parts[0]
	if len(parts) == 1 {
		return Half{slices.Clone(first.shape), first.values}
	}
	rank := 0
	for _, p := range parts {
		rank += p.rank
	}
	var values []float32
	for m := range first.count {
		if first.rows {
			for _, p := range parts {
				values = append(values, p.values[m*p.rank*p.other:][:p.rank*p.other]...)
			}
			continue
		}
		for i := range first.other {
			for _, p := range parts {
				values = append(values, p.values[(m*p.other+i)*p.rank:][:p.rank]...)
			}
		}
	}
	shape := slices.Clone(first.shape)
	if first.rows {
		shape[1] = rank
	} else {
		shape[0] = rank
	}
	return Half{shape, values}
}
