package infer

import (
	"context"
	"fmt"

	"qtool/internal/kernel/product"
	"qtool/internal/model"
	"qtool/internal/nn"
	"qtool/internal/tokenizer"
)

// chunkRows is how many tokens pass through the decoder at once: enough to use
// decoded weights well, few enough to bound memory and to stop soon.
const chunkRows = 128

var errNotFinite = fmt.Errorf("%w: its logits are not finite numbers; the weights may be damaged", model.ErrInvalid)

// Session runs one model. It is used by one goroutine at a time.
type Session struct {
	Decoder   *model.Decoder
	Tokenizer *tokenizer.Tokenizer // nil for a model without a vocabulary

	tape *nn.Tape
}

// NewSession makes a session whose arithmetic runs on pool. tok may be nil; only
// Generate needs it.
func NewSession(d *model.Decoder, tok *tokenizer.Tokenizer, pool *product.Pool) *Session {
	return &Session{Decoder: d, Tokenizer: tok, tape: nn.NewTape(pool)}
}

// Logits calls emit with the logits [vocabulary] that follow each of tokens, in
// order. The row is valid until emit returns.
func (s *Session) Logits(ctx context.Context, tokens []int32, emit func(row []float32) error) error {
	if err := s.check(tokens); err != nil {
		return err
	}
	cache := s.Decoder.NewCache(len(tokens))
	return s.forward(ctx, tokens, cache, func(_ int, hidden *nn.Var) error {
		return s.head(hidden, 0, func(_ int, row []float32) error { return emit(row) })
	})
}

// check reports tokens that the model cannot take.
func (s *Session) check(tokens []int32) error {
	if len(tokens) == 0 {
		return fmt.Errorf("%w: there are no tokens to begin with; give a text that is not empty", ErrRequest)
	}
	if n := s.Decoder.Context; len(tokens) > n {
		return fmt.Errorf("%w: %d tokens are more than the model's context of %d; give a shorter text", ErrRequest, len(tokens), n)
	}
	return s.Decoder.CheckTokens(tokens)
}

// forward adds tokens to the cache, chunk by chunk. use, unless nil, gets the
// hidden rows of each chunk and the index of its first token; they are gone when
// it returns. When ctx ends, the cache is of no use any more.
func (s *Session) forward(ctx context.Context, tokens []int32, cache *model.Cache, use func(first int, hidden *nn.Var) error) error {
	return s.tape.Pool.Within(ctx, func() error {
		for first := 0; first < len(tokens); first += chunkRows {
			hidden := s.hidden(tokens[first:min(first+chunkRows, len(tokens))], cache)
			if use == nil {
				continue
			}
			if err := use(first, hidden); err != nil {
				return err
			}
		}
		return nil
	})
}

// hidden adds a chunk to the cache and returns its hidden rows, which the next chunk
// overwrites.
func (s *Session) hidden(chunk []int32, cache *model.Cache) *nn.Var {
	s.tape.Reset(false)
	return s.Decoder.Hidden(s.tape, model.NewBatch(chunk, []int{0}), cache, false)
}

// headRows is how many rows of logits exist at once.
const headRows = 16

// head calls use with the logits of each hidden row from row from on.
func (s *Session) head(hidden *nn.Var, from int, use func(row int, logits []float32) error) error {
	for ; from < hidden.Rows; from += headRows {
		var err error
		s.logits(hidden, from, min(from+headRows, hidden.Rows), func(logits *nn.Var) {
			for r := 0; r < logits.Rows && err == nil; r++ {
				err = use(from+r, logits.Row(r))
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// logits calls use with the logits of some hidden rows; they are gone when it returns.
func (s *Session) logits(hidden *nn.Var, from, to int, use func(*nn.Var)) {
	s.tape.Scoped(func() {
		part := nn.Constant(hidden.Data[from*hidden.Cols:to*hidden.Cols], to-from, hidden.Cols)
		use(s.Decoder.Logits(s.tape, part))
	})
}
