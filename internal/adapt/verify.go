package adapt

import (
	"context"
	"errors"
	"fmt"

	"qtool/gguf"
	"qtool/internal/infer"
	"qtool/internal/kernel/product"
	"qtool/internal/model"
)

// ErrNoEffect is in the chain of the error about an adapter that fits its base
// but does not change what the base says.
var ErrNoEffect = errors.New("adapter has no effect")

// ErrNotFinite is in the chain of the error about an adapter that makes the base
// compute infinities or NaN.
var ErrNotFinite = errors.New("adapter spoils the logits")

// Verify binds a to a fresh decoder of base, loaded with opt, and compares the
// logits for tokens with and without it. Errors match [ErrMismatch], [ErrNoEffect] or
// [ErrNotFinite], or are that of ctx.
func Verify(ctx context.Context, base gguf.Model, opt model.Options, a *Adapter, tokens []int32, pool *product.Pool) (infer.Effect, error) {
	d, err := model.Load(base, opt)
	if err != nil {
		return infer.Effect{}, err
	}
	return a.Effect(ctx, d, tokens, pool, nil)
}

// Effect is [Verify] on a decoder that is there, which has no pairs afterwards. progress is
// that of [infer.Session.Effect].
func (a *Adapter) Effect(ctx context.Context, d *model.Decoder, tokens []int32, pool *product.Pool, progress func(done, total int)) (infer.Effect, error) {
	if err := a.Attach(d); err != nil {
		return infer.Effect{}, err
	}
	targets := targetsByName(d)
	e, err := infer.NewSession(d, nil, pool).Effect(ctx, tokens, func(with bool) {
		Detach(d)
		if with {
			a.bind(targets)
		}
	}, progress)
	switch {
	case errors.Is(err, infer.ErrChangeNotFinite):
		return e, fmt.Errorf("%w: with it some are not finite numbers", ErrNotFinite)
	case err == nil && e.Largest == 0:
		return e, fmt.Errorf("%w: every logit over %d tokens is the same with and without it", ErrNoEffect, len(tokens))
	}
	return e, err
}
