// Package peft carries LoRA adapters between GGUF and the folders of two other libraries: PEFT
// and mlx-lm. A [convert.Layout] says which rows of which weight of a folder are which rows of
// which tensor; of that all follows.
//
// It may import gguf, safetensors, internal/convert, internal/torchfile and internal/atomicfile.
// It holds all of an adapter in memory, and nothing of a model.
package peft

import (
	"errors"
	"fmt"
)

var (
	// ErrUnsupported is in the chain of every error about an adapter that is valid but more
	// than pairs on weights, or that another form cannot express.
	ErrUnsupported = errors.New("unsupported adapter")
	// ErrInvalid is in the chain of every error about an adapter whose files are broken or
	// contradict each other.
	ErrInvalid = errors.New("invalid adapter")
	// ErrMismatch is in the chain of every error about an adapter that is valid but does not fit
	// the model.
	ErrMismatch = errors.New("adapter does not fit the base model")
	// ErrNeedsBase is in the chain of every error about a weight of which only the model tells
	// the size or the order of rows; see [convert.LayoutOfOutline].
	ErrNeedsBase = errors.New("the base model is needed")
)

// refuse makes an error about what is not carried over, invalid one about a contradiction.
func refuse(format string, args ...any) error  { return mark(ErrUnsupported, format, args) }
func invalid(format string, args ...any) error { return mark(ErrInvalid, format, args) }

func mismatch(format string, args ...any) error  { return mark(ErrMismatch, format, args) }
func needsBase(format string, args ...any) error { return mark(ErrNeedsBase, format, args) }

func mark(kind error, format string, args []any) error {
	return fmt.Errorf("%w: %s", kind, fmt.Sprintf(format, args...))
}
