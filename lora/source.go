package lora

import (
	"context"
	"errors"
	"fmt"
	"math"

	"qtool/gguf"
	"qtool/internal/work"
	"qtool/quantize"
)

// farthestSource is how far the weights of a base may be from those that it was made of, relative
// to their size. No type makes an error so large; for unrelated weights it is about √2.
const farthestSource = 0.9

// ErrSource is in the chain of the error about a model that a base was not made of.
var ErrSource = errors.New("not the source of the base")

// Use adds the changes to the weights of source instead, the unquantized model that the base was
// made of. It compares rows of the changed weights of both, and fails with [ErrSource] if
// source cannot be that model.
func (s *Sum) Use(ctx context.Context, source gguf.Model, threads int) error {
	for _, c := range s.changes {
		if err := c.addTo(source); err != nil {
			return err
		}
	}
	s.from = source
	pool := work.NewPool(threads)
	defer pool.Close()
	for _, c := range s.changes {
		every := int(max(1, c.changedWeights()/sampleWeights))
		m, err := c.measure(ctx, pool, c.stored, every, func(int64) {})
		if err != nil {
			return err
		}
		if d := math.Sqrt(m.stored / max(m.weights, math.SmallestNonzeroFloat64)); !(d < farthestSource) {
			return fmt.Errorf("%w: its weights %q differ from those of the base by %.2f of their size; give the model that was quantized",
				ErrSource, c.stored.Name, d)
		}
	}
	return nil
}

// addTo makes the change one of the tensor of the source.
func (c *change) addTo(source gguf.Model) (err error) {
	t, ok := source.Tensor(c.stored.Name)
	switch {
	case !ok:
		return fmt.Errorf("%w: it has no tensor %q", ErrSource, c.stored.Name)
	case !gguf.SameShape(t.Shape, c.stored.Shape):
		return fmt.Errorf("%w: its tensor %q has shape %v, that of the base %v", ErrSource, t.Name, t.Shape, c.stored.Shape)
	case t.Type.BlockElements() > 1:
		return fmt.Errorf("%w: its tensor %q is %v; give the unquantized model", ErrSource, t.Name, t.Type)
	}
	if c.codec, err = quantize.Lookup(t.Type); err != nil {
		return fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	c.from = t
	c.fromFactors, err = factorsOf(source, t)
	return err
}
