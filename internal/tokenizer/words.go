package tokenizer

import "strings"

// contraction is the length of 's 't 'm 'd 're 've 'll at s[i:], else 0. If
// fold is set, capitals count too.
func contraction(s string, i int, fold bool) int {
	if i+1 >= len(s) || s[i] != '\'' {
		return 0
	}
	at := func(i int) byte {
		if b := s[i]; fold && 'A' <= b && b <= 'Z' {
			return b | 0x20
		}
		return s[i]
	}
	second := byte('e')
	switch at(i + 1) {
	case 's', 't', 'm', 'd':
		return 2
	case 'l':
		second = 'l'
	case 'r', 'v':
	default:
		return 0
	}
	if i+2 < len(s) && at(i+2) == second {
		return 3
	}
	return 0
}

// afterBlank skips the one blank of " ?X" at the start of s if a character
// outside not follows it. It gives the place and the class of the first
// character of X, which is in not if " ?X" does not match.
func afterBlank(s string, not class) (int, class) {
	c, _ := classAt(s, 0)
	if s[0] == ' ' {
		if next, _ := classAt(s, 1); next != 0 && next&not == 0 {
			return 1, next
		}
	}
	return 0, c
}

// spaces matches \s+(?!\S)|\s+ at the start of s: a run of white space without
// its last character if a word follows, that being the word's own blank.
func spaces(s string) int {
	end, last := 0, 0
	for {
		c, n := classAt(s, end)
		if c == 0 || c&space == 0 && last == 0 {
			return end
		}
		if c&space == 0 {
			return last
		}
		last, end = end, end+n
	}
}

// linesOrSpaces matches \s*[\r\n]+|\s+(?!\S)|\s+ at the start of s.
func linesOrSpaces(s string) int {
	end := runEnd(s, 0, space)
	if nl := strings.LastIndexAny(s[:end], "\r\n"); nl >= 0 {
		return nl + 1
	}
	return spaces(s)
}

// gpt2Words matches, always at the start of s,
//
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
func gpt2Words(s string) (gap, n int) {
	if n := contraction(s, 0, false); n > 0 {
		return 0, n
	}
	i, c := afterBlank(s, space)
	switch {
	case c&letter != 0:
		return 0, runEnd(s, i, letter)
	case c&number != 0:
		return 0, runEnd(s, i, number)
	case c&space == 0:
		return 0, runEnd(s, i, ^(space | letter | number))
	}
	return 0, spaces(s)
}

// wordRules is the family of expressions that began with GPT-4,
//
//	(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?WORD+|\p{N}{1,DIGITS}| ?[^\s WORD \p{N}]+[TAIL]*|
//	\s*[\r\n]+|\s+(?!\S)|\s+
type wordRules struct {
	word   class  // letter, or letter|mark
	digits int    // numbers that stay together; 0 is all
	tail   string // what punctuation takes along from its right
}

func (w wordRules) match(s string) (gap, n int) {
	if n := contraction(s, 0, true); n > 0 {
		return 0, n
	}
	c, size := classAt(s, 0)
	if c&number != 0 {
		return 0, limitedRunEnd(s, 0, number, w.digits)
	}
	if s[0] != '\r' && s[0] != '\n' {
		if next, _ := classAt(s, size); (c|next)&w.word != 0 {
			return 0, runEnd(s, size, w.word)
		}
	}
	if n := punctuation(s, w.word|number, w.tail); n > 0 {
		return 0, n
	}
	return 0, linesOrSpaces(s)
}

// punctuation matches " ?[^\s WORD]+[TAIL]*" at the start of s.
func punctuation(s string, word class, tail string) int {
	i, c := afterBlank(s, space|word)
	if c&(space|word) != 0 {
		return 0
	}
	i = runEnd(s, i, ^(space | word))
	for i < len(s) && strings.IndexByte(tail, s[i]) >= 0 {
		i++
	}
	return i
}

// caseRules is the family of expressions that began with GPT-4o, in the form
// that llama.cpp gives it: UPPER is a letter that is not a-z, LOWER a letter that
// is not A-Z, so that letters beyond ASCII are both.
//
//	[^\r\n\p{L}\p{N}]?UPPER*LOWER+CONTRACTION?|[^\r\n\p{L}\p{N}]?UPPER+LOWER*CONTRACTION?|
//	\p{N}{1,DIGITS}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+
type caseRules struct {
	digits       int
	contractions bool
}

