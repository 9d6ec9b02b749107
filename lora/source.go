package lora

import (
	"context"
	"fmt"
	"math"

	"qtool/internal/work"
)

// farthestSource is how far the weights of a base may be from those that it was made of, relative
// to their size. No type makes an error so large; for unrelated weights it is about √2.
const farthestSource = 0.9

// CheckSource compares rows of the source's weights, if there is a source, with those of the
// base. It fails with [ErrMismatch] if the base was not made of them.
func (s *Sum) CheckSource(ctx context.Context, threads int) error {
	if s.from == s.base {
		return nil
	}
	pool := work.NewPool(threads)
	defer pool.Close()
	for _, c := range s.changes {
		every := int(max(1, c.changedWeights()/sampleWeights))
		m, err := c.measure(ctx, pool, c.stored, every, func(int64) {})
		if err != nil {
			return err
		}
		if d := math.Sqrt(m.stored / max(m.weights, math.SmallestNonzeroFloat64)); !(d < farthestSource) {
			return fmt.Errorf("%w: the weights of %q in the source differ from those of the base by %.2f of their size, so that the base was not made of them; give the model that was quantized",
				ErrMismatch, c.stored.Name, d)
		}
	}
	return nil
}
