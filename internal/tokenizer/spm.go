package tokenizer

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// blankMark stands for a space inside sentencepiece tokens.
const blankMark = "▁"

// spm encodes by scores: of all neighbours that together are a token, those
// with the highest score are joined first.
type spm struct {
	ids     map[string]int32
	ranks   []uint32 // of each token; the higher the score, the lower
	longest int      // bytes of the longest token
	joins   joinSet
	bytes   [256]int32 // the token of each byte, None if it has none
	unknown int32
	prefix  bool
}

func newSPM(v *Vocab, ids map[string]int32) (*spm, error) {
	m := &spm{ids: ids, ranks: make([]uint32, len(v.Tokens)), unknown: v.UNK, prefix: v.AddSpacePrefix}
	for i, t := range v.Tokens {
		score := v.Scores[i]
		if score != score {
			return nil, fmt.Errorf("%w: the score of token %d (%q) is not a number", ErrInvalid, i, t)
		}
		m.ranks[i] = descending(score)
		m.longest = max(m.longest, len(t))
		m.joins.addToken(t)
	}
	for b := range m.bytes {
		id, ok := ids[fmt.Sprintf("<0x%02X>", b)]
		if !ok {
			id, ok = ids[string([]byte{byte(b)})]
		}
		if !ok {
			id = None
		}
		m.bytes[b] = id
	}
	return m, nil
}

// descending maps scores to integers in the opposite order.
func descending(score float32) uint32 {
	bits := math.Float32bits(score + 0) // -0 becomes 0
	if bits>>31 == 0 {
		return ^(bits | 1<<31)
	}
	return bits
}

func (m *spm) pair(text string, left, right part) (uint32, int32, bool) {
	if int(right.end-left.start) > m.longest {
		return 0, 0, false
	}
	id, ok := m.ids[text[left.start:right.end]]
	if !ok {
		return 0, 0, false
	}
	return m.ranks[id], id, true
}

// encode appends the tokens of text, which starts at byte base of the whole.
// opening says that it follows a special token or nothing.
func (m *spm) encode(s *session, text string, base int, opening bool) {
	floor := base // where the token begins that only has the added space
	if m.prefix && opening {
		text, base = " "+text, base-1
	}
	for len(text) > 0 {
		n := m.joins.chunk(text)
		spans, ok := s.known[text[:n]]
		if !ok {
			m.encodeChunk(s, text[:n])
			s.remember(text[:n])
			spans = s.fresh
		}
		m.emit(s, spans, base, floor)
		text, base = text[n:], base+n
	}
}

// emit appends spans. Characters that have neither a token nor byte tokens give
// one unknown token for each run of them.
func (m *spm) emit(s *session, spans []span, base, floor int) {
	for _, t := range spans {
		if t.id < 0 {
			if m.unknown < 0 || len(s.ids) > 0 && s.ids[len(s.ids)-1] == m.unknown {
				continue
			}
			t.id = m.unknown
		}
		s.add(t.id, max(base+int(t.start), floor))
	}
}

// encodeChunk leaves the tokens of text in s.fresh, None for what has no token.
func (m *spm) encodeChunk(s *session, text string) {
	escaped := strings.ReplaceAll(text, " ", blankMark)
	s.parts, s.fresh = s.parts[:0], s.fresh[:0]
	for i := 0; i < len(escaped); {
		_, n := utf8.DecodeRuneInString(escaped[i:]) // 1 for a byte that is not UTF-8
		end := i + n
		id, ok := m.ids[escaped[i:end]]
		if !ok {
			id = None
		}
		s.parts = append(s.parts, part{id, int32(i), int32(end)})
		i = end
	}
	s.merge(m, escaped)
	place := 0 // of p in text, as p.start is in escaped
	for _, p := range s.parts {
		n := int(p.end - p.start)
		raw := rawLength(text[place:], n)
		if p.id >= 0 {
			s.fresh = append(s.fresh, span{p.id, int32(place)})
		} else {
			for i := range n {
				s.fresh = append(s.fresh, span{m.bytes[escaped[int(p.start)+i]], int32(place + min(i, raw-1))})
			}
		}
		place += raw
	}
}

// rawLength is the number of bytes at the start of text that take n bytes once
// spaces are replaced by marks.
func rawLength(text string, n int) (raw int) {
	for ; n > 0; raw++ {
		if text[raw] == ' ' {
			n -= len(blankMark)
		} else {
			n--
		}
	}
	return raw
}

// joinSet tells which two characters stand side by side in some token. No merge
// crosses a place where two others meet, so text can be cut there. It may hold
// more than it should, never less: pairs beyond ASCII share bits.
type joinSet struct {
	ascii [128 * 128 / 64]uint64
	wide  [1 << 14]uint64
}

// bit is the word and the bit of a pair.
func (j *joinSet) bit(a, b rune) (word *uint64, mask uint64) {
	if a|b < 128 {
		i := a<<7 | b
		return &j.ascii[i>>6], 1 << (i & 63)
	}
	h := (uint32(a)*0x9E3779B1 ^ uint32(b)*0x85EBCA6B) * 0xC2B2AE35 >> 12
	return &j.wide[h>>6], 1 << (h & 63)
}

func (j *joinSet) addToken(token string) {
	prev := rune(-1)
	for _, r := range token {
		if r == '▁' {
			r = ' '
		}
		if prev >= 0 {
			word, mask := j.bit(prev, r)
			*word |= mask
		}
		prev = r
	}
}

// chunk is the length of the longest start of text, which is not empty, that
// has no place to cut.
func (j *joinSet) chunk(text string) int {
	prev := rune(-1)
	for i, r := range text {
		if r == '▁' {
			r = ' '
		}
		if prev >= 0 {
			if word, mask := j.bit(prev, r); *word&mask == 0 {
				return i
			}
		}
		prev = r
	}
	return len(text)
}
