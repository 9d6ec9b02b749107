package chat

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// tokenKind says what a token of a template is.
type tokenKind int

const (
	tokenData  tokenKind = iota // text between tags
	tokenOpen                   // {{ or {%
	tokenClose                  // }} or %}
	tokenName
	tokenString // text holds the decoded string
	tokenInt
	tokenFloat
	tokenOp
	tokenEOF
)

type token struct {
	kind tokenKind
	text string
	line int
}

// lexer splits a template into tokens, with trim_blocks and lstrip_blocks, as
// transformers sets Jinja up for chat templates.
type lexer struct {
	src    string
	pos    int
	line   int
	tokens []token
	// lineStart: the last tag ended with a newline, so what follows begins a line.
	lineStart bool
}

func lex(source string) ([]token, error) {
	source = strings.ReplaceAll(source, "\r\n", "\n")
	source = strings.ReplaceAll(source, "\r", "\n")
	l := &lexer{src: strings.TrimSuffix(source, "\n"), line: 1, lineStart: true}
	for l.pos < len(l.src) {
		if err := l.next(); err != nil {
			return nil, err
		}
	}
	l.add(tokenEOF, "")
	return l.tokens, nil
}

func (l *lexer) add(kind tokenKind, text string) {
	l.tokens = append(l.tokens, token{kind, text, l.line})
}

// advance moves to position to and counts lines.
func (l *lexer) advance(to int) {
	l.line += strings.Count(l.src[l.pos:to], "\n")
	l.pos = to
}

// next takes the text up to the next tag, and the tag.
func (l *lexer) next() error {
	at := l.tag()
	if at < 0 {
		l.add(tokenData, l.src[l.pos:])
		l.advance(len(l.src))
		return nil
	}
	text, kind := l.src[l.pos:at], l.src[at+1]
	sign := byte(0)
	if at+2 < len(l.src) {
		sign = l.src[at+2]
	}
	text = l.strip(text, kind, sign)
	if text != "" {
		l.add(tokenData, text)
	}
	l.advance(at + 2)
	if sign == '-' || sign == '+' && kind != '{' {
		l.pos++
	}
	switch {
	case kind == '#':
		return l.comment()
	case kind == '%' && l.isRaw():
		return l.raw()
	}
	return l.inside(kind)
}

// tag is the position of the next tag, -1 for none.
func (l *lexer) tag() int {
	for at := l.pos; ; at++ {
		i := strings.IndexByte(l.src[at:], '{')
		if i < 0 || at+i+1 >= len(l.src) {
			return -1
		}
		at += i
		if c := l.src[at+1]; c == '{' || c == '%' || c == '#' {
			return at
		}
	}
}

// strip removes what a tag removes of the text before it.
func (l *lexer) strip(text string, kind, sign byte) string {
	if sign == '-' {
		return strings.TrimRightFunc(text, isSpace)
	}
	if sign == '+' || kind == '{' {
		return text
	}
	line := strings.LastIndexByte(text, '\n') + 1
	if (line > 0 || l.lineStart) && strings.TrimLeftFunc(text[line:], isSpace) == "" {
		return text[:line]
	}
	return text
}

// isSpace is the white space of Python's strings.
func isSpace(r rune) bool { return unicode.IsSpace(r) || 0x1c <= r && r <= 0x1f }

// end takes the end of a tag, which is n bytes long and preceded by sign.
func (l *lexer) end(n int, sign byte, trimNewline bool) {
	start := l.pos
	to := l.pos + n
	switch {
	case sign == '-':
		rest := strings.TrimLeftFunc(l.src[to:], isSpace)
		to = len(l.src) - len(rest)
	case trimNewline && sign != '+' && to < len(l.src) && l.src[to] == '\n':
		to++
	}
	l.lineStart = to > start && l.src[to-1] == '\n'
	l.advance(to)
}

func (l *lexer) comment() error {
	i := strings.Index(l.src[l.pos:], "#}")
	if i < 0 {
		return templateError(l.line, "a comment is not closed; expected #}")
	}
	sign := byte(0)
	if i > 0 {
		sign = l.src[l.pos+i-1]
	}
	l.advance(l.pos + i)
	l.end(2, sign, true)
	return nil
}

// isRaw says whether the block tag at hand is {% raw %}.
func (l *lexer) isRaw() bool {
	rest := strings.TrimLeftFunc(l.src[l.pos:], isSpace)
	rest, ok := strings.CutPrefix(rest, "raw")
	rest = strings.TrimLeftFunc(rest, isSpace)
	return ok && (strings.HasPrefix(rest, "%}") || strings.HasPrefix(rest, "-%}"))
}

// raw takes {% raw %}, and everything up to {% endraw %} as text.
func (l *lexer) raw() error {
	i := strings.Index(l.src[l.pos:], "%}")
	sign := l.src[l.pos+i-1]
	l.advance(l.pos + i)
	l.end(2, sign, false)
	for at := l.pos; ; {
		i := strings.Index(l.src[at:], "{%")
		if i < 0 {
			return templateError(l.line, "a raw block is not closed; expected {%% endraw %%}")
		}
		at += i
		inner := l.src[at+2:]
		sign := byte(0)
		if inner != "" && (inner[0] == '-' || inner[0] == '+') {
			sign, inner = inner[0], inner[1:]
		}
		inner, ok := strings.CutPrefix(strings.TrimLeftFunc(inner, isSpace), "endraw")
		inner = strings.TrimLeftFunc(inner, isSpace)
		close := byte(0)
		if inner != "" && (inner[0] == '-' || inner[0] == '+') {
			close, inner = inner[0], inner[1:]
		}
		if !ok || !strings.HasPrefix(inner, "%}") {
			at += 2
			continue
		}
		if text := l.strip(l.src[l.pos:at], '%', sign); text != "" {
			l.add(tokenData, text)
		}
		l.advance(len(l.src) - len(inner))
		l.end(2, close, true)
		return nil
	}
}

