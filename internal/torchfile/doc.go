// Package torchfile reads the tensors of a file that torch.save wrote: adapter_model.bin and
// its like. It executes nothing: of pickle it knows the opcodes that a dictionary of tensors
// needs, and of names those of the table globals; all else is refused by name.
//
//	NAME.bin: a zip, all entries stored uncompressed
//	  PREFIX/data.pkl     pickle of {name: tensor}; a tensor says its storage, offset, shape, strides
//	  PREFIX/data/KEY     bytes of the storage KEY
//	  PREFIX/byteorder    "little" or "big"; little where it is missing
//
// It may import safetensors and internal/input. It holds the pickle in memory, and no tensor.
package torchfile

import (
	"errors"
	"fmt"
)

var (
	// ErrInvalid is in the chain of every error about a file that is broken or contradicts itself.
	ErrInvalid = errors.New("invalid PyTorch file")
	// ErrUnsupported is in the chain of every error about a file that may be valid but is not of
	// the form that is read, or holds more than tensors.
	ErrUnsupported = errors.New("unsupported PyTorch file")
)

func invalid(format string, args ...any) error { return mark(ErrInvalid, format, args) }
func refuse(format string, args ...any) error  { return mark(ErrUnsupported, format, args) }

func mark(kind error, format string, args []any) error {
	return fmt.Errorf("%w: %s", kind, fmt.Sprintf(format, args...))
}
