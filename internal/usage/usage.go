// Package usage marks errors about what was asked for: it makes no sense as it is, and the
// one who asked can put it right. Texts name options as the command line does.
package usage

import (
	"errors"
	"fmt"
)

// Err is in the chain of every error of [Errorf].
var Err = errors.New("wrong usage")

// Errorf makes such an error; its text is that of the format alone.
func Errorf(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

type usageError struct{ error }

func (e *usageError) Unwrap() []error { return []error{Err, e.error} }
