package chat

import (
	"math"
	"slices"
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

func batch(r *run, args []jinja.Value, kw kwargs) (jinja.Value, error) {
	items, err := r.items(args[0])
	if err != nil {
		return items, err
	}
	size, ok := integerOf(argument(args, kw, 1, "linecount", jinja.Undefined()))
	if !ok || size < 1 {
		return items, failure("batch takes a number of at least 1")
	}
	var rows []jinja.Value
	for row := range slices.Chunk(items.AsList().Items, size) {
		rows = append(rows, jinja.NewList(slices.Clone(row)))
	}
	fill := argument(args, kw, 2, "fill_with", jinja.None())
	if n := len(rows); n > 0 && !fill.IsNone() {
		last := rows[n-1].AsList()
		if err := r.charge(int64(size) * 24); err != nil {
			return items, err
		}
		for last.Len() < size {
			last.Append(fill)
		}
	}
	return jinja.NewList(rows), r.charge(int64(items.AsList().Len()) * 100)
}

func defaulted(_ *run, args []jinja.Value, kw kwargs) (jinja.Value, error) {
	v := args[0]
	if v.IsUndefined() || argument(args, kw, 2, "boolean", jinja.NewBool(false)).IsTruthy() && !v.IsTruthy() {
		return argument(args, kw, 1, "default_value", jinja.NewString("")), nil
	}
	return v, nil
}

func sortedKeys(d *jinja.Dict) []string { return slices.Sorted(slices.Values(d.Keys)) }

func dictSort(r *run, args []jinja.Value, kw kwargs) (jinja.Value, error) {
	if !args[0].IsDict() {
		return args[0], failure("dictsort takes a mapping, not %s", typeName(args[0]))
	}
	all, err := r.entries(args[0])
	if err != nil {
		return all, err
	}
	by := 0
	if str(argument(args, kw, 2, "by", jinja.NewString("key"))) == "value" {
		by = 1
	}
	sensitive := argument(args, kw, 1, "case_sensitive", jinja.NewBool(false)).IsTruthy()
	return all, r.sort(all.AsList().Items, sensitive, argument(args, kw, 3, "reverse", jinja.NewBool(false)).IsTruthy(),
		func(v jinja.Value) jinja.Value { return v.AsList().Items[by] })
}

// sort sorts items by a key, stably.
func (r *run) sort(items []jinja.Value, sensitive, reverse bool, key func(jinja.Value) jinja.Value) error {
	if err := r.look(items...); err != nil {
		return err
	}
	if err := r.step(int64(len(items)) * 40); err != nil {
		return err
	}
	var failed error
	fold := func(v jinja.Value) jinja.Value {
		v = key(v)
		if !sensitive && v.IsString() {
			return jinja.NewString(strings.ToLower(v.AsString()))
		}
		return v
	}
	slices.SortStableFunc(items, func(a, b jinja.Value) int {
		c, err := compare(fold(a), fold(b))
		if err != nil {
			failed = err
		}
		if reverse {
			return -c
		}
		return c
	})
	return failed
}

// maxPath is how many names a path of attributes may have.
const maxPath = 10

// keyOf is the function behind the argument "attribute": a path with dots.
func (r *run) keyOf(attribute jinja.Value) (func(jinja.Value) jinja.Value, error) {
	if attribute.IsNone() || attribute.IsUndefined() {
		return func(v jinja.Value) jinja.Value { return v }, nil
	}
	var path []jinja.Value
	for name := range strings.SplitSeq(str(attribute), ".") {
		key := jinja.NewString(name)
		if n, err := strconv.Atoi(name); err == nil {
			key = jinja.NewInt(int64(n))
		}
		if path = append(path, key); len(path) > maxPath {
			return nil, failure("a path of attributes has more than %d names", maxPath)
		}
	}
	return func(v jinja.Value) jinja.Value {
		for _, key := range path {
			found, err := item(r, []jinja.Value{v, key}, nil)
			if err != nil {
				return jinja.Undefined()
			}
			v = found
		}
		return v
	}, nil
}

func sorted(r *run, args []jinja.Value, kw kwargs) (jinja.Value, error) {
	items, err := listFilter(r, args, nil)
	if err != nil {
		return items, err
	}
	key, err := r.keyOf(argument(args, kw, 3, "attribute", jinja.None()))
	if err != nil {
		return items, err
	}
	return items, r.sort(items.AsList().Items, argument(args, kw, 2, "case_sensitive", jinja.NewBool(false)).IsTruthy(),
		argument(args, kw, 1, "reverse", jinja.NewBool(false)).IsTruthy(), key)
}

func extreme(direction int) function {
	return func(r *run, args []jinja.Value, kw kwargs) (jinja.Value, error) {
		items, err := listFilter(r, args, nil)
		if err != nil {
			return items, err
		}
		all := items.AsList().Items
		if len(all) == 0 {
			return jinja.Undefined(), nil
		}
		key, err := r.keyOf(argument(args, kw, 2, "attribute", jinja.None()))
		if err == nil {
			err = r.sort(all, argument(args, kw, 1, "case_sensitive", jinja.NewBool(false)).IsTruthy(), direction > 0, key)
		}
		return all[0], err
	}
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

func firstOf(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	return endOf(r, args[0], 0)
}

func lastOf(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	return endOf(r, args[0], -1)
}

func endOf(r *run, v jinja.Value, at int) (jinja.Value, error) {
	if !v.IsString() {
		items, err := r.items(v)
		if err != nil {
			return v, err
		}
		v = items
	}
	return element(v, at), nil
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

func itemsFilter(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	switch {
	case args[0].IsUndefined():
		return jinja.NewList(nil), nil
	case args[0].IsDict():
		return r.entries(args[0])
	}
	return args[0], failure("items takes a mapping, not %s", typeName(args[0]))
}

func joinFilter(r *run, args []jinja.Value, kw kwargs) (jinja.Value, error) {
	items, err := r.items(args[0])
	if err != nil {
		return items, err
	}
	sep, err := r.text(argument(args, kw, 1, "d", jinja.NewString("")))
	if err != nil {
		return items, err
	}
	all := items.AsList().Items
	if by := argument(args, kw, 2, "attribute", jinja.None()); !by.IsNone() {
		key, err := r.keyOf(by)
		if err != nil {
			return items, err
		}
		all = slices.Clone(all)
		for i := range all {
			all[i] = key(all[i])
		}
	}
	return r.join(all, sep)
}

// listFilter makes a new list of anything.
func listFilter(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	items, err := r.items(args[0])
	if err != nil {
		return items, err
	}
	return r.newList(slices.Clone(items.AsList().Items))
}

// mapFilter takes an attribute of each item, or applies a filter to each.
func mapFilter(r *run, args []jinja.Value, kw kwargs) (jinja.Value, error) {
	items, err := r.itemsOrNone(args[0])
	if err != nil {
		return items, err
	}
	if items, err = r.newList(slices.Clone(items.AsList().Items)); err != nil {
		return items, err
	}
	all := items.AsList().Items
	if by, ok := kw["attribute"]; ok && len(args) == 1 {
		key, err := r.keyOf(by)
		if err != nil {
			return items, err
		}
		for i := range all {
			if all[i] = key(all[i]); all[i].IsUndefined() {
				all[i] = argument(nil, kw, 0, "default", all[i])
			}
		}
		return items, r.step(int64(len(all)) * 4)
	}
	if len(args) < 2 || !args[1].IsString() {
		return items, failure("map takes an attribute or the name of a filter")
	}
	f, ok := r.filters[args[1].AsString()]
	if !ok {
		return items, failure("there is no filter named %s", args[1].AsString())
	}
	for i := range all {
		if err := r.step(4); err != nil {
			return items, err
		}
		if all[i], err = f(r, append([]jinja.Value{all[i]}, args[2:]...), kw); err != nil {
			return items, err
		}
	}
	return items, nil
}

func reversed(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	items, err := listFilter(r, args, nil)
	if err != nil {
		return items, err
	}
	slices.Reverse(items.AsList().Items)
	if args[0].IsString() {
		return r.join(items.AsList().Items, "")
	}
	return items, nil
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

// choose keeps the items that meet a test, or those that do not; byAttribute, the
// test is of an attribute.
func choose(keep, byAttribute bool) function {
	return func(r *run, args []jinja.Value, kw kwargs) (jinja.Value, error) {
		items, err := r.itemsOrNone(args[0])
		if err != nil {
			return items, err
		}
		rest, by := args[1:], jinja.None()
		if byAttribute {
			if len(rest) == 0 {
				return items, failure("expected the name of an attribute")
			}
			by, rest = rest[0], rest[1:]
		}
		key, err := r.keyOf(by)
		if err != nil {
			return items, err
		}
		test := truth
		if len(rest) > 0 {
			found, ok := tests[str(rest[0])]
			if !ok {
				return items, failure("there is no test named %s", str(rest[0]))
			}
			test, rest = found.function, rest[1:]
		}
		var chosen []jinja.Value
		for _, v := range items.AsList().Items {
			if err := r.step(4); err != nil {
				return items, err
			}
			met, err := test(r, append([]jinja.Value{key(v)}, rest...), kw)
			if err != nil {
				return items, err
			}
			if met.IsTruthy() == keep {
				chosen = append(chosen, v)
			}
		}
		return r.newList(chosen)
	}
}

// itemsOrNone is what filters with tests go through: nothing for all that is
// false, such as none.
func (r *run) itemsOrNone(v jinja.Value) (jinja.Value, error) {
	if !v.IsTruthy() {
		return jinja.NewList(nil), nil
	}
	return r.items(v)
}

func truth(_ *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	return jinja.NewBool(args[0].IsTruthy()), nil
}

func replaceFilter(r *run, args []jinja.Value, kw kwargs) (jinja.Value, error) {
	s, err := r.text(args[0])
	if err != nil {
		return args[0], err
	}
	return replaceText(r, s, args[1:], kw)
}

func sum(r *run, args []jinja.Value, kw kwargs) (jinja.Value, error) {
	if !args[0].IsList() {
		return args[0], failure("sum takes a list, not %s", typeName(args[0]))
	}
	total := argument(args, kw, 2, "start", jinja.NewInt(0))
	key, err := r.keyOf(argument(args, kw, 1, "attribute", jinja.None()))
	if err != nil {
		return total, err
	}
	for _, v := range args[0].AsList().Items {
		if total, err = number2("+", total, key(v)); err != nil {
			return total, err
		}
	}
	return total, nil
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

func unique(r *run, args []jinja.Value, kw kwargs) (jinja.Value, error) {
	items, err := r.items(args[0])
	if err != nil {
		return items, err
	}
	key, err := r.keyOf(argument(args, kw, 2, "attribute", jinja.None()))
	if err != nil {
		return items, err
	}
	sensitive := argument(args, kw, 1, "case_sensitive", jinja.NewBool(false)).IsTruthy()
	seen := map[string]bool{}
	var kept []jinja.Value
	for _, v := range items.AsList().Items {
		k := key(v)
		if err := r.look(k); err != nil {
			return items, err
		}
		text := repr(k)
		if !sensitive {
			text = strings.ToLower(text)
		}
		if !seen[text] {
			seen[text] = true
			kept = append(kept, v)
		}
	}
	return r.newList(kept)
}

func wordCount(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	s, err := r.text(args[0])
	return jinja.NewInt(int64(len(strings.Fields(s)))), err
}

// groupBy makes a list of {grouper, list}, which can be unpacked by item.
func groupBy(r *run, args []jinja.Value, kw kwargs) (jinja.Value, error) {
	by := argument(args, kw, 1, "attribute", jinja.None())
	items, err := sorted(r, args[:1], kwargs{"attribute": by})
	if err != nil {
		return items, err
	}
	key, err := r.keyOf(by)
	if err != nil {
		return items, err
	}
	var groups []jinja.Value
	for _, v := range items.AsList().Items {
		if n := len(groups); n > 0 && equal(groups[n-1].AsList().Items[0], key(v)) {
			groups[n-1].AsList().Items[1].AsList().Append(v)
			continue
		}
		groups = append(groups, jinja.NewList([]jinja.Value{key(v), jinja.NewList([]jinja.Value{v})}))
	}
	return jinja.NewList(groups), r.charge(int64(items.AsList().Len()) * 100)
}
