package tokenizer

// A matcher finds the first match of one regular expression in s, which is not
// empty: the text before it (gap bytes) and the match itself (n bytes). If
// there is none, gap is len(s) and n is 0.
type matcher func(s string) (gap, n int)

// A splitter cuts text into the pieces that are encoded on their own. Its
// matchers are applied one after the other: each cuts every piece so far into
// matches and the gaps between them, and sees nothing beyond the piece.
type splitter []matcher

// split calls emit for each piece of s with its place in the whole text, of
// which s starts at base.
func (m splitter) split(s string, base int, emit func(piece string, at int)) {
	if len(m) == 0 {
		emit(s, base)
		return
	}
	for len(s) > 0 {
		gap, n := m[0](s)
		if gap > 0 {
			m[1:].split(s[:gap], base, emit)
		}
		if n > 0 {
			m[1:].split(s[gap:gap+n], base+gap, emit)
		}
		s, base = s[gap+n:], base+gap+n
	}
}
