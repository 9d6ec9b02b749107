package records

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"qtool/internal/printable"
	"qtool/internal/records/jsontext"
)

// csv visits the rows of a table as objects whose keys stand in its first row.
func (s *scan) csv() error {
	head, err := s.Peek(headLength)
	if err != nil && err != io.EOF {
		return s.failed(err)
	}
	delimiter, declared := sniff(head, err == io.EOF, ending(s.path))
	s.Discard(declared)
	s.found.Delimiter = string(rune(delimiter))
	t := table{scan: s, delimiter: delimiter, at: Place{Path: s.path, Line: 1}}
	if declared > 0 {
		t.at.Line++
	}
	if err := t.header(); err != nil {
		return err
	}
	s.rec.Fields, s.rec.Strings = make(Object, len(t.keys)), true
	for {
		switch err := t.row(); {
		case err == io.EOF:
			return nil
		case err != nil:
			if err := s.badRecord(err); err != nil {
				return err
			}
		default:
			if err := t.emitRow(); err != nil {
				return err
			}
		}
	}
}

// table is a CSV file: fields in quotes may hold the delimiter, quotes written twice, and
// ends of lines.
type table struct {
	*scan
	delimiter byte
	keys      []string
	at        Place    // where the next line begins
	begin     Place    // where the row begins
	buf       []byte   // the lines of the row
	fields    [][]byte // of the row, parts of buf
	values    []byte   // of the record, in JSON
	ends      []int    // where each of them ends
	invalid   error    // what the row has that is not UTF-8
}

// header reads the names of the columns.
func (t *table) header() error {
	switch err := t.row(); {
	case err == io.EOF:
		return fatal{Bad(Place{Path: t.path}, "the table has no header; expected the names of its columns in the first row, such as prompt,completion")}
	case err != nil:
		return fatal{err}
	}
	seen := map[string]bool{}
	for i, field := range t.fields {
		name := strings.TrimSpace(string(field))
		switch {
		case name == "":
			name = fmt.Sprintf("Unnamed: %d", i) // as pandas calls the index that it writes
		case len(name) > maxColumnName || strings.ContainsAny(name, "\r\n"):
			return fatal{Bad(t.begin, "the first row of a table has the names of its columns, and its column %d has %s; write a header above, such as prompt,completion",
				i+1, printable.Quote(name))}
		}
		if seen[name] {
			return fatal{Bad(t.begin, "two columns are named %s; give each a name of its own", printable.Quote(name))}
		}
		seen[name] = true
		t.keys = append(t.keys, name)
	}
	return nil
}

const maxColumnName = 200

// emitRow visits the record of the row.
func (t *table) emitRow() error {
	if len(t.fields) != len(t.keys) {
		return t.badRecord(Bad(t.begin, "the row has %s, and the header %d (%s); a value that holds %s, a quote or a line feed stands in quotes",
			columns(len(t.fields)), len(t.keys), firstNames(t.keys), printable.Quote(string(rune(t.delimiter)))))
	}
	t.values, t.ends = t.values[:0], t.ends[:0]
	for _, field := range t.fields {
		t.values = jsontext.AppendString(t.values, field)
		t.ends = append(t.ends, len(t.values))
	}
	begin := 0
	for i, key := range t.keys {
		t.rec.Fields[key] = json.RawMessage(t.values[begin:t.ends[i]])
		begin = t.ends[i]
	}
	t.rec.At = t.begin
	return t.emit()
}

func columns(n int) string {
	if n == 1 {
		return "1 column"
	}
	return fmt.Sprintf("%d columns", n)
}

func firstNames(keys []string) string {
	const most = 8
	names := printable.Texts(keys[:min(len(keys), most)])
	if len(keys) > most {
		names = append(names, "…")
	}
	return strings.Join(names, ", ")
}

