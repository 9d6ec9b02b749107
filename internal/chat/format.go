package chat

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ardanlabs/jinja"
)

// printf is Python's format % values, for s, r, d, i, f, g, e, x and %.
func (r *run) printf(format string, values []jinja.Value) (jinja.Value, error) {
	var w strings.Builder
	next := 0
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			w.WriteByte(format[i])
			continue
		}
		end := i + 1
		for end < len(format) && strings.IndexByte("-+ 0123456789.", format[end]) >= 0 {
			end++
		}
		if end == len(format) || end-i > 8 {
			return jinja.None(), failure("incomplete format")
		}
		flags, verb := format[i+1:end], format[end]
		i = end
		if verb == '%' {
			w.WriteByte('%')
			continue
		}
		if next == len(values) {
			return jinja.None(), failure("not enough arguments for the format")
		}
		text, err := r.formatted(flags, verb, values[next])
		if err != nil {
			return jinja.None(), err
		}
		next++
		w.WriteString(text)
	}
	if next < len(values) {
		return jinja.None(), failure("not all arguments of the format are used")
	}
	return r.newString(w.String())
}

// formatted writes one value; width and precision stay below 10000.
func (r *run) formatted(flags string, verb byte, v jinja.Value) (string, error) {
	for _, digits := range strings.FieldsFunc(flags, func(c rune) bool { return c < '0' || c > '9' }) {
		if n, err := strconv.Atoi(digits); err != nil || n >= 10000 {
			return "", failure("the width %s of a format is too large", digits)
		}
	}
	if err := r.charge(10000); err != nil {
		return "", err
	}
	i, f, isFloat, ok := asNumber(v)
	switch verb {
	case 's':
		s, err := r.text(v)
		return fmt.Sprintf("%"+flags+"s", s), err
	case 'r':
		return fmt.Sprintf("%"+flags+"s", repr(v)), r.look(v)
	case 'd', 'i', 'x', 'X', 'o':
		if isFloat {
			i = int64(f)
		}
		if verb == 'i' {
			verb = 'd'
		}
		if ok {
			return fmt.Sprintf("%"+flags+string(verb), i), nil
		}
	case 'f', 'F', 'e', 'E', 'g', 'G':
		if ok {
			return fmt.Sprintf("%"+flags+string(verb), f), nil
		}
	}
	return "", failure("%%%c cannot show a value of type %s", verb, typeName(v))
}

func formatFilter(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	format, err := textArgument(args, nil, 0, "")
	if err != nil {
		return jinja.None(), err
	}
	return r.printf(format, args[1:])
}

// formatMethod is str.format with fields {}, {0} and {name}, and the formats that
// printf knows. There are no attributes or items in fields: they are how sandboxes
// are left.
func formatMethod(r *run, v jinja.Value, args []jinja.Value, kw kwargs) (jinja.Value, error) {
	var w strings.Builder
	next := 0
	for s := v.AsString(); s != ""; {
		at := strings.IndexAny(s, "{}")
		if at < 0 {
			w.WriteString(s)
			break
		}
		w.WriteString(s[:at])
		brace := s[at]
		s = s[at+1:]
		if s != "" && s[0] == brace {
			w.WriteByte(brace)
			s = s[1:]
			continue
		}
		field, rest, closed := strings.Cut(s, "}")
		if brace == '}' || !closed {
			return v, failure("a brace of a format has no partner")
		}
		s = rest
		name, spec, _ := strings.Cut(field, ":")
		value, err := formatField(name, args, kw, &next)
		if err != nil {
			return v, err
		}
		text, err := r.specified(spec, value)
		if err != nil {
			return v, err
		}
		w.WriteString(text)
	}
	return r.newString(w.String())
}

func formatField(name string, args []jinja.Value, kw kwargs, next *int) (jinja.Value, error) {
	at, err := strconv.Atoi(name)
	if name == "" {
		at, err = *next, nil
		*next++
	}
	if v, ok := kw[name]; ok {
		return v, nil
	}
	if err == nil && at >= 0 && at < len(args) {
		return args[at], nil
	}
	return jinja.None(), failure("there is no argument for {%s} of a format", name)
}

// specified writes a value by a format specification: nothing, or what printf
// has too.
func (r *run) specified(spec string, v jinja.Value) (string, error) {
	if spec == "" {
		return r.text(v)
	}
	verb := spec[len(spec)-1]
	flags := spec[:len(spec)-1]
	if '0' <= verb && verb <= '9' {
		verb, flags = 'd', spec
		if v.IsString() {
			verb = 's'
			flags = "-" + flags
		}
	}
	if strings.Trim(flags, "-+ 0123456789.") != "" || len(flags) > 8 {
		return "", failure("the format %q is not supported", spec)
	}
	return r.formatted(flags, verb, v)
}
