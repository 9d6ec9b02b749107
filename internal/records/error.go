package records

import (
	"errors"
	"fmt"
)

var (
	// ErrFormat is in the chain of every error about data that cannot be used.
	ErrFormat = errors.New("invalid dataset")
	// ErrEmpty is in the chain of the error about data without any record.
	ErrEmpty = errors.New("empty dataset")
)

// Place is where a record begins.
type Place struct {
	Path   string
	Line   int // from 1; 0 in files without lines
	Record int // from 1: its number in a JSON array; used if Line is 0
	Row    int // from 1: its number in a table without lines; used if both are 0
}

// String is the place as errors name it: "data.jsonl:17", "data.json: record 17",
// "data.parquet: row 17", or the path alone.
func (p Place) String() string {
	switch {
	case p.Line > 0:
		return fmt.Sprintf("%s:%d", p.Path, p.Line)
	case p.Record > 0:
		return fmt.Sprintf("%s: record %d", p.Path, p.Record)
	case p.Row > 0:
		return fmt.Sprintf("%s: row %d", p.Path, p.Row)
	}
	return p.Path
}

// FormatError says which record or file is bad and why.
type FormatError struct {
	Where  string // a [Place] in words
	Reason string // what was expected and found
	Err    error  // the cause, if another package found it
}

func (e *FormatError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %v", e.Where, e.Err)
	}
	return fmt.Sprintf("%s: %v: %s", e.Where, ErrFormat, e.Reason)
}

// Unwrap makes errors.Is(err, ErrFormat) true, and finds the cause.
func (e *FormatError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrFormat}
	}
	return []error{ErrFormat, e.Err}
}

// Bad is the error about what is at a place.
func Bad(at Place, format string, args ...any) error {
	return &FormatError{Where: at.String(), Reason: fmt.Sprintf(format, args...)}
}

// Empty is the error about a file without records.
func Empty(path string) error { return fmt.Errorf("%s: %w: it holds no records", path, ErrEmpty) }

// fatal marks an error after which the rest of a file cannot be read, so that it is not
// passed over even where bad records are.
type fatal struct{ error }

func (f fatal) Unwrap() error { return f.error }

func reading(path string, err error) error { return fmt.Errorf("reading %s: %w", path, err) }
