package quantize

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/dlclark/regexp2"

	"qtool/gguf"
	"qtool/internal/printable"
)

// TypePattern gives the tensors whose names it finds a type. The zero value finds none.
type TypePattern struct {
	text  string
	typ   gguf.Type
	match func(name string) (bool, error)
}

// ParseTypePattern reads "PATTERN=TYPE". PATTERN is a regular expression, lookahead
// included, that is searched for anywhere in a name, without regard to case. The error
// matches [ErrUnknownType] if no tensor type is named TYPE, and [ErrUnsupported] if
// weights cannot be converted to it.
func ParseTypePattern(s string) (TypePattern, error) {
	at := strings.LastIndexByte(s, '=') // a pattern may hold one, a type does not
	if at < 1 || at == len(s)-1 {
		return TypePattern{}, fmt.Errorf("tensor type %q: expected PATTERN=TYPE, as in attn_v=Q6_K", s)
	}
	p := TypePattern{text: s}
	var err error
	if p.typ, err = parseEncodable(s[at+1:]); err != nil {
		return TypePattern{}, fmt.Errorf("tensor type %q: %w", s, err)
	}
	if p.match, err = compilePattern(s[:at]); err != nil {
		return TypePattern{}, fmt.Errorf("tensor type %q: the pattern is no regular expression: %w", s, err)
	}
	return p, nil
}

// ParseTypePatterns reads what a file of patterns holds: PATTERN=TYPE, separated by
// blanks or newlines.
func ParseTypePatterns(text string) ([]TypePattern, error) {
	var all []TypePattern
	for _, field := range strings.Fields(text) {
		p, err := ParseTypePattern(field)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// String is the text that the pattern was read from.
func (p TypePattern) String() string { return p.text }

// patternTime is far more than a sane expression takes on a tensor's name.
const patternTime = time.Second

// compilePattern takes Go's own expressions where it can: they need linear time.
func compilePattern(expr string) (func(string) (bool, error), error) {
	if re, err := regexp.Compile("(?i)" + expr); err == nil {
		return func(name string) (bool, error) { return re.MatchString(name), nil }, nil
	}
	re, err := regexp2.Compile(expr, regexp2.ECMAScript|regexp2.IgnoreCase)
	if err != nil {
		return nil, err
	}
	re.MatchTimeout = patternTime
	return re.MatchString, nil
}

// parseEncodable finds a type by name that weights can be converted to.
func parseEncodable(name string) (gguf.Type, error) {
	t, err := gguf.ParseType(name)
	if err != nil {
		return 0, fmt.Errorf("%w: %w; choose one of %s", ErrUnknownType, err, typeNames((*Codec).CanEncode))
	}
	_, err = LookupEncoder(t)
	return t, err
}

// typeRule is a pattern in use: it remembers what became of the tensors it found.
type typeRule struct {
	TypePattern
	decided  int    // tensors whose type it gave
	beaten   string // one that something before it decided
	excepted string // one that is never quantized
}

// remark explains a rule that decided nothing; "" if it did.
func (r *typeRule) remark() string {
	switch {
	case r.decided > 0:
		return ""
	case r.beaten != "":
		return fmt.Sprintf("tensor type %s has no effect: what it finds, such as %s, is decided by an option before it", r.text, printable.Text(r.beaten))
	case r.excepted != "":
		return fmt.Sprintf("tensor type %s has no effect: what it finds, such as %s, is never quantized", r.text, printable.Text(r.excepted))
	}
	return fmt.Sprintf("tensor type %s has no effect: no tensor's name contains the pattern", r.text)
}
