package tokenizer

import (
	"sync"
	"unicode"
	"unicode/utf8"
)

// class is a set of properties of a character, one bit each. Every character
// has at least one; the end of the text has none.
type class uint8

const (
	letter class = 1 << iota
	number
	mark
	punct
	symbol
	space
	other
)

// classTables says which characters have a class; the last table that holds a
// character wins. The tables of llama.cpp are those of Unicode 15.1.
var classTables = []struct {
	table *unicode.RangeTable
	class class
}{
	{unicode.S, symbol}, {unicode.P, punct}, {unicode.M, mark}, {unicode.N, number}, {unicode.L, letter},
	{unicode.White_Space, space},
	{&unicode.RangeTable{R32: []unicode.Range32{{Lo: 0x2EBF0, Hi: 0x2EE5D, Stride: 1}}}, letter},
	{&unicode.RangeTable{R16: []unicode.Range16{{Lo: 0x2FFC, Hi: 0x2FFF, Stride: 1}, {Lo: 0x31EF, Hi: 0x31EF, Stride: 1}}}, symbol},
}

// asciiClass agrees with Unicode but for '~', a symbol that llama.cpp's
// category ranges forget; vocabularies are used with that gap.
var asciiClass = func() (t [utf8.RuneSelf]class) {
	for r := range t {
		t[r] = other
		for _, c := range classTables {
			if unicode.Is(c.table, rune(r)) {
				t[r] = c.class
			}
		}
	}
	t['~'] = other
	return t
}()

type classPage [256]class

// classPages holds the classes of all characters by pages of 256.
var classPages = sync.OnceValue(func() *[(unicode.MaxRune + 1) / 256]*classPage {
	var pages [(unicode.MaxRune + 1) / 256]*classPage
	blank := new(classPage) // shared by the pages without any known character
	for i := range blank {
		blank[i] = other
	}
	for p := range pages {
		pages[p] = blank
	}
	for _, t := range classTables {
		set := func(lo, hi, stride uint32) {
			for r := lo; r <= hi; r += stride {
				if pages[r>>8] == blank {
					page := *blank
					pages[r>>8] = &page
				}
				pages[r>>8][r&0xFF] = t.class
			}
		}
		for _, r := range t.table.R16 {
			set(uint32(r.Lo), uint32(r.Hi), uint32(r.Stride))
		}
		for _, r := range t.table.R32 {
			set(r.Lo, r.Hi, r.Stride)
		}
	}
	return &pages
})

// classAt is the class of the character at s[i:] and its length in bytes; 0, 0
// at the end.
func classAt(s string, i int) (class, int) {
	if i >= len(s) {
		return 0, 0
	}
	if b := s[i]; b < utf8.RuneSelf {
		return asciiClass[b], 1
	}
	r, n := utf8.DecodeRuneInString(s[i:])
	return classPages()[r>>8][r&0xFF], n
}

// runEnd is the end of the run of characters of the classes in set that starts at s[i:].
func runEnd(s string, i int, set class) int {
	for {
		c, n := classAt(s, i)
		if c&set == 0 {
			return i
		}
		i += n
	}
}

// limitedRunEnd is runEnd for at most limit characters; 0 means any number.
func limitedRunEnd(s string, i int, set class, limit int) int {
	if limit == 0 {
		return runEnd(s, i, set)
	}
	for ; limit > 0; limit-- {
		c, n := classAt(s, i)
		if c&set == 0 {
			break
		}
		i += n
	}
	return i
}
