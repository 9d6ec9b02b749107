package infer

import (
	"errors"
	"fmt"

	"qtool/internal/model"
)

var (
	// ErrRequest is in the chain of every error about a context, a chunk or tokens that
	// the model cannot be run with.
	ErrRequest = errors.New("the model cannot be run so")
	// ErrTextTooShort is in the chain of every error about a text of too few tokens.
	ErrTextTooShort = errors.New("too little text")
)

// leastContext is what a window needs so that half of it predicts something.
const leastContext = 4

// checkContext checks the length of windows, which what names, that a model of that
// context is to read.
func checkContext(what string, n, context int) error {
	switch {
	case context < leastContext:
		return fmt.Errorf("%w: its context of %d tokens is too short; expected at least %d", model.ErrUnsupported, context, leastContext)
	case n < leastContext:
		return fmt.Errorf("%w: %s of %d tokens is too short; expected at least %d", ErrRequest, what, n, leastContext)
	case n > context:
		return fmt.Errorf("%w: %s of %d tokens is longer than the model's context of %d", ErrRequest, what, n, context)
	}
	return nil
}
