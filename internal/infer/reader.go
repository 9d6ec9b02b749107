package infer

import (
	"context"
	"fmt"

	"qtool/internal/model"
	"qtool/internal/nn"
)

// Reader is a session that remembers the tokens it read last, so that a text which begins like
// them is computed from where both part. It holds the keys and values of one text.
//
// What it computes is that of a fresh session up to rounding: tokens that are read together are
// multiplied together, and a token that is read alone is summed up in another order. The same
// tokens in the same portions give the same bits, whatever was read and forgotten in between.
type Reader struct {
	s       *Session
	context int // tokens that a text may have
	cache   *model.Cache
	tokens  []int32   // what the cache remembers
	logits  []float32 // after the last token
}

// NewReader makes a reader of texts of up to context tokens; 0, or more than the model's
// context, is the model's.
func (s *Session) NewReader(context int) *Reader {
	if context <= 0 || context > s.Decoder.Context {
		context = s.Decoder.Context
	}
	return s.newReader(context, context)
}

func (s *Session) newReader(room, context int) *Reader {
	return &Reader{s: s, context: context, cache: s.Decoder.NewCache(room)}
}

// Context is the number of tokens that a text may have.
func (r *Reader) Context() int { return r.context }

// Len is the number of tokens that are remembered.
func (r *Reader) Len() int { return len(r.tokens) }

// Reset forgets all tokens. It is to be called when weights, or the pairs on them, have changed.
func (r *Reader) Reset() {
	r.cache.Reset()
	r.tokens = r.tokens[:0]
}

// check reports tokens that cannot be read.
func (r *Reader) check(tokens []int32) error {
	if err := r.s.check(tokens); err != nil {
		return err
	}
	if len(tokens) > r.context {
		return fmt.Errorf("%w: %d tokens are more than the context of %d", ErrRequest, len(tokens), r.context)
	}
	return nil
}

// rewind forgets what is remembered from the first token on that differs from those given, and
// in any case the last of those given, whose logits are asked for. It returns how many are left.
func (r *Reader) rewind(tokens []int32) int {
	n := 0
	for n < min(len(r.tokens), len(tokens)-1) && r.tokens[n] == tokens[n] {
		n++
	}
	r.forget(n)
	return len(r.tokens)
}

// forget forgets the tokens from n on, or all where some layer has no way back.
func (r *Reader) forget(n int) { r.tokens = r.tokens[:r.cache.Rewind(n)] }

// feed reads tokens that follow those remembered, and keeps the logits after the last one.
func (r *Reader) feed(ctx context.Context, tokens []int32) error {
	before := len(r.tokens)
	err := r.s.forward(ctx, tokens, r.cache, func(first int, hidden *nn.Var) error {
		if first+hidden.Rows < len(tokens) {
			return nil
		}
		return r.s.head(hidden, hidden.Rows-1, func(_ int, row []float32) error {
			r.logits = append(r.logits[:0], row...)
			return nil
		})
	})
	if err == nil {
		r.tokens = append(r.tokens, tokens...)
		return nil
	}
	// A layer may have taken tokens that the cache does not count yet. To forget one that it
	// does count takes every layer back to what is known, or empties those that cannot go back.
	if before == 0 {
		r.Reset()
	} else {
		r.forget(before - 1)
	}
	return err
}
