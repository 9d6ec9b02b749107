package chat

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ardanlabs/jinja"
)

// filters are Jinja2's, with tojson as transformers has it. args[0] is what is
// filtered.
var filters = map[string]function{
	"abs": absolute, "attr": func(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
		return item(r, args, nil)
	},
	"batch": batch, "default": defaulted, "d": defaulted, "dictsort": dictSort,
	"escaped": func(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
		if args[0].IsString() {
			return escape(r, args, nil)
		}
		return args[0], nil
	},
	"capitalize": textFilter("capitalize"), "lower": textFilter("lower"), "upper": textFilter("upper"),
	"title": textFilter("title"), "center": centered,
	"count": length, "length": length, "escape": escape, "e": escape,
	"first": firstOf, "last": lastOf, "float": toFloat, "int": toInt, "format": formatFilter,
	"from_json": fromJSONFilter, "fromjson": fromJSONFilter,
	"indent": indent, "items": itemsFilter, "join": joinFilter, "list": listFilter, "map": mapFilter,
	"max": extreme(1), "min": extreme(-1), "reverse": reversed, "round": rounded, "safe": unchanged,
	"select": choose(true, false), "reject": choose(false, false), "selectattr": choose(true, true), "rejectattr": choose(false, true),
	"replace": replaceFilter, "sort": sorted, "string": toText, "sum": sum, "tojson": toJSON, "trim": trim,
	"truncate": truncate, "unique": unique, "wordcount": wordCount, "groupby": groupBy, "pprint": pretty,
}

func unchanged(_ *run, args []jinja.Value, _ kwargs) (jinja.Value, error) { return args[0], nil }

func toText(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	return concat(r, args[:1], nil)
}

func pretty(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	if err := r.look(args[0]); err != nil {
		return args[0], err
	}
	return r.newString(repr(args[0]))
}

// textFilter applies a method of strings to the text of any value.
func textFilter(name string) function {
	return func(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
		s, err := r.text(args[0])
		if err != nil {
			return args[0], err
		}
		return stringMethods[name](r, jinja.NewString(s), nil, nil)
	}
}

func centered(r *run, args []jinja.Value, kw kwargs) (jinja.Value, error) {
	s, err := r.text(args[0])
	if err != nil {
		return args[0], err
	}
	return pad(1, 1)(r, jinja.NewString(s), []jinja.Value{argument(args, kw, 1, "width", jinja.NewInt(80))}, nil)
}

func absolute(_ *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	switch v := args[0]; {
	case v.IsInt() && v.AsInt() >= 0, v.IsFloat() && v.AsFloat() >= 0:
		return v, nil
	case v.IsInt() || v.IsFloat():
		return number2("-", jinja.NewInt(0), v)
	}
	return args[0], failure("abs takes a number, not %s", typeName(args[0]))
}

func defaulted(_ *run, args []jinja.Value, kw kwargs) (jinja.Value, error) {
	v := args[0]
	if v.IsUndefined() || argument(args, kw, 2, "boolean", jinja.NewBool(false)).IsTruthy() && !v.IsTruthy() {
		return argument(args, kw, 1, "default_value", jinja.NewString("")), nil
	}
	return v, nil
}

func length(_ *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	switch v := args[0]; {
	case v.IsString():
		return jinja.NewInt(int64(utf8.RuneCountInString(v.AsString()))), nil
	case v.IsList():
		return jinja.NewInt(int64(v.AsList().Len())), nil
	case v.IsDict():
		return jinja.NewInt(int64(v.AsDict().Len())), nil
	case v.IsUndefined():
		return jinja.NewInt(0), nil
	}
	return args[0], failure("a value of type %s has no length", typeName(args[0]))
}

