package jsontext

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"qtool/internal/printable"
)

// maxDepth is how deep arrays and objects may lie in each other.
const maxDepth = 500

// Parser reads one object after another.
type Parser struct {
	names map[string]string // keys that were met, so that each is one string
	keys  [][]byte          // memory of a scanner
}

// maxNames is how many keys a parser remembers, and maxName how long they may be.
const (
	maxNames = 256
	maxName  = 64
)

// Object checks that b, which is UTF-8, is one JSON object and takes its fields into
// fields, which it clears first; their values are parts of b. It is stricter than the
// grammar in two ways, since a reader would else have to choose silently: no key may stand
// twice in an object, and no string may hold half of a surrogate pair.
func (p *Parser) Object(b []byte, fields map[string]json.RawMessage) error {
	clear(fields)
	if len(b) == 0 || b[0] != '{' {
		return fmt.Errorf("expected a JSON object, found %s", Excerpt(b))
	}
	s := scanner{parser: p, b: b, fields: fields, keys: p.keys[:0]}
	err := s.object()
	if err == nil {
		if s.blanks(); s.at < len(b) {
			err = s.fault("%s follows the object; expected one object", s.here())
		}
	}
	p.keys = s.keys
	if err != nil {
		return fmt.Errorf("it is not valid JSON: %w", err)
	}
	return nil
}

// name is key as a string.
func (p *Parser) name(key []byte) string {
	if name, ok := p.names[string(key)]; ok {
		return name
	}
	name := string(key)
	if len(p.names) < maxNames && len(name) <= maxName {
		if p.names == nil {
			p.names = map[string]string{}
		}
		p.names[name] = name
	}
	return name
}

// Excerpt is the beginning of b, quoted if not all of it can be printed.
func Excerpt(b []byte) string {
	const most = 40
	if len(b) > most {
		return printable.Text(strings.ToValidUTF8(string(b[:most]), "") + "…")
	}
	return printable.Text(string(b))
}

// scanner goes through one JSON text.
type scanner struct {
	parser *Parser
	b      []byte
	at     int
	depth  int
	fields map[string]json.RawMessage // of the outermost object
	keys   [][]byte                   // of the objects that are open, outermost first
}

func (s *scanner) fault(format string, args ...any) error {
	return fmt.Errorf("byte %d: %s", s.at+1, fmt.Sprintf(format, args...))
}

// here names the character that was found.
func (s *scanner) here() string {
	if s.at >= len(s.b) {
		return "the end of it (is it cut short?)"
	}
	r, n := utf8.DecodeRune(s.b[s.at:])
	if r == '\n' {
		return "the end of the line"
	}
	return printable.Quote(string(s.b[s.at : s.at+n]))
}

func (s *scanner) blanks() {
	for s.at < len(s.b) {
		switch s.b[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return
		}
	}
}

// take passes over c, after blanks, if it is next.
func (s *scanner) take(c byte) bool {
	s.blanks()
	if s.at < len(s.b) && s.b[s.at] == c {
		s.at++
		return true
	}
	return false
}

func (s *scanner) value() error {
	s.blanks()
	if s.at >= len(s.b) {
		return s.fault("expected a value, found %s", s.here())
	}
	switch c := s.b[s.at]; {
	case c == '"':
		_, err := s.text()
		return err
	case c == '{':
		return s.object()
	case c == '[':
		return s.array()
	case c == '-' || '0' <= c && c <= '9':
		return s.number()
	}
	return s.literal()
}

func (s *scanner) enter() error {
	if s.depth++; s.depth > maxDepth {
		return s.fault("arrays and objects lie more than %d deep in each other", maxDepth)
	}
	s.at++
	return nil
}

func (s *scanner) array() error {
	if err := s.enter(); err != nil {
		return err
	}
	for first := true; !s.take(']'); first = false {
		if !first && !s.take(',') {
			return s.fault("expected a comma or ] after an element, found %s", s.here())
		}
		if err := s.value(); err != nil {
			return err
		}
	}
	s.depth--
	return nil
}

func (s *scanner) object() error {
	if err := s.enter(); err != nil {
		return err
	}
	outermost, open := s.depth == 1, len(s.keys)
	seen := keySet{keys: &s.keys, from: open}
	for first := true; !s.take('}'); first = false {
		if !first && !s.take(',') {
			return s.fault("expected a comma or } after a field, found %s", s.here())
		}
		if s.blanks(); s.at >= len(s.b) || s.b[s.at] != '"' {
			return s.fault("expected a key in quotes, found %s", s.here())
		}
		begin := s.at
		key, err := s.key()
		if err != nil {
			return err
		}
		if !seen.add(key) {
			s.at = begin
			return s.fault("the key %s stands twice in one object; which is meant?", printable.Quote(string(key)))
		}
		if !s.take(':') {
			return s.fault("expected a colon after a key, found %s", s.here())
		}
		s.blanks()
		begin = s.at
		if err := s.value(); err != nil {
			return err
		}
		if outermost {
			s.fields[s.parser.name(key)] = s.b[begin:s.at]
		}
	}
	s.keys = s.keys[:open]
	s.depth--
	return nil
}

