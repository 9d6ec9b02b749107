package chat

import (
	"slices"
	"strings"

	"github.com/ardanlabs/jinja"
)

// Attributes, items, slices and methods. Nothing is reachable but the keys of
// dicts and the methods listed in the tables: there are no classes, modules or
// functions of the host to walk to.

func attribute(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	v, name := args[0], args[1].AsString()
	if v.IsUndefined() {
		return v, failure("%q is asked of something undefined", name)
	}
	if v.IsDict() {
		if _, isMethod := dictMethods[name]; !isMethod || r.namespaces[v.AsDict()] {
			found, _ := v.AsDict().Get(name)
			return found, nil
		}
	}
	return bound(v, name)
}

// bound is a method as a value; undefined if there is none.
func bound(v jinja.Value, name string) (jinja.Value, error) {
	m := methodOf(v, name)
	if m == nil {
		return jinja.Undefined(), nil
	}
	return jinja.NewCallable(name, func(args []jinja.Value, kw map[string]jinja.Value) (jinja.Value, error) {
		return jinja.None(), failure("the method %s is called apart from its value, which is not supported", name)
	}), nil
}

func methodOf(v jinja.Value, name string) method {
	switch {
	case v.IsString():
		return stringMethods[name]
	case v.IsList():
		return listMethods[name]
	case v.IsDict():
		return dictMethods[name]
	}
	return nil
}

func item(_ *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	v, key := args[0], args[1]
	switch {
	case v.IsUndefined():
		return v, failure("an item is asked of something undefined")
	case v.IsDict():
		if k, err := dictKey(key); err == nil {
			if found, ok := v.AsDict().Get(k); ok {
				return found, nil
			}
		}
	case v.IsList(), v.IsString():
		if at, ok := integerOf(key); ok {
			return element(v, at), nil
		}
	}
	if key.IsString() {
		return bound(v, key.AsString())
	}
	return jinja.Undefined(), nil
}

// element is an element of a list or a letter of a string, counted from the end
// if at is negative; undefined outside.
func element(v jinja.Value, at int) jinja.Value {
	if v.IsList() {
		items := v.AsList().Items
		if at < 0 {
			at += len(items)
		}
		if at < 0 || at >= len(items) {
			return jinja.Undefined()
		}
		return items[at]
	}
	letters := []rune(v.AsString())
	if at < 0 {
		at += len(letters)
	}
	if at < 0 || at >= len(letters) {
		return jinja.Undefined()
	}
	return jinja.NewString(string(letters[at]))
}

// slice is v[start:stop:step].
func slice(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	v := args[0]
	var bounds [3]int
	var given [3]bool
	for i, a := range args[1:] {
		var ok bool
		if bounds[i], ok = integerOf(a); !ok && !a.IsNone() {
			return v, failure("a bound of a slice has the type %s", typeName(a))
		}
		given[i] = ok
	}
	step := 1
	if given[2] {
		step = bounds[2]
	}
	if step == 0 {
		return v, failure("the step of a slice is 0")
	}
	switch {
	case v.IsList():
		return r.newList(pick(v.AsList().Items, bounds, given, step))
	case v.IsString():
		if err := r.charge(int64(len(v.AsString()))); err != nil {
			return v, err
		}
		return r.newString(string(pick([]rune(v.AsString()), bounds, given, step)))
	case v.IsUndefined():
		return v, failure("a slice is asked of something undefined")
	}
	return jinja.Undefined(), nil
}

// pick takes the elements of a slice as Python does.
func pick[T any](all []T, bounds [3]int, given [3]bool, step int) []T {
	low, high := 0, len(all)
	if step < 0 {
		low, high = -1, len(all)-1
	}
	place := func(i, absent int) int {
		if !given[i] {
			return absent
		}
		at := bounds[i]
		if at < 0 {
			at += len(all)
		}
		return min(max(at, low), high)
	}
	start, stop := place(0, low), place(1, high)
	if step < 0 {
		start, stop = place(0, high), place(1, low)
	}
	if step == 1 {
		if start >= stop {
			return nil
		}
		return slices.Clone(all[start:stop])
	}
	var picked []T
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		picked = append(picked, all[i])
	}
	return picked
}