func (w caseRules) match(s string) (gap, n int) {
	c, size := classAt(s, 0)
	if c&number != 0 {
		return 0, limitedRunEnd(s, 0, number, w.digits)
	}
	start := 0
	if c&letter == 0 && s[0] != '\r' && s[0] != '\n' {
		start = size
	}
	if end := casedWord(s, start); end > start {
		if w.contractions {
			end += contraction(s, end, true)
		}
		return 0, end
	}
	if n := punctuation(s, letter|number, "\r\n/"); n > 0 {
		return 0, n
	}
	return 0, linesOrSpaces(s)
}

// casedWord is the end of UPPER*LOWER+, else of UPPER+, at s[i:]. If capitals
// reach the end of the letters, LOWER+ takes its character back from UPPER*:
// the last one that is not an ASCII capital.
func casedWord(s string, i int) int {
	both := i // just after the last letter that is UPPER and LOWER; i if there is none
	start := i
	for i < len(s) && !('a' <= s[i] && s[i] <= 'z') {
		c, n := classAt(s, i)
		if c&letter == 0 {
			break
		}
		if i += n; n > 1 {
			both = i
		}
	}
	upper := i
	for i < len(s) && !('A' <= s[i] && s[i] <= 'Z') {
		c, n := classAt(s, i)
		if c&letter == 0 {
			break
		}
		i += n
	}
	if i == upper && both > start {
		return both
	}
	return i
}

// kimiWords matches, always at the start of s, with HAN for the characters of [han],
//
//	HAN+|[^\r\n\p{L}\p{N}]?[\p{L}--HAN]+CONTRACTION?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|
//	\s*[\r\n]+|\s+(?!\S)|\s+
func kimiWords(s string) (gap, n int) {
	if end := hanEnd(s); end > 0 {
		return 0, end
	}
	c, size := classAt(s, 0)
	if c&number != 0 {
		return 0, limitedRunEnd(s, 0, number, 3)
	}
	start := 0
	if c&letter == 0 && !lineEnd(s[0]) {
		start = size
	}
	end := start
	for {
		c, n := classAt(s, end)
		if c&letter == 0 || hanEnd(s[end:]) > 0 {
			break
		}
		end += n
	}
	if end > start {
		return 0, end + contraction(s, end, true)
	}
	if n := punctuation(s, letter|number, "\r\n"); n > 0 {
		return 0, n
	}
	return 0, linesOrSpaces(s)
}

// hanEnd is the end of the run of han at the start of s.
func hanEnd(s string) int {
	for i, r := range s {
		if !han(r) {
			return i
		}
	}
	return len(s)
}

// youtuWords matches, always at the start of s, as llama.cpp takes it,
//
//	[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+CONTRACTION?|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|
//	\s*[\r\n]+|\s+(?!\S)|\s+
func youtuWords(s string) (gap, n int) {
	c, size := classAt(s, 0)
	if c&number != 0 {
		return 0, size
	}
	start := 0
	if c&letter == 0 && !lineEnd(s[0]) {
		start = size
	}
	end := runEnd(s, start, letter|mark)
	if end == start {
		end = runEnd(s, 0, letter|mark)
	}
	if end > 0 && (end > start || c&mark != 0) {
		return 0, end + contraction(s, end, true)
	}
	if n := punctuation(s, letter|number, "\r\n/"); n > 0 {
		return 0, n
	}
	return 0, linesOrSpaces(s)
}

// deepseekWords is the last expression of DeepSeek-V3,
//
//	[!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|
//	\s*[\r\n]+|\s+(?!\S)|\s+
func deepseekWords(s string) (gap, n int) {
	for gap < len(s) {
		if n := deepseekWord(s[gap:]); n > 0 {
			return gap, n
		}
		_, size := classAt(s, gap)
		gap += size
	}
	return gap, 0
}

func deepseekWord(s string) int {
	c, size := classAt(s, 0)
	if size == 1 && (c&(punct|symbol) != 0 || s[0] == '~') {
		if end := asciiLettersEnd(s, 1); end > 1 {
			return end
		}
	}
	if s[0] != '\r' && s[0] != '\n' && c&(letter|punct|symbol) == 0 {
		if end := runEnd(s, size, letter|mark); end > size {
			return end
		}
	}
	if end := runEnd(s, 0, letter|mark); end > 0 {
		return end
	}
	start := 0
	if s[0] == ' ' {
		start = 1
	}
	if end := runEnd(s, start, punct|symbol); end > start {
		for end < len(s) && (s[end] == '\r' || s[end] == '\n') {
			end++
		}
		return end
	}
	return linesOrSpaces(s)
}

func asciiLettersEnd(s string, i int) int {
	for i < len(s) && 'a' <= s[i]|0x20 && s[i]|0x20 <= 'z' {
		i++
	}
	return i
}
