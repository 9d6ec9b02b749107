package tokenizer

import (
	"fmt"
	"strings"

	"github.com/dlclark/regexp2"
)

const maxPattern = 1 << 14 // bytes; the longest published one has 1500

// compilePattern makes a regular expression of a tokenizer.json ready to run. Those
// are written for Oniguruma; what only that understands is rewritten or refused.
func compilePattern(pattern string) (*regexp2.Regexp, error) {
	if len(pattern) > maxPattern {
		return nil, fmt.Errorf("%w: a pre-tokenizer's pattern of %d bytes; at most %d are tried", ErrUnsupported, len(pattern), maxPattern)
	}
	rewritten, err := atomic(pattern)
	if err == nil {
		var re *regexp2.Regexp
		// ^ and $ are those of a line in Oniguruma.
		if re, err = regexp2.Compile(rewritten, regexp2.Multiline); err == nil {
			re.MatchTimeout = probeLimit
			return re, nil
		}
	}
	return nil, fmt.Errorf("%w: the pre-tokenizer's pattern %q: %w", ErrUnsupported, pattern, err)
}

// atomic rewrites possessive quantifiers, X?+ X*+ X++, as atomic groups.
func atomic(pattern string) (string, error) {
	var out []byte
	var groups []int // where the open groups begin in out
	last := -1       // where the last atom begins
	for i := 0; i < len(pattern); {
		switch c := pattern[i]; {
		case c == '(':
			groups = append(groups, len(out))
			last = -1
		case c == ')' && len(groups) > 0:
			last, groups = groups[len(groups)-1], groups[:len(groups)-1]
		case c == '|':
			last = -1
		case strings.IndexByte("?*+", c) >= 0 && last >= 0 && strings.HasPrefix(pattern[i+1:], "+"):
			out = append(append(append([]byte{}, out[:last]...), "(?>"...), out[last:]...)
			out = append(out, c, ')')
			i += 2
			continue
		case c == '?' || c == '*' || c == '+' || c == '{':
			// belongs to the atom before
		default:
			n, err := atomLength(pattern[i:])
			if err != nil {
				return "", err
			}
			last = len(out)
			out = append(out, pattern[i:i+n]...)
			i += n
			continue
		}
		out = append(out, pattern[i])
		i++
	}
	return string(out), nil
}

// atomLength is the length of the character, escape or class at the start of s.
func atomLength(s string) (int, error) {
	if s[0] == '\\' && len(s) > 1 {
		if (s[1] == 'p' || s[1] == 'P') && strings.HasPrefix(s[2:], "{") {
			if end := strings.IndexByte(s, '}'); end > 0 {
				return end + 1, nil
			}
		}
		return 2, nil
	}
	if s[0] != '[' {
		return 1, nil
	}
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case s[i] == '[' || strings.HasPrefix(s[i:], "&&"):
			return 0, fmt.Errorf("classes inside of classes are not understood")
		case s[i] == ']' && i > 1 && s[1:i] != "^":
			return i + 1, nil
		}
	}
	return 0, fmt.Errorf("a class has no end")
}
