// Package model turns a GGUF-shaped model into a decoder that can be run and
// trained: blocks of layers, each a mixer and a feed-forward of the kinds that the row of the
// architecture in internal/arch gives for its number.
//
// It holds the forward pass only: the tape gives the backward pass. It never guesses: an
// unknown architecture, tensor or option is refused by name.
package model

import "errors"

// ErrUnsupported is in the chain of every error about a model that is valid but
// that the decoder does not compute.
var ErrUnsupported = errors.New("unsupported model")

// ErrInvalid is in the chain of every error about a model whose metadata and
// tensors contradict each other.
var ErrInvalid = errors.New("invalid model")
