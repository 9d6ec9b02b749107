package adapt

import (
	"context"
	"errors"
	"fmt"
	"math"

	"qtool/gguf"
	"qtool/internal/kernel/product"
	"qtool/internal/kernel/vector"
	"qtool/internal/model"
	"qtool/internal/nn"
)

// ErrNoEffect is in the chain of the error about an adapter that fits its base
// but does not change what the base says.
var ErrNoEffect = errors.New("adapter has no effect")

// ErrNotFinite is in the chain of the error about an adapter that makes the base
// compute infinities or NaN.
var ErrNotFinite = errors.New("adapter spoils the logits")

// Verify binds a to a fresh decoder of base, loaded with opt, and compares the
// logits for tokens with and without it. It returns the largest change of a
// logit. Errors match [ErrMismatch], [ErrNoEffect] or [ErrNotFinite], or are that of ctx.
func Verify(ctx context.Context, base gguf.Model, opt model.Options, a *Adapter, tokens []int32, pool *product.Pool) (change float64, err error) {
	d, err := model.Load(base, opt)
	if err != nil {
		return 0, err
	}
	if err := d.CheckTokens(tokens); err != nil {
		return 0, err
	}
	batch := model.NewBatch(tokens, []int{0})
	var plain, adapted []float32
	logits := func() []float32 {
		tape := nn.NewTape(pool)
		return d.Logits(tape, d.Hidden(tape, batch, nil, false)).Data
	}
	err = pool.Within(ctx, func() error {
		plain = logits()
		if err := a.Attach(d); err != nil {
			return err
		}
		adapted = logits()
		return nil
	})
	if err != nil {
		return 0, err
	}
	if i := vector.FirstNotFinite(adapted); i >= 0 {
		return 0, fmt.Errorf("%w: with it one is %g", ErrNotFinite, adapted[i])
	}
	for i, v := range adapted {
		change = max(change, math.Abs(float64(v)-float64(plain[i])))
	}
	if change == 0 {
		return 0, fmt.Errorf("%w: every logit over %d tokens is the same with and without it", ErrNoEffect, len(tokens))
	}
	return change, nil
}
