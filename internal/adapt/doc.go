// Package adapt binds LoRA pairs to a decoder: it makes them, reads and writes their GGUF
// form, and finds out whether they fit and have an effect.
//
// It may import gguf, quantize, internal/nn and internal/model. It never accepts a pair that
// inference would ignore without a word.
package adapt

import "errors"

// ErrInvalid is in the chain of every error about an adapter file that breaks
// the rules of its format.
var ErrInvalid = errors.New("invalid adapter")

// ErrUnsupported is in the chain of every error about an adapter that is valid
// but of a kind that is not computed.
var ErrUnsupported = errors.New("unsupported adapter")

// ErrMismatch is in the chain of every error about an adapter that is valid but
// does not fit the base model.
var ErrMismatch = errors.New("adapter does not fit the base model")
