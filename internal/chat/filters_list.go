package chat

import (
	"slices"
	"strconv"
	"strings"

	"github.com/ardanlabs/jinja"
)

// Filters of lists and dicts.

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
