package records

import (
	"bytes"
	"encoding/json"
	"io"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// Kind is how records lie in a file.
type Kind int

const (
	Nothing    Kind = iota // an empty file, or one of blanks
	PlainText              // the file is one text
	Markdown               // the same
	JSONLines              // one JSON object a line; blank lines between are fine
	JSONValues             // a JSON array of objects, or objects over many lines
	CSV                    // a header, then one record a row, with any delimiter
	Parquet
)

// String is the name for the user.
func (k Kind) String() string {
	return [...]string{"empty", "text", "Markdown", "JSON lines", "JSON", "CSV", "Parquet"}[k]
}

// Endings of names, which decide what content leaves open.
var kindOfEnding = map[string]Kind{
	".jsonl": JSONLines, ".ndjson": JSONLines, ".json": JSONValues,
	".csv": CSV, ".tsv": CSV, ".tab": CSV, ".psv": CSV, ".parquet": Parquet,
	".txt": PlainText, ".text": PlainText, ".raw": PlainText, ".md": Markdown, ".markdown": Markdown, ".mdx": Markdown,
}

// ending is that of a name, in small letters and without that of compression.
func ending(name string) string {
	return strings.ToLower(path.Ext(filepath.ToSlash(plainName(name))))
}

// looksJSON matches the beginning of an object, or of an array of them.
var looksJSON = regexp.MustCompile(`^(\[\s*)?\{\s*["}]`)

var bom = []byte("\ufeff")

// detect says what the stream is, and refuses what is not read. It passes over a byte
// order mark.
func (s *stream) detect() (Kind, error) {
	head, err := s.Peek(headLength)
	if err != nil && err != io.EOF {
		return 0, s.failed(err)
	}
	if err := s.refuse(head); err != nil {
		return 0, err
	}
	whole := err == io.EOF
	if bytes.HasPrefix(head, bom) {
		s.Discard(len(bom))
		head = head[len(bom):]
	}
	return kindOf(head, whole, ending(s.path)), nil
}

// kindOf decides by the beginning of a file, which may be the whole of it.
func kindOf(head []byte, whole bool, ending string) Kind {
	body := bytes.TrimLeft(head, " \t\r\n")
	named := kindOfEnding[ending]
	switch {
	case isParquet(head):
		return Parquet
	case len(body) == 0 && whole:
		return Nothing
	case looksJSON.Match(body), named == JSONLines, named == JSONValues:
		return kindOfJSON(body, named)
	case named == CSV || named != Markdown && looksCSV(head, whole):
		return CSV
	case named == Markdown:
		return Markdown
	}
	return PlainText
}

func kindOfJSON(body []byte, named Kind) Kind {
	if bytes.HasPrefix(body, []byte("[")) {
		return JSONValues
	}
	first, _, whole := bytes.Cut(body, []byte("\n"))
	broken := whole && !json.Valid(first)
	if broken && (named == JSONValues || named != JSONLines && string(bytes.TrimSpace(first)) == "{") {
		return JSONValues
	}
	return JSONLines
}
