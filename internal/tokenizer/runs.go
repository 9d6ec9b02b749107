package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// What may stand before the first member of a run and be taken along.
const (
	nothing  = iota
	oneBlank // " ?"
	oneSpace // "\s?"
)

// runRules matches runs of members of a set anywhere in the text.
type runRules struct {
	set     class               // members by class
	has     func(rune) bool     // and by character; nil for none
	table   *unicode.RangeTable // and by table; nil for none
	before  int
	least   int // shortest run; 0 is 1
	longest int // longest run, 0 is any
}

// member is the length of the character at s[i:] if it is one of the set. White
// space is never one, even where a range spans it.
func (r *runRules) member(s string, i int) int {
	c, n := classAt(s, i)
	switch {
	case c == 0 || c&space != 0 && r.set&space == 0 && !lineEnd(s[i]):
		return 0
	case c&r.set != 0:
		return n
	case r.has == nil && r.table == nil:
		return 0
	}
	ch, _ := utf8.DecodeRuneInString(s[i:])
	if r.has != nil && r.has(ch) || r.table != nil && unicode.Is(r.table, ch) {
		return n
	}
	return 0
}

func (r *runRules) match(s string) (gap, n int) {
	for gap < len(s) {
		c, size := classAt(s, gap)
		first := gap
		if r.before == oneBlank && s[gap] == ' ' || r.before == oneSpace && c&space != 0 {
			first += size
		}
		end, count := first, 0
		for r.longest == 0 || count < r.longest {
			n := r.member(s, end)
			if n == 0 {
				break
			}
			end, count = end+n, count+1
		}
		if count >= max(r.least, 1) {
			return gap, end - gap
		}
		gap += size
	}
	return gap, 0
}

func lineEnd(b byte) bool { return b == '\r' || b == '\n' }

func isLineEnd(r rune) bool { return r == '\r' || r == '\n' }

func isASCIIDigit(r rune) bool { return '0' <= r && r <= '9' }

// trailingSpaces matches \s+$.
func trailingSpaces(s string) (gap, n int) {
	for gap < len(s) {
		end := runEnd(s, gap, space)
		if end == len(s) {
			return gap, end - gap
		}
		_, size := classAt(s, end)
		gap = end + size
	}
	return gap, 0
}

// lines matches [^\n]+|[\n]+.
func lines(s string) (gap, n int) {
	for n < len(s) && (s[n] == '\n') == (s[0] == '\n') {
		n++
	}
	return 0, n
}

// cjk is [一-龥ࠀ-一가-퟿] as DeepSeek wrote it.
func cjk(r rune) bool {
	return 0x0800 <= r && r <= 0x9FA5 || 0xAC00 <= r && r <= 0xD7FF
}

// hanKana is [一-龥぀-ゟ゠-ヿ].
func hanKana(r rune) bool {
	return 0x4E00 <= r && r <= 0x9FA5 || 0x3040 <= r && r <= 0x30FF
}

// widePunct is [！-／：-～‘-‟　-。], full-width and typographic punctuation.
func widePunct(r rune) bool {
	return 0xFF01 <= r && r <= 0xFF0F || 0xFF1A <= r && r <= 0xFF5E || 0x2018 <= r && r <= 0x201F || 0x3000 <= r && r <= 0x3002
}

func asciiOrWidePunct(r rune) bool {
	return '!' <= r && r <= '/' || ':' <= r && r <= '~' || widePunct(r)
}

func longcatPunct(r rune) bool {
	return widePunct(r) || 0x300A <= r && r <= 0x300D || 0x3010 <= r && r <= 0x3011
}

func mathSign(r rune) bool {
	switch r {
	case '$', '+', '<', '=', '>', '^', '~', '|':
		return true
	}
	return false
}

func mathSignOrTick(r rune) bool { return mathSign(r) || r == '`' }

// han is what llama.cpp takes for \p{Han}: ideographs, those of compatibility included.
func han(r rune) bool {
	return 0x3400 <= r && r <= 0x4DBF || 0x4E00 <= r && r <= 0x9FFF || 0xF900 <= r && r <= 0xFAFF ||
		0x20000 <= r && r <= 0x2A6DF || 0x2A700 <= r && r <= 0x2EBEF || 0x2F800 <= r && r <= 0x2FA1F
}

// youtuScripts are the sets of characters of which Youtu cuts out runs.
var youtuScripts = []func(rune) bool{
	func(r rune) bool { return 0xAC00 <= r && r <= 0xD7A3 || 0x3131 <= r && r <= 0x318E }, // [가-힣ㄱ-ㆎ]
	func(r rune) bool { // [！…“”‘’—：；，、-〿︰-﹏]
		return strings.ContainsRune("！…“”‘’—：；，", r) || 0x3001 <= r && r <= 0x303F || 0xFE30 <= r && r <= 0xFE4F
	},
	func(r rune) bool { return 0x3105 <= r && r <= 0x312F }, // [ㄅ-ㄯ]
	hanKana,
}

// youtuRuns matches the first run of one of youtuScripts.
func youtuRuns(s string) (gap, n int) {
	for gap, r := range s {
		for _, has := range youtuScripts {
			if !has(r) {
				continue
			}
			for n, r := range s[gap:] {
				if !has(r) {
					return gap, n
				}
			}
			return gap, len(s) - gap
		}
	}
	return len(s), 0
}

// bloomWord is [^(\s|.,!?…。，、।۔،)].
func bloomWord(r rune) bool { return !strings.ContainsRune("(\r\n|.,!?…。，、।۔،)", r) }

// threesFromRight matches up to the next place where (?=(\d{3})+(?!\d)) does.
func threesFromRight(s string) (gap, n int) {
	for n = 1; n < len(s); n++ {
		end := n
		for end < len(s) && '0' <= s[end] && s[end] <= '9' {
			end++
		}
		if end > n && (end-n)%3 == 0 {
			break
		}
	}
	return 0, n
}
