package printable

import (
	"io"
	"strings"
	"sync"
	"unicode/utf8"
)

// Writer escapes what could steer a terminal and passes on all else: control
// characters but newline and tab, what overrides the direction of writing, and bytes
// that are no UTF-8. The escapes are those of Go, except that DEL is written as
// \u007f, so that JSON, in which C0 is escaped already, stays JSON of the same value.
//
// It remembers the first write that failed, and writes nothing after it. Its methods
// may be called from several goroutines.
type Writer struct {
	mu   sync.Mutex
	to   io.Writer
	part []byte // the beginning of a character whose rest has not come yet
	err  error
}

// NewWriter returns a Writer that writes to w.
func NewWriter(w io.Writer) *Writer { return &Writer{to: w} }

// Write escapes and writes p. It returns the error of the first write that failed.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	whole := p
	if len(w.part) > 0 {
		whole = append(w.part, p...)
	}
	cut := len(whole) - unfinished(whole)
	w.part = append([]byte(nil), whole[cut:]...)
	w.pass(escape(whole[:cut]))
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

// Flush writes a character of which only the beginning came, escaped, and returns
// the error of the first write that failed.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pass(escape(w.part))
	w.part = nil
	return w.err
}

// Raw returns a writer to the same place that escapes nothing; its failures are
// remembered too.
func (w *Writer) Raw() io.Writer { return raw{w} }

// Unwrap returns the writer that w writes to.
func (w *Writer) Unwrap() io.Writer { return w.to }

func (w *Writer) pass(p []byte) {
	if w.err == nil && len(p) > 0 {
		_, w.err = w.to.Write(p)
	}
}

type raw struct{ w *Writer }

func (r raw) Write(p []byte) (int, error) {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	if r.w.pass(p); r.w.err != nil {
		return 0, r.w.err
	}
	return len(p), nil
}

// Escape is s as a [Writer] would write it, on one line.
func Escape(s string) string {
	return strings.ReplaceAll(string(escape([]byte(s))), "\n", `\n`)
}

// unfinished counts the bytes at the end of p that begin a character and may become
// one with the bytes to come.
func unfinished(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		if tail := p[len(p)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}

// escape returns p if there is nothing to escape in it.
func escape(p []byte) []byte {
	var out []byte
	written := 0
	for i := 0; i < len(p); {
		r, size := utf8.DecodeRune(p[i:])
		if bad := r == utf8.RuneError && size == 1; bad || steers(r) {
			out = append(out, p[written:i]...)
			out = appendEscape(out, p[i], r, bad)
			written = i + size
		}
		i += size
	}
	if out == nil {
		return p
	}
	return append(out, p[written:]...)
}

// steers reports whether r does something to a terminal instead of being shown.
func steers(r rune) bool {
	switch {
	case r < ' ':
		return r != '\n' && r != '\t'
	case r < 0x7f:
		return false
	}
	const lastC1 = 0x9f
	return r <= lastC1 || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069'
}

// appendEscape spells the character r, or if it is bad the byte b.
func appendEscape(out []byte, b byte, r rune, bad bool) []byte {
	const hex = "0123456789abcdef"
	if bad || r < ' ' {
		return append(out, '\\', 'x', hex[b>>4], hex[b&15])
	}
	out = append(out, '\\', 'u')
	for shift := 12; shift >= 0; shift -= 4 {
		out = append(out, hex[r>>shift&15])
	}
	return out
}