// keySet are the keys of one object: those of keys from an index on, and as a map where
// they are many.
type keySet struct {
	keys *[][]byte
	from int
	many map[string]bool
}

const fewKeys = 16

func (k *keySet) add(key []byte) bool {
	mine := (*k.keys)[k.from:]
	if len(mine) == fewKeys && k.many == nil {
		k.many = map[string]bool{}
		for _, known := range mine {
			k.many[string(known)] = true
		}
	}
	if k.many != nil {
		known := k.many[string(key)]
		k.many[string(key)] = true
		return !known
	}
	for _, known := range mine {
		if bytes.Equal(known, key) {
			return false
		}
	}
	*k.keys = append(*k.keys, key)
	return true
}

// key passes over a string and returns its characters, which are part of b unless it has
// escapes.
func (s *scanner) key() ([]byte, error) {
	begin := s.at
	escaped, err := s.text()
	switch {
	case err != nil:
		return nil, err
	case !escaped:
		return s.b[begin+1 : s.at-1], nil
	}
	var text string
	if err := json.Unmarshal(s.b[begin:s.at], &text); err != nil {
		return nil, s.fault("%v", err)
	}
	return []byte(text), nil
}

// text passes over a string, and says whether it has escapes.
func (s *scanner) text() (escaped bool, err error) {
	s.at++
	for {
		s.at += PlainLength(s.b[s.at:])
		if s.at >= len(s.b) {
			return false, s.fault("a string does not end (is it cut short?)")
		}
		switch c := s.b[s.at]; {
		case c == '"':
			s.at++
			return escaped, nil
		case c == '\\':
			escaped = true
			if err := s.escape(); err != nil {
				return false, err
			}
		case c == '\n' || c == '\r':
			return false, s.fault("a string does not end in its line; write a line feed as \\n")
		default:
			return false, s.fault("a string holds the control character 0x%02x; write it as \\u%04x", c, c)
		}
	}
}

func (s *scanner) escape() error {
	if s.at+1 >= len(s.b) {
		return s.fault("a string does not end (is it cut short?)")
	}
	switch c := s.b[s.at+1]; c {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.at += 2
		return nil
	case 'u':
	default:
		return s.fault("a string holds the escape %s, which JSON has not; write a backslash as \\\\", printable.Quote(string(s.b[s.at:s.at+2])))
	}
	unit, ok := s.unit(s.at)
	if !ok {
		return s.fault("\\u is not followed by four hexadecimal digits")
	}
	if !utf16.IsSurrogate(unit) {
		s.at += 6
		return nil
	}
	if low, ok := s.unit(s.at + 6); ok && utf16.DecodeRune(unit, low) != utf8.RuneError {
		s.at += 12
		return nil
	}
	return s.fault("\\u%04x is half of a character, a surrogate without its other half; the text was cut inside a character", unit)
}

// unit reads the \uXXXX that begins at b[at].
func (s *scanner) unit(at int) (rune, bool) {
	if at+6 > len(s.b) || s.b[at] != '\\' || s.b[at+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range s.b[at+2 : at+6] {
		d := strings.IndexByte("0123456789abcdef", c|0x20)
		if d < 0 || c < '0' {
			return 0, false
		}
		r = r<<4 | rune(d)
	}
	return r, true
}

func (s *scanner) number() error {
	if s.b[s.at] == '-' {
		if s.at++; bytes.HasPrefix(s.b[s.at:], []byte("Infinity")) {
			s.at--
			return s.notJSON("-Infinity")
		}
	}
	if !s.digits(true) {
		return s.fault("a number goes on with %s", s.here())
	}
	if s.at < len(s.b) && s.b[s.at] == '.' {
		if s.at++; !s.digits(false) {
			return s.fault("a number goes on with %s after its point", s.here())
		}
	}
	if s.at < len(s.b) && s.b[s.at]|0x20 == 'e' {
		if s.at++; s.at < len(s.b) && (s.b[s.at] == '+' || s.b[s.at] == '-') {
			s.at++
		}
		if !s.digits(false) {
			return s.fault("a number goes on with %s in its exponent", s.here())
		}
	}
	return nil
}

// digits passes over at least one digit, over no more than one zero if it leads.
func (s *scanner) digits(leading bool) bool {
	begin := s.at
	for s.at < len(s.b) && '0' <= s.b[s.at] && s.b[s.at] <= '9' {
		s.at++
		if leading && s.b[begin] == '0' {
			break
		}
	}
	return s.at > begin
}

func (s *scanner) literal() error {
	for _, word := range []string{"null", "true", "false"} {
		if bytes.HasPrefix(s.b[s.at:], []byte(word)) {
			s.at += len(word)
			return nil
		}
	}
	for _, word := range []string{"NaN", "Infinity"} {
		if bytes.HasPrefix(s.b[s.at:], []byte(word)) {
			return s.notJSON(word)
		}
	}
	return s.fault("expected a value, found %s", s.here())
}

func (s *scanner) notJSON(word string) error {
	return s.fault("%s, which Python writes, is no value of JSON; write null for what is missing", word)
}
