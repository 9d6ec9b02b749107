package chat

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"

	"github.com/ardanlabs/jinja"
)

// Values as Python shows and compares them.

// typeName is the name of a value's type in Python's messages.
func typeName(v jinja.Value) string {
	switch {
	case v.IsUndefined():
		return "Undefined"
	case v.IsNone():
		return "NoneType"
	case v.IsBool():
		return "bool"
	case v.IsInt():
		return "int"
	case v.IsFloat():
		return "float"
	case v.IsString():
		return "str"
	case v.IsList():
		return "list"
	case v.IsDict():
		return "dict"
	}
	return "function"
}

// str is Python's str(v).
func str(v jinja.Value) string {
	switch {
	case v.IsString():
		return v.AsString()
	case v.IsUndefined():
		return ""
	}
	var w strings.Builder
	writeRepr(&w, v)
	return w.String()
}

func repr(v jinja.Value) string {
	var w strings.Builder
	writeRepr(&w, v)
	return w.String()
}

func writeRepr(w *strings.Builder, v jinja.Value) {
	switch {
	case v.IsUndefined():
		w.WriteString("Undefined")
	case v.IsNone():
		w.WriteString("None")
	case v.IsBool() && v.AsBool():
		w.WriteString("True")
	case v.IsBool():
		w.WriteString("False")
	case v.IsInt():
		w.WriteString(strconv.FormatInt(v.AsInt(), 10))
	case v.IsFloat():
		w.WriteString(floatText(v.AsFloat(), "nan", "inf"))
	case v.IsString():
		writeQuoted(w, v.AsString())
	case v.IsList():
		w.WriteByte('[')
		for i, item := range v.AsList().Items {
			if i > 0 {
				w.WriteString(", ")
			}
			writeRepr(w, item)
		}
		w.WriteByte(']')
	case v.IsDict():
		d := v.AsDict()
		w.WriteByte('{')
		for i, k := range d.Keys {
			if i > 0 {
				w.WriteString(", ")
			}
			writeRepr(w, keyValue(k))
			w.WriteString(": ")
			writeRepr(w, d.Data[k])
		}
		w.WriteByte('}')
	default:
		fmt.Fprintf(w, "<function %s>", v.AsCallable().Name)
	}
}

// floatText is the shortest decimal that reads back as f, in Python's notation.
func floatText(f float64, nan, inf string) string {
	switch {
	case math.IsNaN(f):
		return nan
	case math.IsInf(f, 1):
		return inf
	case math.IsInf(f, -1):
		return "-" + inf
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

func writeQuoted(w *strings.Builder, s string) {
	quote := '\''
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	w.WriteRune(quote)
	for _, r := range s {
		switch {
		case r == quote || r == '\\':
			w.WriteByte('\\')
			w.WriteRune(r)
		case r == '\n':
			w.WriteString(`\n`)
		case r == '\r':
			w.WriteString(`\r`)
		case r == '\t':
			w.WriteString(`\t`)
		case unicode.IsPrint(r):
			w.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(w, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(w, `\u%04x`, r)
		default:
			fmt.Fprintf(w, `\U%08x`, r)
		}
	}
	w.WriteRune(quote)
}

// asNumber returns a number; booleans are numbers in Python.
func asNumber(v jinja.Value) (i int64, f float64, isFloat, ok bool) {
	switch {
	case v.IsInt():
		return v.AsInt(), float64(v.AsInt()), false, true
	case v.IsFloat():
		return 0, v.AsFloat(), true, true
	case v.IsBool():
		if v.AsBool() {
			return 1, 1, false, true
		}
		return 0, 0, false, true
	}
	return 0, 0, false, false
}

// equal is Python's ==.
func equal(a, b jinja.Value) bool {
	if ai, af, aIsFloat, ok := asNumber(a); ok {
		bi, bf, bIsFloat, ok := asNumber(b)
		if !ok {
			return false
		}
		if aIsFloat || bIsFloat {
			return af == bf
		}
		return ai == bi
	}
	switch {
	case a.IsString():
		return b.IsString() && a.AsString() == b.AsString()
	case a.IsNone():
		return b.IsNone()
	case a.IsUndefined():
		return b.IsUndefined()
	case a.IsList() && b.IsList():
		x, y := a.AsList().Items, b.AsList().Items
		if len(x) != len(y) {
			return false
		}
		for i := range x {
			if !equal(x[i], y[i]) {
				return false
			}
		}
		return true
	case a.IsDict() && b.IsDict():
		x, y := a.AsDict(), b.AsDict()
		if x.Len() != y.Len() {
			return false
		}
		for _, k := range x.Keys {
			if v, ok := y.Get(k); !ok || !equal(x.Data[k], v) {
				return false
			}
		}
		return true
	}
	return false
}

// compare is negative, 0 or positive as a is less than, equal to or more than b.
func compare(a, b jinja.Value) (int, error) {
	if ai, af, aIsFloat, ok := asNumber(a); ok {
		if bi, bf, bIsFloat, ok := asNumber(b); ok {
			switch {
			case !aIsFloat && !bIsFloat && ai < bi, (aIsFloat || bIsFloat) && af < bf:
				return -1, nil
			case !aIsFloat && !bIsFloat && ai == bi, (aIsFloat || bIsFloat) && af == bf:
				return 0, nil
			}
			return 1, nil
		}
	}
	switch {
	case a.IsString() && b.IsString():
		return strings.Compare(a.AsString(), b.AsString()), nil
	case a.IsList() && b.IsList():
		x, y := a.AsList().Items, b.AsList().Items
		for i := range min(len(x), len(y)) {
			if !equal(x[i], y[i]) {
				return compare(x[i], y[i])
			}
		}
		return len(x) - len(y), nil
	}
	return 0, failure("'<' is not supported between %s and %s", typeName(a), typeName(b))
}
