package dataset

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Limits on what one file may put in memory.
const (
	maxRecord = 64 << 20 // bytes of one JSON record
	maxText   = 1 << 30  // bytes of one plain text file
)

// layout is how the records lie in a file.
type layout int

const (
	plainText  layout = iota // the file is one text
	jsonLines                // one JSON object a line; blank lines between are fine
	jsonValues               // a JSON array of objects, or objects over many lines
)

// looksJSON matches the beginning of an object, or of an array of them.
var looksJSON = regexp.MustCompile(`^(\[\s*)?\{\s*["}]`)

// detect decides by content; the name's ending decides only what content leaves
// open. head is the beginning of the file.
func detect(head []byte, name string) layout {
	ext := strings.ToLower(filepath.Ext(name))
	lines := ext == ".jsonl" || ext == ".ndjson"
	body := bytes.TrimLeft(head, " \t\r\n")
	if !looksJSON.Match(body) && !lines && ext != ".json" {
		return plainText
	}
	if bytes.HasPrefix(body, []byte("[")) {
		return jsonValues
	}
	first, _, whole := bytes.Cut(body, []byte("\n"))
	broken := whole && !json.Valid(first)
	if broken && (ext == ".json" || !lines && string(bytes.TrimSpace(first)) == "{") {
		return jsonValues
	}
	return jsonLines
}

// scan reads a file and visits its records in order: body is one JSON value, or
// the whole text if the layout is plainText. It must not be kept. An error of
// visit ends the scan and is returned.
func scan(r io.Reader, name string, visit func(at place, body []byte, l layout) error) error {
	br := bufio.NewReaderSize(r, 1<<16)
	if bom, _ := br.Peek(3); string(bom) == "\ufeff" {
		br.Discard(3)
	}
	head, err := br.Peek(br.Size())
	if err != nil && err != io.EOF {
		return reading(name, err)
	}
	switch detect(head, name) {
	case jsonLines:
		return scanLines(br, name, visit)
	case jsonValues:
		return scanValues(br, name, visit)
	}
	return scanText(br, name, visit)
}

func reading(name string, err error) error { return fmt.Errorf("reading %s: %w", name, err) }

func checkUTF8(at place, b []byte) error { return checkUTF8From(at, b, 0) }

// checkUTF8From is checkUTF8 for what follows the first before bytes of a record.
func checkUTF8From(at place, b []byte, before int64) error {
	if utf8.Valid(b) {
		return nil
	}
	valid := 0
	for {
		r, n := utf8.DecodeRune(b[valid:])
		if r == utf8.RuneError && n <= 1 {
			break
		}
		valid += n
	}
	if at.line > 0 {
		at.line += bytes.Count(b[:valid], []byte("\n"))
	}
	return bad(at, "byte %d of it is 0x%02x, which is not UTF-8; expected plain text or JSON records in UTF-8", before+int64(valid)+1, b[valid])
}

// scanText visits a text piece by piece, each of whole characters and with line
// feeds alone at the ends of its lines.
func scanText(br *bufio.Reader, name string, visit func(place, []byte, layout) error) error {
	at := place{path: name, line: 1}
	var read int64
	piece := make([]byte, 0, 1<<18)
	for end := false; !end; {
		n, err := io.ReadFull(br, piece[len(piece):cap(piece)])
		if end = err == io.EOF || err == io.ErrUnexpectedEOF; err != nil && !end {
			return reading(name, err)
		}
		piece = piece[:len(piece)+n]
		whole := len(piece)
		if !end {
			whole = wholeCharacters(piece)
		}
		if err := checkUTF8From(at, piece[:whole], read); err != nil {
			return err
		}
		read += int64(whole)
		if read > maxText {
			return bad(place{path: name}, "the text is longer than %d MiB; split it into several files", maxText>>20)
		}
		at.line += bytes.Count(piece[:whole], []byte("\n"))
		if text := bytes.ReplaceAll(piece[:whole], []byte("\r\n"), []byte("\n")); len(text) > 0 {
			if err := visit(at, text, plainText); err != nil {
				return err
			}
		}
		piece = piece[:copy(piece[:cap(piece)], piece[whole:])]
	}
	return nil
}

// wholeCharacters is the length of b without a character at its end that more
// bytes may follow: half of one, or a carriage return.
func wholeCharacters(b []byte) int {
	for n := len(b); n > 0 && n > len(b)-utf8.UTFMax; {
		n--
		if utf8.RuneStart(b[n]) {
			if !utf8.FullRune(b[n:]) || b[n] == '\r' {
				return n
			}
			break
		}
	}
	return len(b)
}

func scanLines(br *bufio.Reader, name string, visit func(place, []byte, layout) error) error {
	at := place{path: name}
	var line []byte
	for {
		at.line++
		var err error
		line, err = readLine(br, line[:0], at)
		if err != nil && err != io.EOF {
			return err
		}
		if body := bytes.TrimSpace(line); len(body) > 0 {
			if err := checkUTF8(at, line); err != nil {
				return err
			}
			if err := visit(at, body, jsonLines); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
	}
}

// readLine appends the next line to buf. It returns io.EOF with the last line.
func readLine(br *bufio.Reader, buf []byte, at place) ([]byte, error) {
	for {
		part, err := br.ReadSlice('\n')
		buf = append(buf, part...)
		switch {
		case len(buf) > maxRecord:
			return buf, tooBig(at)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && err != io.EOF:
			return buf, reading(at.path, err)
		}
		return buf, err
	}
}

func tooBig(at place) error {
	return bad(at, "the record is longer than %d MiB; a JSON lines file has one record a line", maxRecord>>20)
}

func scanValues(br *bufio.Reader, name string, visit func(place, []byte, layout) error) error {
	at := place{path: name, record: 1}
	src := &budget{r: br}
	dec := json.NewDecoder(src)
	fail := func(err error) error {
		switch {
		case errors.Is(err, errBudget):
			return tooBig(at)
		case errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF:
			return bad(at, "the file ends before the JSON does")
		}
		if syntax := new(json.SyntaxError); errors.As(err, &syntax) {
			return bad(at, "it is not valid JSON: %v", err)
		}
		return reading(name, err)
	}
	array, err := startsArray(br)
	if err != nil {
		return reading(name, err)
	}
	src.left = maxRecord
	if array {
		if _, err := dec.Token(); err != nil {
			return fail(err)
		}
	}
	for ; !array || dec.More(); at.record++ {
		src.left = maxRecord
		var body json.RawMessage
		if err := dec.Decode(&body); err == io.EOF && !array {
			return nil
		} else if err != nil {
			return fail(err)
		}
		if err := checkUTF8(at, body); err != nil {
			return err
		}
		if err := visit(at, body, jsonValues); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil { // the closing bracket
		return fail(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return bad(place{path: name}, "something follows the JSON array")
	}
	return nil
}

func startsArray(br *bufio.Reader) (bool, error) {
	for {
		c, err := br.ReadByte()
		if err == io.EOF {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if !strings.ContainsRune(" \t\r\n", rune(c)) {
			return c == '[', br.UnreadByte()
		}
	}
}

var errBudget = errors.New("record too big")

// budget fails after left bytes, so that one value cannot fill the memory.
type budget struct {
	r    io.Reader
	left int
}

func (b *budget) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errBudget
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