func escape(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	s, err := r.text(args[0])
	if err != nil {
		return args[0], err
	}
	if err := r.charge(6 * int64(len(s))); err != nil {
		return args[0], err
	}
	return jinja.NewString(strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;").Replace(s)), nil
}

func toInt(_ *run, args []jinja.Value, kw kwargs) (jinja.Value, error) {
	absent := argument(args, kw, 1, "default", jinja.NewInt(0))
	v := args[0]
	if i, f, isFloat, ok := asNumber(v); ok {
		if isFloat && (math.IsNaN(f) || math.Abs(f) >= 1<<63) {
			return absent, nil
		}
		if isFloat {
			i = int64(f)
		}
		return jinja.NewInt(i), nil
	}
	if !v.IsString() {
		return absent, nil
	}
	text := strings.TrimFunc(v.AsString(), isSpace)
	base, ok := integerOf(argument(args, kw, 2, "base", jinja.NewInt(10)))
	if !ok || base < 2 || base > 36 {
		return absent, failure("int takes a base from 2 to 36")
	}
	if n, err := strconv.ParseInt(text, base, 64); err == nil {
		return jinja.NewInt(n), nil
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil && math.Abs(f) < 1<<63 {
		return jinja.NewInt(int64(f)), nil
	}
	return absent, nil
}

func toFloat(_ *run, args []jinja.Value, kw kwargs) (jinja.Value, error) {
	if _, f, _, ok := asNumber(args[0]); ok {
		return jinja.NewFloat(f), nil
	}
	if args[0].IsString() {
		if f, err := strconv.ParseFloat(strings.TrimFunc(args[0].AsString(), isSpace), 64); err == nil {
			return jinja.NewFloat(f), nil
		}
	}
	return argument(args, kw, 1, "default", jinja.NewFloat(0)), nil
}

func fromJSONFilter(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	if !args[0].IsString() {
		return args[0], failure("JSON is read from a string, not from %s", typeName(args[0]))
	}
	if err := r.charge(40 * int64(len(args[0].AsString()))); err != nil {
		return args[0], err
	}
	v, err := fromJSON([]byte(args[0].AsString()))
	if err != nil {
		err = failure("it is not JSON: %v", err)
	}
	return v, err
}

func indent(r *run, args []jinja.Value, kw kwargs) (jinja.Value, error) {
	s, err := r.text(args[0])
	if err != nil {
		return args[0], err
	}
	width := argument(args, kw, 1, "width", jinja.NewInt(4))
	blanks := str(width)
	if n, ok := integerOf(width); ok {
		if err := r.charge(int64(n)); err != nil {
			return width, err
		}
		blanks = strings.Repeat(" ", max(n, 0))
	}
	lines := strings.Split(s, "\n")
	if err := r.charge(int64(len(s)) + int64(len(lines))*(int64(len(blanks))+16)); err != nil {
		return args[0], err
	}
	first := argument(args, kw, 2, "first", jinja.NewBool(false)).IsTruthy()
	blank := argument(args, kw, 3, "blank", jinja.NewBool(false)).IsTruthy()
	for i := range lines {
		if (i > 0 || first) && (lines[i] != "" || blank || i == 0) {
			lines[i] = blanks + lines[i]
		}
	}
	return jinja.NewString(strings.Join(lines, "\n")), nil
}

func rounded(_ *run, args []jinja.Value, kw kwargs) (jinja.Value, error) {
	_, f, _, ok := asNumber(args[0])
	digits, whole := integerOf(argument(args, kw, 1, "precision", jinja.NewInt(0)))
	if !ok || !whole {
		return args[0], failure("round takes a number, not %s", typeName(args[0]))
	}
	scale := math.Pow(10, float64(digits))
	switch str(argument(args, kw, 2, "method", jinja.NewString("common"))) {
	case "ceil":
		return jinja.NewFloat(math.Ceil(f*scale) / scale), nil
	case "floor":
		return jinja.NewFloat(math.Floor(f*scale) / scale), nil
	}
	if digits > 0 && digits < 18 {
		text, err := strconv.ParseFloat(strconv.FormatFloat(f, 'f', digits, 64), 64)
		return jinja.NewFloat(text), err
	}
	return jinja.NewFloat(math.RoundToEven(f*scale) / scale), nil
}

func replaceFilter(r *run, args []jinja.Value, kw kwargs) (jinja.Value, error) {
	s, err := r.text(args[0])
	if err != nil {
		return args[0], err
	}
	return replaceText(r, s, args[1:], kw)
}

// toJSON is json.dumps(v, ensure_ascii=False) with transformers' arguments.
func toJSON(r *run, args []jinja.Value, kw kwargs) (jinja.Value, error) {
	w := &jsonWriter{item: ", ", key: ": ", limit: r.charge,
		ascii: argument(nil, kw, 0, "ensure_ascii", jinja.NewBool(false)).IsTruthy(),
		sort:  argument(nil, kw, 0, "sort_keys", jinja.NewBool(false)).IsTruthy()}
	if n := argument(args, kw, 1, "indent", jinja.None()); !n.IsNone() {
		w.item = ","
		blanks, ok := integerOf(n)
		if !ok || blanks < 0 || blanks > 100 {
			return n, failure("the indent of tojson is not a number of blanks")
		}
		w.indent, w.lines = strings.Repeat(" ", blanks), true
	}
	if s := argument(nil, kw, 0, "separators", jinja.None()); !s.IsNone() {
		if !s.IsList() || s.AsList().Len() != 2 || !s.AsList().Items[0].IsString() || !s.AsList().Items[1].IsString() {
			return s, failure("the separators of tojson are not two strings")
		}
		w.item, w.key = s.AsList().Items[0].AsString(), s.AsList().Items[1].AsString()
	}
	if err := r.look(args[0]); err != nil {
		return args[0], err
	}
	if err := w.value(args[0], 0); err != nil {
		return args[0], err
	}
	return r.newString(w.String())
}

func trim(r *run, args []jinja.Value, kw kwargs) (jinja.Value, error) {
	s, err := r.text(args[0])
	if err != nil {
		return args[0], err
	}
	return stripText(r, s, argument(args, kw, 1, "chars", jinja.None()), true, true)
}

func truncate(r *run, args []jinja.Value, kw kwargs) (jinja.Value, error) {
	s, err := r.text(args[0])
	if err != nil {
		return args[0], err
	}
	most, ok := integerOf(argument(args, kw, 1, "length", jinja.NewInt(255)))
	leeway, ok2 := integerOf(argument(args, kw, 4, "leeway", jinja.NewInt(5)))
	end := str(argument(args, kw, 3, "end", jinja.NewString("...")))
	room := most - utf8.RuneCountInString(end)
	if !ok || !ok2 || room < 0 {
		return args[0], failure("truncate takes a length of at least that of its end")
	}
	letters := []rune(s)
	if len(letters) <= most+leeway {
		return r.newString(s)
	}
	kept := string(letters[:room])
	if !argument(args, kw, 2, "killwords", jinja.NewBool(false)).IsTruthy() {
		if at := strings.LastIndexByte(kept, ' '); at >= 0 {
			kept = kept[:at]
		}
	}
	return r.newString(kept + end)
}

func wordCount(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	s, err := r.text(args[0])
	return jinja.NewInt(int64(len(strings.Fields(s)))), err
}