// row reads the next row into fields; blank lines between are passed over. It returns
// io.EOF after the last, and an error of the row after which the next line can be read.
func (t *table) row() error {
	for {
		t.begin, t.buf, t.fields, t.invalid = t.at, t.buf[:0], t.fields[:0], nil
		if err := t.more(); err != nil {
			return err
		}
		if len(bytes.TrimRight(t.buf, "\r\n")) > 0 {
			break
		}
	}
	at := 0
	for {
		field, next, err := t.field(at)
		if err != nil {
			return err
		}
		t.fields = append(t.fields, field)
		if next < 0 {
			return t.invalid
		}
		at = next
	}
}

// more appends a line to buf.
func (t *table) more() error {
	begin := len(t.buf)
	line, err := t.ReadSlice('\n')
	t.buf = append(t.buf, line...)
	if err != nil && err != io.EOF {
		_, err = t.restOfLine(&t.buf, err, t.begin)
	}
	switch {
	case err == io.EOF && len(t.buf) == begin:
		return io.EOF
	case err != nil && err != io.EOF:
		return err
	case len(t.buf) > maxRecord:
		return fatal{Bad(t.begin, "the row is longer than %d MiB; is a quote open that nothing closes?", maxRecord>>20)}
	}
	if t.invalid == nil {
		t.invalid = checkUTF8(t.at, t.buf[begin:])
	}
	t.at.Line++
	return nil
}

// field takes the field that begins at buf[at]; next is where the one after it begins, -1
// if it is the last.
func (t *table) field(at int) (field []byte, next int, err error) {
	if at < len(t.buf) && t.buf[at] == '"' {
		return t.quoted(at + 1)
	}
	end := bytes.IndexByte(t.buf[at:], t.delimiter)
	next = at + end + 1
	if end < 0 {
		end, next = len(bytes.TrimRight(t.buf[at:], "\r\n")), -1
	}
	field = t.buf[at : at+end]
	if trimmed := bytes.TrimLeft(field, " "); len(trimmed) < len(field) && len(trimmed) > 0 && trimmed[0] == '"' {
		return nil, 0, Bad(t.begin, "a blank stands before the quote of column %d, so that it would be part of the text; write the delimiter and the quote side by side", len(t.fields)+1)
	}
	return field, next, nil
}

// quoted takes the field whose text begins at buf[begin], after a quote.
func (t *table) quoted(begin int) (field []byte, next int, err error) {
	from, write := begin, begin // quotes that stand for one are made one in place
	for {
		n := bytes.IndexByte(t.buf[from:], '"')
		if n < 0 {
			write += copy(t.buf[write:], t.buf[from:])
			if from = len(t.buf); write < from {
				t.buf = t.buf[:write]
				from = write
			}
			if err := t.more(); err == io.EOF {
				return nil, 0, fatal{Bad(t.begin, "the quote of column %d is not closed before the file ends", len(t.fields)+1)}
			} else if err != nil {
				return nil, 0, err
			}
			continue
		}
		write += copy(t.buf[write:], t.buf[from:from+n])
		after := from + n + 1
		if after == len(t.buf) || t.buf[after] != '"' {
			return t.afterQuote(t.buf[begin:write], after)
		}
		t.buf[write] = '"'
		write++
		from = after + 1
	}
}

// afterQuote says where the row goes on after a field in quotes.
func (t *table) afterQuote(field []byte, at int) ([]byte, int, error) {
	rest := t.buf[at:]
	switch {
	case len(bytes.TrimRight(rest, "\r\n")) == 0:
		return field, -1, nil
	case rest[0] == t.delimiter:
		return field, at + 1, nil
	}
	r, n := utf8.DecodeRune(rest)
	if r == utf8.RuneError {
		n = 1
	}
	return nil, 0, Bad(t.begin, "%s follows the quote that closes column %d; expected %s or the end of the row, and quotes inside of a text are written twice",
		printable.Quote(string(rest[:n])), len(t.fields)+1, printable.Quote(string(rune(t.delimiter))))
}
