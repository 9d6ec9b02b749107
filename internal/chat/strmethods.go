package chat

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ardanlabs/jinja"
)

var stringMethods = map[string]method{
	"strip":  strip(true, true),
	"lstrip": strip(true, false),
	"rstrip": strip(false, true),
	"split":  split(false),
	"rsplit": split(true),
	"splitlines": func(r *run, v jinja.Value, args []jinja.Value, kw kwargs) (jinja.Value, error) {
		return r.strings(splitLines(v.AsString(), argument(args, kw, 0, "keepends", jinja.NewBool(false)).IsTruthy()))
	},
	"startswith": affix(strings.HasPrefix),
	"endswith":   affix(strings.HasSuffix),
	"replace": func(r *run, v jinja.Value, args []jinja.Value, kw kwargs) (jinja.Value, error) {
		return replaceText(r, v.AsString(), args, kw)
	},
	"upper": mapped(strings.ToUpper), "lower": mapped(strings.ToLower), "casefold": mapped(strings.ToLower),
	"title": mapped(titleCase), "capitalize": mapped(capitalized), "swapcase": mapped(swapCase),
	"count": search(func(s, sub string) int {
		return strings.Count(s, sub)
	}),
	"find":  search(runeIndex(strings.Index)),
	"rfind": search(runeIndex(strings.LastIndex)),
	"index": func(r *run, v jinja.Value, args []jinja.Value, kw kwargs) (jinja.Value, error) {
		at, err := search(runeIndex(strings.Index))(r, v, args, kw)
		if err == nil && at.AsInt() < 0 {
			err = failure("the text is not in the string")
		}
		return at, err
	},
	"join": func(r *run, v jinja.Value, args []jinja.Value, _ kwargs) (jinja.Value, error) {
		if len(args) != 1 {
			return v, failure("join takes one list")
		}
		items, err := r.items(args[0])
		if err != nil {
			return v, err
		}
		for _, i := range items.AsList().Items {
			if !i.IsString() {
				return v, failure("join takes strings, not %s", typeName(i))
			}
		}
		return r.join(items.AsList().Items, v.AsString())
	},
	"format":  formatMethod,
	"isdigit": all(unicode.IsDigit), "isnumeric": all(unicode.IsNumber), "isdecimal": all(unicode.IsDigit),
	"isalpha": all(unicode.IsLetter), "isspace": all(isSpace),
	"isalnum": all(func(c rune) bool { return unicode.IsLetter(c) || unicode.IsNumber(c) }),
	"isupper": is(isUpper), "islower": is(isLower),
	"removeprefix": trimmed(strings.TrimPrefix),
	"removesuffix": trimmed(strings.TrimSuffix),
	"partition":    partition(strings.Index, false),
	"rpartition":   partition(strings.LastIndex, true),
	"ljust":        pad(0, 1), "rjust": pad(1, 0), "center": pad(1, 1),
	"zfill": func(r *run, v jinja.Value, args []jinja.Value, _ kwargs) (jinja.Value, error) {
		return pad(1, 0)(r, v, append(slices.Clone(args), jinja.NewString("0")), nil)
	},
}

func strip(left, right bool) method {
	return func(r *run, v jinja.Value, args []jinja.Value, kw kwargs) (jinja.Value, error) {
		return stripText(r, v.AsString(), argument(args, kw, 0, "chars", jinja.None()), left, right)
	}
}

// stripText removes white space, or the characters that are given.
func stripText(r *run, s string, chars jinja.Value, left, right bool) (jinja.Value, error) {
	remove := isSpace
	if !chars.IsNone() {
		if !chars.IsString() {
			return chars, failure("what is stripped must be a string, not %s", typeName(chars))
		}
		set := chars.AsString()
		if err := r.step(int64(len(s)) * int64(len(set)) / 16); err != nil {
			return chars, err
		}
		remove = func(c rune) bool { return strings.ContainsRune(set, c) }
	}
	if left {
		s = strings.TrimLeftFunc(s, remove)
	}
	if right {
		s = strings.TrimRightFunc(s, remove)
	}
	return r.newString(s)
}

// strings makes a list of strings.
func (r *run) strings(texts []string) (jinja.Value, error) {
	items := make([]jinja.Value, len(texts))
	total := int64(48)
	for i, s := range texts {
		items[i] = jinja.NewString(s)
		total += 40 + int64(len(s))
	}
	return jinja.NewList(items), r.charge(total)
}

