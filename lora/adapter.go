package lora

import (
	"context"
	"fmt"
	"slices"

	"qtool/gguf"
	"qtool/internal/adapt"
	"qtool/internal/nn"
)

// Adapter is a set of LoRA pairs for one base model.
type Adapter struct {
	Architecture string // of the base
	// Alpha sets every pair's scale, Alpha/rank; 0 means a scale of 1.
	Alpha float32
	Pairs []Pair
	// MergeOnly marks an adapter with pairs that llama.cpp does not honour: it takes
	// effect once it is merged into its base.
	MergeOnly bool
	// Extra are further metadata keys of the file; nil is none.
	Extra *gguf.Metadata
}

// Pair changes the matrix W of one tensor of the base by scale · B · A. Shapes are in the
// order of GGUF: A is [in, rank] and B [rank, out], for a stack of experts [in, rank,
// experts] and [rank, out, experts], for the embedding A is [rank, vocabulary] and B
// [rank, embedding].
type Pair struct {
	Tensor string // of the base, such as "blk.0.attn_q.weight"
	A, B   Half
}

// Half is one of the two matrices of a pair, or a stack of them.
type Half struct {
	Shape  []int // Shape[0] is the length of a row
	Values []float32
}

// Rank is the rank of the change that p makes.
func (p *Pair) Rank() int { return p.B.Shape[0] }

// Scale is the factor of a pair of the given rank.
func (a *Adapter) Scale(rank int) float32 {
	bound := adapt.Adapter{Alpha: a.Alpha}
	return bound.Scale(rank)
}

// Open reads an adapter file. If it says what its bytes should be, they are compared.
func Open(path string) (*Adapter, error) { return fromBound(adapt.Open(path)) }

// FromModel reads an adapter out of a GGUF-shaped model; it keeps nothing of m. What
// llama.cpp refuses or ignores matches [ErrInvalid].
func FromModel(m gguf.Model) (*Adapter, error) { return fromBound(adapt.FromModel(m)) }

// Model is the adapter as the GGUF that llama.cpp loads, all halves F32. It shares their
// memory. It fails with [ErrInvalid] if a pair is none.
func (a *Adapter) Model() (gguf.Model, error) {
	bound, err := a.bound()
	if err != nil {
		return nil, err
	}
	return bound.Model(), nil
}

// WriteFile writes the adapter with hashes of all that is in it, which [Open] compares.
// The file appears whole or not at all, and not if what it was made from has changed since.
func (a *Adapter) WriteFile(ctx context.Context, path string, from ...gguf.Source) error {
	m, err := a.Model()
	if err != nil {
		return err
	}
	if err := gguf.WriteFile(ctx, path, gguf.Assemble(m.Metadata(), m.Tensors(), from...), gguf.WithHashes()); err != nil {
		return fmt.Errorf("writing adapter: %w", err)
	}
	return nil
}

// fromBound is the public form of an adapter that could be opened. It shares its memory.
func fromBound(from *adapt.Adapter, err error) (*Adapter, error) {
	if err != nil {
		return nil, err
	}
	a := &Adapter{Architecture: from.Architecture, Alpha: from.Alpha, MergeOnly: from.MergeOnly, Extra: from.Extra}
	for _, p := range from.Pairs {
		a.Pairs = append(a.Pairs, Pair{p.Tensor, Half{p.A.Shape, p.A.Data}, Half{p.B.Shape, p.B.Data}})
	}
	return a, nil
}

// bound is the form that can be bound to a decoder. It shares the memory of a.
func (a *Adapter) bound() (*adapt.Adapter, error) {
	to := &adapt.Adapter{Architecture: a.Architecture, Alpha: a.Alpha, MergeOnly: a.MergeOnly, Extra: a.Extra}
	for _, p := range a.Pairs {
		halves := [2]*nn.Param{}
		for i, h := range []Half{p.A, p.B} {
			halves[i] = &nn.Param{Shape: slices.Clone(h.Shape), Data: h.Values}
		}
		pair, err := adapt.NewPair(p.Tensor, halves[0], halves[1])
		if err != nil {
			return nil, err
		}
		to.Pairs = append(to.Pairs, pair)
	}
	return to, nil
}
