package gguf

import (
	"errors"
	"fmt"
)

// ErrFormat is in the chain of every error about bytes that are not valid GGUF, and
// about a metadata value of another type than the key has.
var ErrFormat = errors.New("invalid GGUF")

// ErrUnsupported is in the chain of the error about data that are there and cannot be read: of a
// type whose numbers are not known, in a file of the other byte order.
var ErrUnsupported = errors.New("unsupported")

// ErrShard is in the chain of the error about a file of a split model that is not
// the one to open.
var ErrShard = errors.New("not the first shard")

// FormatError says where a file stops being valid and what was being read there.
type FormatError struct {
	Path    string // the file, "" if it was parsed from a reader
	Offset  int64  // in bytes from the start of the file
	Reading string // what was being read, such as `tensor "blk.0.attn_q.weight"`
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
