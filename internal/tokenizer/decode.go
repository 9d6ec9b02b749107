package tokenizer

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// DecodeOptions say how tokens are shown as text.
type DecodeOptions struct {
	// ShowSpecial writes control and unknown tokens as they are spelled, instead
	// of leaving them out.
	ShowSpecial bool
	// TidySpaces removes spaces before punctuation and English contractions, as
	// llama.cpp does where the pre-tokenizer does not forbid it. Text then no
	// longer survives Encode and Decode unchanged.
	TidySpaces bool
}

// makePieces works out the bytes of every token.
func (t *Tokenizer) makePieces() [][]byte {
	pieces := make([][]byte, len(t.vocab.Tokens))
	var all []byte // one array for all of them
	for i := range pieces {
		n := len(all)
		all = t.appendPiece(all, i)
		pieces[i] = all[n:len(all):len(all)]
	}
	return pieces
}

func (t *Tokenizer) appendPiece(dst []byte, id int) []byte {
	text := t.vocab.Tokens[id]
	switch typ := t.vocab.Types[id]; {
	case t.special.roles[id]&(hidden|cutAlways) != 0:
		return append(dst, text...)
	case typ == Byte:
		if b, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(text, "<0x"), ">"), 16, 8); err == nil {
			return append(dst, byte(b))
		}
		return append(dst, text...)
	case typ != Normal:
		return dst
	case t.vocab.Model == ModelSPM:
		return append(dst, strings.ReplaceAll(text, blankMark, " ")...)
	}
	return unspell(dst, text)
}

// Piece is the raw bytes of a token, which may be part of a character; control
// tokens give their spelling. It is empty for ids outside the vocabulary and
// must not be changed.
func (t *Tokenizer) Piece(id int32) []byte {
	if id < 0 || int(id) >= len(t.pieces) {
		return nil
	}
	return t.pieces[id]
}

// show is Piece under opts.
func (t *Tokenizer) show(id int32, opts DecodeOptions) []byte {
	if id >= 0 && int(id) < len(t.pieces) && t.special.roles[id]&hidden != 0 && !opts.ShowSpecial {
		return nil
	}
	return t.Piece(id)
}

// Decode turns ids into text. The space that Encode put before the first word
// is removed again, also after a BOS. Tokens that do not add up to UTF-8 give
// their bytes as they are.
func (t *Tokenizer) Decode(ids []int32, opts DecodeOptions) string {
	var out []byte
	opening := t.vocab.AddSpacePrefix && t.vocab.Model == ModelSPM
	for i, id := range ids {
		p := t.show(id, opts)
		if opening && len(p) > 0 && p[0] == ' ' {
			p = p[1:]
		}
		if i > 0 || id != t.vocab.BOS {
			opening = false
		}
		out = append(out, p...)
	}
	if opts.TidySpaces && t.tidies {
		return tidy(string(out))
	}
	return string(out)
}

// tidy removes the space before ? ! . , and before 's 'm 're 've, and those
// around a lone apostrophe.
func tidy(s string) string {
	s = strings.NewReplacer(" ?", "?", " !", "!", " .", ".", " ,", ",").Replace(s)
	s = strings.ReplaceAll(s, " ' ", "'")
	return strings.NewReplacer(" 's", "'s", " 'm", "'m", " 're", "'re", " 've", "'ve").Replace(s)
}

// Decoder shows tokens one after the other as they are generated, holding back
// bytes until they make whole characters. Unlike [Tokenizer.Decode] it keeps a
// leading space: what it shows continues a text.
type Decoder struct {
	t    *Tokenizer
	opts DecodeOptions
	held []byte
}

// NewDecoder starts a stream of tokens. TidySpaces is ignored.
func (t *Tokenizer) NewDecoder(opts DecodeOptions) *Decoder { return &Decoder{t: t, opts: opts} }

// Next takes a token and returns the text that has become complete. Bytes that
// can never become UTF-8 are returned as they are.
func (d *Decoder) Next(id int32) string {
	d.held = append(d.held, d.t.show(id, d.opts)...)
	n := len(d.held) - incomplete(d.held)
	out := string(d.held[:n])
	d.held = append(d.held[:0], d.held[n:]...)
	return out
}

// Flush returns the bytes that are held back.
func (d *Decoder) Flush() string {
	out := string(d.held)
	d.held = d.held[:0]
	return out
}

// incomplete is the number of bytes at the end of b that begin a character
// without ending it.
func incomplete(b []byte) int {
	for n := 1; n <= min(len(b), utf8.UTFMax-1); n++ {
		tail := b[len(b)-n:]
		if utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				return n
			}
			return 0
		}
	}
	return 0
}