// callMethod is v.name(…): a method, or a callable that a dict holds.
func callMethod(r *run, args []jinja.Value, kw kwargs) (jinja.Value, error) {
	v, name := args[0], args[1].AsString()
	namespace := v.IsDict() && r.namespaces[v.AsDict()]
	if m := methodOf(v, name); m != nil && !namespace {
		return m(r, v, args[2:], kw)
	}
	if v.IsDict() {
		if f, ok := v.AsDict().Get(name); ok && f.IsCallable() {
			return f.AsCallable().Fn(args[2:], kw)
		}
	}
	return v, failure("a value of type %s has no method %s", typeName(v), name)
}

// mutators are the methods that change what they are called on.
var mutators = []string{"append", "insert", "extend", "pop", "update", "setdefault", "remove", "reverse", "sort", "clear"}

// method is one of a value's, called with what stands in the parentheses.
type method func(r *run, v jinja.Value, args []jinja.Value, kw kwargs) (jinja.Value, error)

var dictMethods = map[string]method{
	"items": func(r *run, v jinja.Value, _ []jinja.Value, _ kwargs) (jinja.Value, error) { return r.entries(v) },
	"keys":  func(r *run, v jinja.Value, _ []jinja.Value, _ kwargs) (jinja.Value, error) { return r.items(v) },
	"values": func(r *run, v jinja.Value, _ []jinja.Value, _ kwargs) (jinja.Value, error) {
		d := v.AsDict()
		all := make([]jinja.Value, 0, d.Len())
		for _, k := range d.Keys {
			all = append(all, d.Data[k])
		}
		return r.newList(all)
	},
	"get": func(_ *run, v jinja.Value, args []jinja.Value, kw kwargs) (jinja.Value, error) {
		key, err := dictKey(argument(args, kw, 0, "key", jinja.Undefined()))
		if err != nil {
			return v, err
		}
		if found, ok := v.AsDict().Get(key); ok {
			return found, nil
		}
		return argument(args, kw, 1, "default", jinja.None()), nil
	},
	"update":     updateDict,
	"pop":        popDict,
	"setdefault": setDefault,
	"copy": func(r *run, v jinja.Value, _ []jinja.Value, _ kwargs) (jinja.Value, error) {
		return mergeDicts(r, v)
	},
}

// entries is the list of keys and values.
func (r *run) entries(v jinja.Value) (jinja.Value, error) {
	d := v.AsDict()
	all := make([]jinja.Value, 0, d.Len())
	for _, k := range d.Keys {
		all = append(all, jinja.NewList([]jinja.Value{keyValue(k), d.Data[k]}))
	}
	return jinja.NewList(all), r.charge(int64(len(all))*160 + 48)
}

// mergeDicts makes a new dict of all.
func mergeDicts(r *run, all ...jinja.Value) (jinja.Value, error) {
	merged := jinja.NewDict()
	for _, v := range all {
		if !v.IsDict() {
			return v, failure("a value of type %s is no mapping", typeName(v))
		}
		for _, k := range v.AsDict().Keys {
			merged.AsDict().Set(k, v.AsDict().Data[k])
		}
	}
	return merged, r.charge(int64(merged.AsDict().Len())*64 + 64)
}

func updateDict(r *run, v jinja.Value, args []jinja.Value, kw kwargs) (jinja.Value, error) {
	if len(args) != 1 || !args[0].IsDict() || len(kw) > 0 {
		return v, failure("update takes one mapping")
	}
	if err := r.acyclic(v.AsDict(), args[0]); err != nil {
		return v, err
	}
	for _, k := range args[0].AsDict().Keys {
		v.AsDict().Set(k, args[0].AsDict().Data[k])
	}
	return jinja.None(), r.charge(int64(args[0].AsDict().Len()) * 64)
}

func popDict(r *run, v jinja.Value, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	if len(args) == 0 {
		return v, failure("pop needs a key")
	}
	key, err := dictKey(args[0])
	if err != nil {
		return v, err
	}
	d := v.AsDict()
	found, ok := d.Get(key)
	switch {
	case ok:
		delete(d.Data, key)
		at := slices.Index(d.Keys, key)
		d.Keys = slices.Delete(slices.Clone(d.Keys), at, at+1)
		return found, r.step(int64(len(d.Keys)))
	case len(args) > 1:
		return args[1], nil
	}
	return v, failure("there is no key %q", key)
}

func setDefault(r *run, v jinja.Value, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	if len(args) == 0 {
		return v, failure("setdefault needs a key")
	}
	key, err := dictKey(args[0])
	if err != nil {
		return v, err
	}
	if found, ok := v.AsDict().Get(key); ok {
		return found, nil
	}
	value := argument(args, nil, 1, "", jinja.None())
	if err := r.acyclic(v.AsDict(), value); err != nil {
		return v, err
	}
	v.AsDict().Set(key, value)
	return value, r.charge(64)
}

