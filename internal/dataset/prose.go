package dataset

import (
	"bytes"
	"slices"
	"unicode"
	"unicode/utf8"
)

// prose tokenizes a plain text that comes in pieces. It holds no more of it than it
// must see at once.
type prose struct {
	tok     Tokenizer
	windows windows
	pending []byte // not tokenized yet
	begun   bool   // whether something was
}

// Enough text to be tokenized at once, and how much on either side of a cut must
// be tokenized as it is without the cut.
const (
	proseBytes   = 1 << 20
	proseContext = 512
)

// add continues the text with a piece that is whole characters.
func (p *prose) add(piece []byte) {
	if p.pending = append(p.pending, piece...); len(p.pending) < proseBytes {
		return
	}
	if at := p.cut(); at > 0 {
		p.tokenize(string(p.pending[:at]))
		p.pending = p.pending[:copy(p.pending, p.pending[at:])]
	}
}

// end closes the text and reports how many tokens it has; 0 if it is blank.
func (p *prose) end() int {
	if !p.begun && len(bytes.TrimSpace(p.pending)) == 0 {
		return 0
	}
	p.tokenize(string(p.pending))
	if eos := p.tok.EOS(); eos >= 0 && (p.windows.tokens == 0 || p.windows.last != eos) {
		p.windows.add(eos)
	}
	p.windows.flush()
	return p.windows.tokens
}

func (p *prose) tokenize(text string) {
	if p.begun {
		p.windows.add(p.tok.Continue(text, false)...)
		return
	}
	ids, _ := p.tok.Encode(text, false)
	if bos := p.tok.BOS(); bos >= 0 && (len(ids) == 0 || ids[0] != bos) {
		p.windows.add(bos)
	}
	p.windows.add(ids...)
	p.begun = true
}

// cut finds a place in pending where the text before and the text behind have
// together the tokens of the whole; 0 if there is none yet. It looks before the
// blanks that follow a word: a token that does not reach across one there does not
// depend on what lies beyond.
func (p *prose) cut() int {
	const attempts, reach = 64, 1 << 16
	b := p.pending
	if !p.begun && len(bytes.TrimSpace(b[:len(b)-proseContext])) == 0 {
		return 0
	}
	tried := 0
	for at := len(b) - proseContext; at > max(proseContext, len(b)-reach) && tried < attempts; at-- {
		if !blank(b[at]) || blank(b[at-1]) {
			continue
		}
		tried++
		before, behind := around(b, at)
		whole := p.tok.Continue(string(b[before:behind]), false)
		parts := append(p.tok.Continue(string(b[before:at]), false), p.tok.Continue(string(b[at:behind]), false)...)
		if slices.Equal(whole, parts) {
			return at
		}
	}
	return 0
}

func blank(c byte) bool { return c < utf8.RuneSelf && unicode.IsSpace(rune(c)) }

// around is the text about b[at] that is looked at, whole words of it if they are
// not too long.
func around(b []byte, at int) (from, to int) {
	from, to = at-proseContext, at+proseContext
	for from > 0 && from > at-2*proseContext && !(blank(b[from]) && !blank(b[from-1])) {
		from--
	}
	for to < len(b) && !utf8.RuneStart(b[to]) {
		to++
	}
	for from > 0 && !utf8.RuneStart(b[from]) {
		from--
	}
	return from, to
}
