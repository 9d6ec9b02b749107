package dataset

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrFormat is in the chain of every error about data that cannot be trained on.
	ErrFormat = errors.New("invalid dataset")
	// ErrEmpty is in the chain of the error about data without anything to learn from.
	ErrEmpty = errors.New("empty dataset")
	// ErrTooLong is in the chain of every [TooLongError].
	ErrTooLong = errors.New("record too long")
)

// place is where a record begins: a line, or a number of a record in a JSON array.
type place struct {
	path   string
	line   int // from 1; 0 if unknown
	record int // from 1; used if line is 0
}

func (p place) String() string {
	switch {
	case p.line > 0:
		return fmt.Sprintf("%s:%d", p.path, p.line)
	case p.record > 0:
		return fmt.Sprintf("%s: record %d", p.path, p.record)
	}
	return p.path
}

// FormatError says which record is bad and why.
type FormatError struct {
	Where  string // "data.jsonl:17", or "data.json: record 17"
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

func bad(at place, format string, args ...any) error {
	return &FormatError{Where: at.String(), Reason: fmt.Sprintf(format, args...)}
}

// TooLongError reports the records that do not fit Options.Seq. It matches
// [ErrTooLong] and [ErrFormat].
type TooLongError struct {
	Where   string // the first such record
	Tokens  int    // its length
	Records int    // how many there are
	Longest int    // the length of the longest
	Seq     int
	Context int // of the model, 0 if unknown
}

func (e *TooLongError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %v: it has %d tokens, but a sequence holds %d", e.Where, ErrTooLong, e.Tokens, e.Seq)
	if e.Records > 1 {
		fmt.Fprintf(&b, " (%d records are too long, the longest has %d)", e.Records, e.Longest)
	}
	if e.Context == 0 || e.Longest <= e.Context {
		fmt.Fprintf(&b, "; raise --seq to %d, or", e.Longest)
	} else {
		fmt.Fprintf(&b, "; the model's context is %d, so shorten the records, or", e.Context)
	}
	b.WriteString(" choose with --long what becomes of them: skip, truncate-left, truncate-right or split")
	return b.String()
}

// Unwrap makes errors.Is true for ErrTooLong and ErrFormat.
func (e *TooLongError) Unwrap() []error { return []error{ErrTooLong, ErrFormat} }

// add counts one more record.
func (e *TooLongError) add(at place, tokens int) {
	e.join(&TooLongError{Where: at.String(), Tokens: tokens, Records: 1, Longest: tokens})
}

// join counts the records that another error is about, which follow.
func (e *TooLongError) join(o *TooLongError) {
	if e.Records == 0 {
		e.Where, e.Tokens = o.Where, o.Tokens
	}
	e.Records += o.Records
	e.Longest = max(e.Longest, o.Longest)
}
