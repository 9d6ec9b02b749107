package records

import (
	"bytes"
	"io"

	"qtool/internal/records/jsontext"
)

// values visits the elements of one JSON array, or JSON values that follow each other.
func (s *scan) values() error {
	v := valueReader{scan: s, at: Place{Path: s.path, Record: 1}}
	array, err := v.take('[')
	if err != nil {
		return err
	}
	for first := true; ; first = false {
		c, err := v.next()
		switch {
		case err == io.EOF && !array:
			return nil
		case err != nil:
			return v.ended(err)
		case array && first && c == ']':
			return v.end()
		}
		body, err := v.value()
		if err != nil {
			return err
		}
		if err := s.object(v.at, body); err != nil {
			return err
		}
		v.at.Record++
		if !array {
			continue
		}
		switch c, err := v.next(); {
		case err != nil:
			return v.ended(err)
		case c == ']':
			return v.end()
		case c != ',':
			return fatal{Bad(v.at, "it is not valid JSON: expected a comma or ] before it, found %s", jsontext.Excerpt([]byte{c}))}
		}
		v.Discard(1)
	}
}

// valueReader finds where JSON values end, and leaves what is in them to others.
type valueReader struct {
	*scan
	at  Place
	buf []byte
}

// next is the next byte that is not blank, which stays.
func (v *valueReader) next() (byte, error) {
	for {
		c, err := v.ReadByte()
		if err != nil {
			return 0, err
		}
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c, v.UnreadByte()
		}
	}
}

// take passes over c if it is next.
func (v *valueReader) take(c byte) (bool, error) {
	found, err := v.next()
	if err == io.EOF {
		return false, nil
	}
	if err != nil {
		return false, v.failed(err)
	}
	if found != c {
		return false, nil
	}
	v.Discard(1)
	return true, nil
}

// ended is the error of reading on inside of an array or a value.
func (v *valueReader) ended(err error) error {
	if err == io.EOF {
		return fatal{Bad(v.at, "the file ends before the JSON does: it is cut short")}
	}
	return v.failed(err)
}

// end passes over the bracket that closes the array.
func (v *valueReader) end() error {
	v.Discard(1)
	switch _, err := v.next(); {
	case err == io.EOF:
		return nil
	case err != nil:
		return v.failed(err)
	}
	return fatal{Bad(Place{Path: v.path}, "something follows the JSON array")}
}

// value reads the value that begins here: up to the bracket that closes its first, or a
// number or word up to what cannot be part of it. It is valid until the next call.
func (v *valueReader) value() ([]byte, error) {
	v.buf = v.buf[:0]
	var e valueEnd
	for {
		if _, err := v.Peek(1); err != nil {
			if err == io.EOF && e.plain {
				return v.buf, nil
			}
			return nil, v.ended(err)
		}
		chunk, _ := v.Peek(v.Buffered())
		n, end := e.find(chunk)
		if len(v.buf)+n > maxRecord {
			return nil, fatal{Bad(v.at, "the record is longer than %d MiB", maxRecord>>20)}
		}
		v.buf = append(v.buf, chunk[:n]...)
		v.Discard(n)
		if end {
			return v.buf, nil
		}
	}
}

// valueEnd looks for the end of a JSON value that comes in chunks.
type valueEnd struct {
	depth   int
	begun   bool
	plain   bool // a number or a word, without brackets or quotes
	quoted  bool // inside of a string
	escaped bool // after a backslash there
}

// find returns how much of chunk belongs to the value, and whether that is its end.
func (e *valueEnd) find(chunk []byte) (int, bool) {
	for i := 0; i < len(chunk); {
		if e.quoted && !e.escaped {
			if i += jsontext.PlainLength(chunk[i:]); i == len(chunk) {
				break
			}
		}
		c := chunk[i]
		i++
		switch {
		case e.escaped:
			e.escaped = false
		case e.quoted:
			e.escaped = c == '\\'
			if e.quoted = c != '"'; !e.quoted && e.depth == 0 {
				return i, true
			}
		case e.plain:
			if bytes.IndexByte([]byte(" \t\r\n,]}[{\""), c) >= 0 {
				return i - 1, true
			}
		case c == '"':
			e.quoted = true
		case c == '{' || c == '[':
			e.depth++
		case c == '}' || c == ']':
			if e.depth--; e.depth <= 0 {
				return i, true
			}
		case e.depth == 0:
			e.plain = true
		}
		e.begun = true
	}
	return len(chunk), false
}
