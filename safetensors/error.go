package safetensors

import (
	"errors"
	"fmt"
)

// ErrFormat is in the chain of every error about bytes that are not valid
// safetensors, or about a folder whose index and shards disagree.
var ErrFormat = errors.New("invalid safetensors")

// FormatError says where a file stops being valid and what was being read there.
type FormatError struct {
	Path    string // the file, "" if it was parsed from a reader
	Offset  int64  // in bytes from the start of the file
	Reading string // what was being read, such as `tensor "model.norm.weight"`
	Reason  string // what was expected and found
}

func (e *FormatError) Error() string {
	where := ""
	if e.Path != "" {
		where = e.Path + ": "
	}
	return fmt.Sprintf("%s%v: offset %d, reading %s: %s", where, ErrFormat, e.Offset, e.Reading, e.Reason)
}

// Unwrap makes errors.Is(err, ErrFormat) true.
func (e *FormatError) Unwrap() error { return ErrFormat }