func split(fromEnd bool) method {
	return func(r *run, v jinja.Value, args []jinja.Value, kw kwargs) (jinja.Value, error) {
		s := v.AsString()
		if err := r.charge(40 * int64(len(s))); err != nil {
			return v, err
		}
		most, ok := integerOf(argument(args, kw, 1, "maxsplit", jinja.NewInt(-1)))
		sep := argument(args, kw, 0, "sep", jinja.None())
		switch {
		case !ok || !sep.IsNone() && !sep.IsString():
			return v, failure("split takes a string and a number")
		case sep.IsNone():
			return r.strings(splitSpace(s, most, fromEnd))
		case sep.AsString() == "":
			return v, failure("the separator is empty")
		}
		if most < 0 {
			return r.strings(strings.Split(s, sep.AsString()))
		}
		if !fromEnd {
			return r.strings(strings.SplitN(s, sep.AsString(), most+1))
		}
		all := strings.Split(s, sep.AsString())
		if first := len(all) - most; first > 0 {
			all = append([]string{strings.Join(all[:first], sep.AsString())}, all[first:]...)
		}
		return r.strings(all)
	}
}

// splitSpace splits at white space, at most so many times if most is not negative.
func splitSpace(s string, most int, fromEnd bool) []string {
	if most < 0 {
		return strings.FieldsFunc(s, isSpace)
	}
	var all []string
	s = strings.TrimFunc(s, isSpace)
	for ; s != "" && len(all) < most; s = strings.TrimFunc(s, isSpace) {
		at := strings.IndexFunc(s, isSpace)
		if fromEnd {
			at = strings.LastIndexFunc(s, isSpace)
		}
		if at < 0 {
			break
		}
		_, width := utf8.DecodeRuneInString(s[at:])
		if fromEnd {
			all, s = append(all, s[at+width:]), s[:at]
		} else {
			all, s = append(all, s[:at]), s[at+width:]
		}
	}
	if s != "" {
		all = append(all, s)
	}
	if fromEnd {
		slices.Reverse(all)
	}
	return all
}

func splitLines(s string, keep bool) []string {
	var all []string
	for s != "" {
		n, width := strings.IndexAny(s, "\n\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029"), 0
		if n < 0 {
			return append(all, s)
		}
		_, width = utf8.DecodeRuneInString(s[n:])
		if strings.HasPrefix(s[n:], "\r\n") {
			width = 2
		}
		line := s[:n]
		if keep {
			line = s[:n+width]
		}
		all, s = append(all, line), s[n+width:]
	}
	return all
}

func affix(has func(s, affix string) bool) method {
	return func(r *run, v jinja.Value, args []jinja.Value, _ kwargs) (jinja.Value, error) {
		if len(args) == 0 {
			return v, failure("expected a string")
		}
		choices := args[:1]
		if args[0].IsList() {
			choices = args[0].AsList().Items
		}
		for _, c := range choices {
			if !c.IsString() {
				return v, failure("expected a string, found the type %s", typeName(c))
			}
			if has(v.AsString(), c.AsString()) {
				return jinja.NewBool(true), nil
			}
		}
		return jinja.NewBool(false), r.step(int64(len(choices)))
	}
}

// replaceText replaces args[0] by args[1], at most args[2] times.
func replaceText(r *run, s string, args []jinja.Value, kw kwargs) (jinja.Value, error) {
	old, err := textArgument(args, kw, 0, "old")
	if err != nil {
		return jinja.None(), err
	}
	fresh, err := textArgument(args, kw, 1, "new")
	if err != nil {
		return jinja.None(), err
	}
	most := -1
	if limit := argument(args, kw, 2, "count", jinja.None()); !limit.IsNone() {
		most, _ = integerOf(limit)
	}
	n := strings.Count(s, old)
	if most >= 0 {
		n = min(n, most)
	}
	if err := r.charge(int64(len(s)) + int64(n)*int64(len(fresh))); err != nil {
		return jinja.None(), err
	}
	return jinja.NewString(strings.Replace(s, old, fresh, most)), nil
}

func mapped(f func(string) string) method {
	return func(r *run, v jinja.Value, _ []jinja.Value, _ kwargs) (jinja.Value, error) {
		if err := r.charge(3 * int64(len(v.AsString()))); err != nil {
			return v, err
		}
		return jinja.NewString(f(v.AsString())), nil
	}
}

