package lora

import (
	"context"

	"qtool/gguf"
	"qtool/internal/adapt"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
)

// Verify computes the logits of base for tokens with and without a, and returns the largest
// change of one. Errors match [ErrMismatch] if a does not fit the base, [ErrNoEffect] if no
// logit changes and [ErrNotFinite] if one becomes no number, or are that of ctx.
func Verify(ctx context.Context, base gguf.Model, a *Adapter, tokens []int32) (change float64, err error) {
	bound, err := a.bound()
	if err != nil {
		return 0, err
	}
	pool := product.NewPool(0)
	defer pool.Close()
	return adapt.Verify(ctx, base, model.Options{}, bound, tokens, pool)
}
