package records

import (
	"bufio"
	"bytes"
	"io"
	"regexp"
	"strings"
)

// sniff finds the delimiter of a table by its beginning, head: the one by which most rows
// have as many columns as the header, and then the one that gives more columns. declared
// is the length of a first line "sep=;", by which spreadsheets say it.
func sniff(head []byte, whole bool, ending string) (delimiter byte, declared int) {
	if line, _, ok := bytes.Cut(head, []byte("\n")); ok {
		if sep := bytes.TrimRight(line, "\r"); len(sep) == 5 && hasPrefixFold(sep, "sep=") {
			return sep[4], len(line) + 1
		}
	}
	candidates := ",\t;|"
	switch ending {
	case ".tsv", ".tab":
		candidates = "\t,;|"
	case ".psv":
		candidates = "|,\t;"
	}
	best, columns := 0.0, 0
	for _, c := range []byte(candidates) {
		s := shapeOf(head, whole, c)
		if len(s.header) < 2 {
			continue
		}
		if agree := s.agreement(); agree > best || agree == best && len(s.header) > columns {
			delimiter, best, columns = c, agree, len(s.header)
		}
	}
	if columns == 0 {
		delimiter = candidates[0]
	}
	return delimiter, 0
}

// shape is what a delimiter makes of the beginning of a table.
type shape struct {
	header      []string
	rows, equal int // below the header; those with as many columns
}

// agreement is the share of rows with as many columns as the header; 1 without rows.
func (s shape) agreement() float64 { return float64(1+s.equal) / float64(1+s.rows) }

func shapeOf(head []byte, whole bool, delimiter byte) shape {
	if end := bytes.LastIndexByte(head, '\n'); !whole && end >= 0 {
		head = head[:end+1]
	}
	t := table{scan: &scan{stream: &stream{Reader: bufio.NewReader(bytes.NewReader(head))}}, delimiter: delimiter}
	var s shape
	for {
		err := t.row()
		switch {
		case err == io.EOF:
			return s
		case err != nil && s.header == nil:
			return shape{}
		case s.header == nil:
			for _, f := range t.fields {
				s.header = append(s.header, strings.TrimSpace(string(f)))
			}
			continue
		}
		if err != nil && len(t.buf) > 0 && !whole && t.Buffered() == 0 {
			return s // the row may go on behind head
		}
		s.rows++
		if err == nil && len(t.fields) == len(s.header) {
			s.equal++
		}
	}
}

// columnName matches what columns are called; headline names which of these tell a table
// from prose, where nothing in a file's name does.
var (
	columnName = regexp.MustCompile(`^[A-Za-z_][\w .-]{0,40}$`)
	headline   = regexp.MustCompile(`^(?i:prompt|completion|instruction|output|response|question|answer|text|messages|conversations|chosen|rejected)$`)
)

// looksCSV is whether the beginning of a file without such a name is a table: a header of
// plain names, one of them a known one, and rows of which nearly all fit it.
func looksCSV(head []byte, whole bool) bool {
	delimiter, declared := sniff(head, whole, "")
	s := shapeOf(head[declared:], whole, delimiter)
	known := false
	for _, name := range s.header {
		if !columnName.MatchString(name) {
			return false
		}
		known = known || headline.MatchString(name)
	}
	return known && len(s.header) >= 2 && s.rows > 0 && s.agreement() >= 0.9
}
