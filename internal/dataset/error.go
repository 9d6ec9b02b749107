package dataset

import (
	"errors"
	"fmt"
	"strings"

	"qtool/internal/records"
)

var (
	// ErrFormat is in the chain of every error about data that cannot be trained on.
	ErrFormat = records.ErrFormat
	// ErrEmpty is in the chain of the error about data without anything to learn from.
	ErrEmpty = records.ErrEmpty
	// ErrTooLong is in the chain of every [TooLongError].
	ErrTooLong = errors.New("record too long")
)

type (
	// place is where a record begins.
	place = records.Place
	// FormatError says which record is bad and why.
	FormatError = records.FormatError
)

func bad(at place, format string, args ...any) error { return records.Bad(at, format, args...) }

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