// inside takes the tokens of a {{ or {% tag and its end.
func (l *lexer) inside(kind byte) error {
	opened := l.line
	l.add(tokenOpen, "{"+string(kind))
	closer := "}}"
	if kind == '%' {
		closer = "%}"
	}
	var open []byte
	for {
		rest := strings.TrimLeftFunc(l.src[l.pos:], isSpace)
		l.advance(len(l.src) - len(rest))
		if rest == "" {
			return templateError(opened, "a tag is not closed; expected %s", closer)
		}
		if len(open) == 0 {
			sign := byte(0)
			after := rest
			if rest[0] == '-' || rest[0] == '+' && kind == '%' {
				sign, after = rest[0], rest[1:]
			}
			if strings.HasPrefix(after, closer) {
				l.add(tokenClose, closer)
				l.end(len(rest)-len(after)+2, sign, kind == '%')
				return nil
			}
		}
		n, err := l.one(rest)
		if err != nil {
			return err
		}
		if t := l.tokens[len(l.tokens)-1]; t.kind == tokenOp {
			if open, err = balance(open, t); err != nil {
				return err
			}
		}
		l.advance(l.pos + n)
	}
}

// balance keeps the closing brackets that are due.
func balance(open []byte, t token) ([]byte, error) {
	switch t.text {
	case "(":
		open = append(open, ')')
	case "[":
		open = append(open, ']')
	case "{":
		open = append(open, '}')
	case ")", "]", "}":
		if len(open) == 0 || open[len(open)-1] != t.text[0] {
			return nil, templateError(t.line, "unexpected %q", t.text)
		}
		open = open[:len(open)-1]
	}
	return open, nil
}

// one adds the token that rest begins with and returns its length.
func (l *lexer) one(rest string) (int, error) {
	c := rest[0]
	switch {
	case c == '"' || c == '\'':
		return l.quoted(rest)
	case '0' <= c && c <= '9':
		return l.number(rest)
	}
	if n := nameLength(rest); n > 0 {
		l.add(tokenName, rest[:n])
		return n, nil
	}
	if len(rest) > 1 {
		switch rest[:2] {
		case "**", "//", "==", "!=", "<=", ">=":
			l.add(tokenOp, rest[:2])
			return 2, nil
		}
	}
	if strings.IndexByte("+-*/%~[](){}<>=.:|,", c) >= 0 {
		l.add(tokenOp, rest[:1])
		return 1, nil
	}
	r, _ := utf8.DecodeRuneInString(rest)
	return 0, templateError(l.line, "unexpected character %q", r)
}

func nameLength(s string) int {
	for i, r := range s {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r) && !unicode.Is(unicode.Mn, r)) {
			return i
		}
	}
	return len(s)
}

func (l *lexer) number(rest string) (int, error) {
	digits := func(from int) int {
		for from < len(rest) && ('0' <= rest[from] && rest[from] <= '9' || rest[from] == '_') {
			from++
		}
		return from
	}
	if len(rest) > 2 && rest[0] == '0' && strings.IndexByte("xXbBoO", rest[1]) >= 0 {
		n := 2
		for n < len(rest) && (rest[n] == '_' || strings.IndexByte("0123456789abcdefABCDEF", rest[n]) >= 0) {
			n++
		}
		l.add(tokenInt, rest[:n])
		return n, nil
	}
	n, kind := digits(0), tokenInt
	if n+1 < len(rest) && rest[n] == '.' && '0' <= rest[n+1] && rest[n+1] <= '9' {
		n, kind = digits(n+1), tokenFloat
	}
	if n < len(rest) && rest[n]|0x20 == 'e' {
		at := n + 1
		if at < len(rest) && (rest[at] == '+' || rest[at] == '-') {
			at++
		}
		if to := digits(at); to > at {
			n, kind = to, tokenFloat
		}
	}
	l.add(kind, strings.ReplaceAll(rest[:n], "_", ""))
	return n, nil
}

// quoted adds a string literal, with the escapes of Python.
func (l *lexer) quoted(rest string) (int, error) {
	var text strings.Builder
	for i := 1; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == rest[0]:
			l.add(tokenString, text.String())
			return i + 1, nil
		case c == '\\' && i+1 < len(rest):
			i += unescape(&text, rest[i+1:])
		default:
			text.WriteByte(c)
		}
	}
	return 0, templateError(l.line, "a string is not closed; expected %c", rest[0])
}

var escapes = map[byte]string{
	'n': "\n", 't': "\t", 'r': "\r", 'a': "\a", 'b': "\b", 'f': "\f", 'v': "\v",
	'\\': "\\", '\'': "'", '"': `"`, '\n': "",
}

// unescape writes what the escape after a backslash stands for and returns its
// length without the backslash.
func unescape(w *strings.Builder, s string) int {
	if e, ok := escapes[s[0]]; ok {
		w.WriteString(e)
		return 1
	}
	size := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[0]]
	if size > 0 && len(s) > size {
		if r, ok := number(s[1:1+size], 16); ok {
			w.WriteRune(r)
			return 1 + size
		}
	}
	n := 0
	for n < 3 && n < len(s) && '0' <= s[n] && s[n] <= '7' {
		n++
	}
	if r, ok := number(s[:n], 8); ok {
		w.WriteRune(r)
		return n
	}
	w.WriteByte('\\')
	return 0
}
