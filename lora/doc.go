// Package lora holds LoRA adapters as files: opening and writing them, in GGUF and in the folders
// of PEFT and mlx-lm, choosing what they change, and finding out whether they fit a base model and
// have an effect.
//
// It takes and gives only public types; pairs that are bound to a decoder are those of
// internal/adapt. It never accepts a pair that inference would ignore without a word.
package lora

import (
	"errors"

	"qtool/internal/adapt"
)

var (
	// ErrInvalid is in the chain of every error about an adapter file that breaks the
	// rules of its format.
	ErrInvalid = adapt.ErrInvalid
	// ErrUnsupported is in the chain of every error about an adapter that is valid but of
	// a kind that is not computed.
	ErrUnsupported = adapt.ErrUnsupported
	// ErrMismatch is in the chain of every error about an adapter that is valid but does
	// not fit the base model.
	ErrMismatch = adapt.ErrMismatch
	// ErrNoEffect is in the chain of the error about an adapter that fits its base but
	// does not change what the base says.
	ErrNoEffect = adapt.ErrNoEffect
	// ErrNotFinite is in the chain of the error about an adapter that makes the base
	// compute infinities or NaN.
	ErrNotFinite = adapt.ErrNotFinite
	// ErrUnlike is in the chain of the error about two models whose weights cannot be compared.
	ErrUnlike = errors.New("the models are not alike")
	// ErrNoDifference is in the chain of the error about two models that differ in nothing an
	// adapter could hold.
	ErrNoDifference = errors.New("there is no difference for an adapter")
)