func titleCase(s string) string {
	inside := false
	return strings.Map(func(c rune) rune {
		was := inside
		inside = unicode.IsLetter(c)
		if was {
			return unicode.ToLower(c)
		}
		return unicode.ToTitle(c)
	}, s)
}

func capitalized(s string) string {
	first := true
	return strings.Map(func(c rune) rune {
		if first {
			first = false
			return unicode.ToTitle(c)
		}
		return unicode.ToLower(c)
	}, s)
}

func swapCase(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsUpper(c) {
			return unicode.ToLower(c)
		}
		return unicode.ToUpper(c)
	}, s)
}

func search(f func(s, sub string) int) method {
	return func(r *run, v jinja.Value, args []jinja.Value, _ kwargs) (jinja.Value, error) {
		sub, err := textArgument(args, nil, 0, "")
		if err != nil {
			return v, err
		}
		if len(args) > 1 {
			return v, failure("searching within a range is not supported")
		}
		return jinja.NewInt(int64(f(v.AsString(), sub))), r.step(int64(len(v.AsString()) / 16))
	}
}

// runeIndex counts a place in letters instead of bytes.
func runeIndex(index func(s, sub string) int) func(s, sub string) int {
	return func(s, sub string) int {
		at := index(s, sub)
		if at < 0 {
			return at
		}
		return utf8.RuneCountInString(s[:at])
	}
}

func all(f func(rune) bool) method {
	return is(func(s string) bool {
		return s != "" && strings.IndexFunc(s, func(c rune) bool { return !f(c) }) < 0
	})
}

func is(f func(string) bool) method {
	return func(r *run, v jinja.Value, _ []jinja.Value, _ kwargs) (jinja.Value, error) {
		return jinja.NewBool(f(v.AsString())), r.step(int64(len(v.AsString()) / 16))
	}
}

func trimmed(f func(s, affix string) string) method {
	return func(r *run, v jinja.Value, args []jinja.Value, _ kwargs) (jinja.Value, error) {
		affix, err := textArgument(args, nil, 0, "")
		if err != nil {
			return v, err
		}
		return r.newString(f(v.AsString(), affix))
	}
}

func partition(index func(s, sub string) int, last bool) method {
	return func(r *run, v jinja.Value, args []jinja.Value, _ kwargs) (jinja.Value, error) {
		sep, err := textArgument(args, nil, 0, "")
		if err != nil || sep == "" {
			return v, failure("partition takes a string that is not empty")
		}
		s := v.AsString()
		switch at := index(s, sep); {
		case at >= 0:
			return r.strings([]string{s[:at], sep, s[at+len(sep):]})
		case last:
			return r.strings([]string{"", "", s})
		}
		return r.strings([]string{s, "", ""})
	}
}

// pad fills a string up to a width on the left and on the right, by shares.
func pad(left, right int) method {
	return func(r *run, v jinja.Value, args []jinja.Value, _ kwargs) (jinja.Value, error) {
		width, ok := integerOf(argument(args, nil, 0, "", jinja.Undefined()))
		fill := argument(args, nil, 1, "", jinja.NewString(" "))
		if !ok || !fill.IsString() || utf8.RuneCountInString(fill.AsString()) != 1 {
			return v, failure("expected a width, and one character to fill with")
		}
		n := max(0, width-utf8.RuneCountInString(v.AsString()))
		if err := r.charge(int64(n)*4 + int64(len(v.AsString()))); err != nil {
			return v, err
		}
		before := n * left / (left + right)
		return jinja.NewString(strings.Repeat(fill.AsString(), before) + v.AsString() + strings.Repeat(fill.AsString(), n-before)), nil
	}
}

// join joins the texts of values.
func (r *run) join(items []jinja.Value, sep string) (jinja.Value, error) {
	texts := make([]string, len(items))
	total := int64(len(sep)) * int64(len(items))
	for i, v := range items {
		s, err := r.text(v)
		if err != nil {
			return v, err
		}
		texts[i] = s
		total += int64(len(s)) + 16
	}
	if err := r.charge(total); err != nil {
		return jinja.None(), err
	}
	return jinja.NewString(strings.Join(texts, sep)), nil
}
