package records

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"

	"qtool/internal/records/jsontext"
)

// Object is a JSON object by key.
type Object map[string]json.RawMessage

// maxRecord is the most bytes that one record may have, after decompression.
const maxRecord = 64 << 20

// Record is one entry of a data set: the fields of an object, or the next bytes of a text.
// It is valid until the visitor returns.
type Record struct {
	At     Place
	Weight float64 // of its source: how often it is to be seen in an epoch
	// Fields is nil for a text. Its values are valid JSON, also in a second sense: UTF-8, no
	// key twice in an object, no half of a surrogate pair.
	Fields Object
	// Strings says that the file knows only strings, as CSV does: a number or a list is
	// written inside of one.
	Strings bool
	// Text continues a document, which begins with the first such record of a file. It has
	// whole characters, and line feeds alone at the ends of lines.
	Text []byte
	// Last says that the document ends with Text, which may be empty then.
	Last bool
}

// Clone is a copy that stays valid.
func (r *Record) Clone() *Record {
	c := *r
	c.Text = bytes.Clone(r.Text)
	if r.Fields == nil {
		return &c
	}
	size := 0
	for _, value := range r.Fields {
		size += len(value)
	}
	all := make([]byte, 0, size)
	c.Fields = make(Object, len(r.Fields))
	for key, value := range r.Fields {
		from := len(all)
		all = append(all, value...)
		c.Fields[key] = all[from:len(all):len(all)]
	}
	return &c
}

// Reader reads files.
type Reader struct {
	// Stdin is what [Stdin] stands for.
	Stdin io.Reader
	// SkipBad passes over bad records and counts them. Else the first one is an error.
	SkipBad bool
	// OnBad, unless nil, gets the error about each record that is passed over, between the
	// visits of those around it.
	OnBad func(error)
}

// Report says what was read.
type Report struct {
	Files []Found    `json:"files"`
	Bad   BadRecords `json:"bad"`
}

// Records counts the records of all files.
func (r *Report) Records() int {
	n := 0
	for _, f := range r.Files {
		n += f.Records
	}
	return n
}

// Found says what one file is, and what it held. A text is one record.
type Found struct {
	Path        string  `json:"path"`
	Container   string  `json:"container"`             // "JSON lines"
	Compression string  `json:"compression,omitempty"` // "gzip"
	Delimiter   string  `json:"delimiter,omitempty"`   // of a CSV file
	Weight      float64 `json:"weight"`
	Records     int     `json:"records"` // given to the visitor, without those it found bad
	Bad         int     `json:"bad,omitempty"`
	Bytes       int64   `json:"bytes"`    // of the file, read so far
	Expanded    int64   `json:"expanded"` // after decompression; of a Parquet file, of its values
}

// BadRecords counts records that were passed over.
type BadRecords struct {
	Records int      `json:"records"`
	First   []string `json:"first,omitempty"` // the errors about the first of them
}

// namedBad is how many bad records a report names.
const namedBad = 5

func (b *BadRecords) add(err error) {
	if b.Records++; len(b.First) < namedBad {
		b.First = append(b.First, err.Error())
	}
}

// Read visits the records of files in order. An error of visit ends the reading and is
// returned; but with SkipBad one that matches [ErrFormat] is about its record alone, which
// is counted as bad. Files without records are an error only together: see
// [Report.Records]. The report holds what was read up to an error.
func (r *Reader) Read(files []File, visit func(*Record) error) (Report, error) {
	var report Report
	for _, f := range files {
		if err := r.file(f, &report, visit); err != nil {
			return report, err
		}
	}
	return report, nil
}

// ReadStream is Read of one file that is open; name stands in errors, and its ending counts
// where content leaves open what it is.
func (r *Reader) ReadStream(in io.Reader, name string, visit func(*Record) error) (Report, error) {
	var report Report
	err := r.stream(in, File{Path: name, Weight: 1}, &report, visit)
	return report, err
}

func (r *Reader) file(f File, report *Report, visit func(*Record) error) error {
	in, name, err := r.open(f.Path)
	if err != nil {
		return err
	}
	defer in.Close()
	f.Path = name
	return r.stream(in, f, report, visit)
}

func (r *Reader) stream(in io.Reader, f File, report *Report, visit func(*Record) error) error {
	report.Files = append(report.Files, Found{Path: f.Path, Weight: f.Weight})
	found := &report.Files[len(report.Files)-1]
	s, err := newStream(in, f.Path)
	if err != nil {
		return err
	}
	defer s.close()
	sc := scan{
		stream: s, found: found, skipBad: r.SkipBad, onBad: r.OnBad, bad: &report.Bad, visit: visit,
		rec: Record{Weight: f.Weight},
	}
	err = sc.all()
	found.Bytes = s.read.n
	if found.Expanded == 0 {
		found.Expanded = s.expanded.n
	}
	return err
}

// scan is the reading of one file.
type scan struct {
	*stream
	found   *Found
	skipBad bool
	onBad   func(error)
	bad     *BadRecords
	visit   func(*Record) error
	rec     Record
	parser  jsontext.Parser
}

// all visits all records.
func (s *scan) all() error {
	kind, err := s.detect()
	if err != nil {
		return err
	}
	s.found.Container, s.found.Compression = kind.String(), s.compression
	switch kind {
	case Nothing:
		return nil
	case JSONLines:
		return s.lines()
	case JSONValues:
		return s.values()
	case CSV:
		return s.csv()
	case Parquet:
		return s.parquet()
	}
	return s.text()
}

// object visits the record that is one JSON object.
func (s *scan) object(at Place, body []byte) error {
	if err := checkUTF8(at, body); err != nil {
		return s.badRecord(err)
	}
	if s.rec.Fields == nil {
		s.rec.Fields = Object{}
	}
	if err := s.parser.Object(body, s.rec.Fields); err != nil {
		return s.badRecord(Bad(at, "%v", err))
	}
	s.rec.At = at
	return s.emit()
}

// emit visits rec.
func (s *scan) emit() error {
	if err := s.visit(&s.rec); err != nil {
		return s.badRecord(err)
	}
	s.found.Records++
	return nil
}

// badRecord counts the record that err is about, if that is allowed, and returns err else.
func (s *scan) badRecord(err error) error {
	var f fatal
	if !s.skipBad || !errors.Is(err, ErrFormat) || errors.As(err, &f) {
		return err
	}
	s.found.Bad++
	s.bad.add(err)
	if s.onBad != nil {
		s.onBad(err)
	}
	return nil
}

// compressedEndings are those of the compressions that are read.
var compressedEndings = []string{".gz", ".gzip", ".zst", ".zstd"}

// plainName is a name without the ending of compression.
func plainName(name string) string {
	lower := strings.ToLower(name)
	at := slices.IndexFunc(compressedEndings, func(e string) bool { return strings.HasSuffix(lower, e) })
	if at < 0 {
		return name
	}
	return name[:len(name)-len(compressedEndings[at])]
}