var listMethods = map[string]method{
	"append": func(r *run, v jinja.Value, args []jinja.Value, _ kwargs) (jinja.Value, error) {
		return insertItems(r, v, v.AsList().Len(), args)
	},
	"insert": func(r *run, v jinja.Value, args []jinja.Value, _ kwargs) (jinja.Value, error) {
		at, ok := 0, len(args) == 2
		if ok {
			at, ok = integerOf(args[0])
		}
		if !ok {
			return v, failure("insert takes a place and a value")
		}
		n := v.AsList().Len()
		if at < 0 {
			at += n
		}
		return insertItems(r, v, min(max(at, 0), n), args[1:])
	},
	"extend": func(r *run, v jinja.Value, args []jinja.Value, _ kwargs) (jinja.Value, error) {
		if len(args) != 1 {
			return v, failure("extend takes one list")
		}
		more, err := r.items(args[0])
		if err != nil {
			return v, err
		}
		for _, m := range slices.Clone(more.AsList().Items) {
			if _, err := insertItems(r, v, v.AsList().Len(), []jinja.Value{m}); err != nil {
				return v, err
			}
		}
		return jinja.None(), nil
	},
	"pop": func(r *run, v jinja.Value, args []jinja.Value, _ kwargs) (jinja.Value, error) {
		l := v.AsList()
		at, ok := integerOf(argument(args, nil, 0, "", jinja.NewInt(-1)))
		if at < 0 {
			at += l.Len()
		}
		if !ok || at < 0 || at >= l.Len() {
			return v, failure("pop from outside of a list")
		}
		popped := l.Items[at]
		l.Items = slices.Delete(slices.Clone(l.Items), at, at+1)
		return popped, r.charge(int64(l.Len()) * 24)
	},
	"index": func(r *run, v jinja.Value, args []jinja.Value, _ kwargs) (jinja.Value, error) {
		if len(args) != 1 {
			return v, failure("index takes one value")
		}
		if err := r.look(v, args[0]); err != nil {
			return v, err
		}
		at := slices.IndexFunc(v.AsList().Items, func(i jinja.Value) bool { return equal(i, args[0]) })
		if at < 0 {
			return v, failure("the value is not in the list")
		}
		return jinja.NewInt(int64(at)), nil
	},
	"count": func(r *run, v jinja.Value, args []jinja.Value, _ kwargs) (jinja.Value, error) {
		if len(args) != 1 {
			return v, failure("count takes one value")
		}
		n := int64(0)
		for _, i := range v.AsList().Items {
			if equal(i, args[0]) {
				n++
			}
		}
		return jinja.NewInt(n), r.look(v, args[0])
	},
	"copy": func(r *run, v jinja.Value, _ []jinja.Value, _ kwargs) (jinja.Value, error) {
		return r.newList(slices.Clone(v.AsList().Items))
	},
}

// insertItems puts values into a list, which may not come to hold itself.
func insertItems(r *run, v jinja.Value, at int, values []jinja.Value) (jinja.Value, error) {
	if len(values) != 1 {
		return v, failure("one value can be added to a list at a time")
	}
	l := v.AsList()
	if values[0].IsList() || values[0].IsDict() {
		if err := r.acyclic(l, values[0]); err != nil {
			return v, err
		}
	}
	cost := int64(64)
	if at < l.Len() {
		cost += 24 * int64(l.Len())
	}
	l.Items = slices.Insert(l.Items, at, values[0])
	return jinja.None(), r.charge(cost)
}

// argument is the one at a place or of a name.
func argument(args []jinja.Value, kw kwargs, at int, name string, absent jinja.Value) jinja.Value {
	if at < len(args) {
		return args[at]
	}
	if v, ok := kw[name]; ok {
		return v
	}
	return absent
}

// textArgument is an argument that must be a string.
func textArgument(args []jinja.Value, kw kwargs, at int, name string) (string, error) {
	v := argument(args, kw, at, name, jinja.Undefined())
	if !v.IsString() {
		return "", failure("expected a string as argument %d, found the type %s", at+1, typeName(v))
	}
	return v.AsString(), nil
}

func isUpper(s string) bool { return s == strings.ToUpper(s) && s != strings.ToLower(s) }
func isLower(s string) bool { return s == strings.ToLower(s) && s != strings.ToUpper(s) }
