package tokenizer

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// byteAlphabet spells each byte as a printable character, as GPT-2 did.
var byteAlphabet = func() (t [256]rune) {
	next := rune(256)
	for b := range t {
		if '!' <= b && b <= '~' || 0xA1 <= b && b <= 0xAC || 0xAE <= b && b <= 0xFF {
			t[b] = rune(b)
			continue
		}
		t[b] = next
		next++
	}
	return t
}()

// alphabetByte is the inverse of byteAlphabet; -1 for other characters.
var alphabetByte = func() (t [256 + 68]int16) {
	for i := range t {
		t[i] = -1
	}
	for b, r := range byteAlphabet {
		t[r] = int16(b)
	}
	return t
}()

// unspell appends the bytes that a token's text stands for. If the text has
// characters outside the alphabet it appends the text itself.
func unspell(dst []byte, token string) []byte {
	n := len(dst)
	for _, r := range token {
		if int(r) >= len(alphabetByte) || alphabetByte[r] < 0 {
			return append(dst[:n], token...)
		}
		dst = append(dst, byte(alphabetByte[r]))
	}
	return dst
}

// spell is the inverse of unspell.
func spell(dst []byte, raw string) []byte {
	for i := range len(raw) {
		dst = utf8.AppendRune(dst, byteAlphabet[raw[i]])
	}
	return dst
}

// bpe encodes by merges. Parts carry ids of tokens; strings that merging makes
// and that are no tokens have ids from the size of the vocabulary up.
type bpe struct {
	rules  preRules
	merges map[uint64]joined
	bytes  [256]int32       // the part of each byte
	ids    map[string]int32 // tokens by their text
	spare  [][]int32        // what to emit for each id that is no token
	size   int32
}

type joined struct {
	rank uint32
	id   int32
}

func newBPE(v *Vocab, ids map[string]int32) (*bpe, error) {
	rules, err := preRulesOf(v.Pre)
	if err != nil {
		return nil, err
	}
	b := &bpe{rules: rules, ids: ids, merges: make(map[uint64]joined, len(v.Merges)), size: int32(len(v.Tokens))}
	strays := map[string]int32{}
	id := func(text string) int32 {
		if id, ok := ids[text]; ok {
			return id
		}
		id, ok := strays[text]
		if !ok {
			id = b.size + int32(len(b.spare))
			strays[strings.Clone(text)] = id
			b.spare = append(b.spare, byteTokens(text, ids))
		}
		return id
	}
	for i, r := range byteAlphabet {
		b.bytes[i] = id(string(r))
	}
	var buf []byte
	for rank, m := range v.Merges {
		left, right, ok := cutMerge(m)
		if !ok {
			return nil, fmt.Errorf("%w: merge %d is %q, expected two parts with a space between", ErrInvalid, rank, m)
		}
		buf = append(append(buf[:0], left...), right...)
		key := pairKey(id(left), id(right))
		if _, dup := b.merges[key]; dup {
			continue // the first counts
		}
		to, ok := ids[string(buf)]
		if !ok {
			to = id(string(buf))
		}
		b.merges[key] = joined{uint32(rank), to}
	}
	return b, nil
}

// cutMerge splits "left right" at the first space that is not the first character.
func cutMerge(m string) (left, right string, ok bool) {
	if len(m) < 3 {
		return "", "", false
	}
	i := strings.IndexByte(m[1:], ' ') + 1
	if i == 0 || i+1 == len(m) {
		return "", "", false
	}
	return m[:i], m[i+1:], true
}

// byteTokens is what llama.cpp makes of a string that is no token: the tokens
// of its single bytes, those that exist.
func byteTokens(text string, ids map[string]int32) (out []int32) {
	for i := range len(text) {
		if id, ok := ids[text[i:i+1]]; ok {
			out = append(out, id)
		}
	}
	return out
}

func pairKey(left, right int32) uint64 { return uint64(left)<<32 | uint64(right) }

func (b *bpe) pair(_ string, left, right part) (uint32, int32, bool) {
	j, ok := b.merges[pairKey(left.id, right.id)]
	return j.rank, j.id, ok
}

// encode appends the tokens of text, which starts at byte base of the whole.
func (b *bpe) encode(s *session, text string, base int, _ bool) {
	var places []int // of each byte of text, if text is not what was given
	if !utf8.ValidString(text) {
		text, places = repair(text)
	}
	b.rules.split.split(text, 0, func(piece string, at int) {
		spans, ok := s.known[piece]
		if !ok {
			b.encodePiece(s, piece)
			s.remember(piece)
			spans = s.fresh
		}
		if places == nil || !s.places {
			s.addAll(spans, base+at)
			return
		}
		for _, t := range spans {
			s.add(t.id, base+places[at+int(t.start)])
		}
	})
}

// encodePiece leaves the tokens of one piece in s.fresh.
func (b *bpe) encodePiece(s *session, piece string) {
	s.fresh = s.fresh[:0]
	if b.rules.ignoreMerges {
		s.spelled = spell(s.spelled[:0], piece)
		if id, ok := b.ids[string(s.spelled)]; ok {
			s.fresh = append(s.fresh, span{id, 0})
			return
		}
	}
	s.parts = s.parts[:0]
	for i := range len(piece) {
		s.parts = append(s.parts, part{b.bytes[piece[i]], int32(i), int32(i) + 1})
	}
	s.merge(b, piece)
	for _, p := range s.parts {
		if p.id < b.size {
			s.fresh = append(s.fresh, span{p.id, p.start})
			continue
		}
		for _, id := range b.spare[p.id-b.size] {
			s.fresh = append(s.fresh, span{id, p.start})
		}
	}
}

// repair replaces each byte that is not UTF-8 by U+FFFD. places[i] is the byte
// of text that byte i of the result comes from.
func repair(text string) (repaired string, places []int) {
	out := make([]byte, 0, len(text)+len(text)/2)
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		first := len(out)
		out = utf8.AppendRune(out, r)
		for k := range len(out) - first {
			places = append(places, i+min(k, n-1))
		}
		i += n
	}
	return string(out), places
}
