package chat

import "github.com/ardanlabs/jinja"

// predicate is a test: args[0] is what is tested.
type predicate func(r *run, args []jinja.Value) (bool, error)

func (p predicate) function(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	met, err := p(r, args)
	return jinja.NewBool(met), err
}

// tests are Jinja2's; comparison operators are among them.
var tests = map[string]predicate{
	"defined":   plain(func(v jinja.Value) bool { return !v.IsUndefined() }),
	"undefined": plain(jinja.Value.IsUndefined),
	"none":      plain(jinja.Value.IsNone),
	"boolean":   plain(jinja.Value.IsBool),
	"integer":   plain(jinja.Value.IsInt),
	"float":     plain(jinja.Value.IsFloat),
	"number":    plain(func(v jinja.Value) bool { return v.IsNumber() || v.IsBool() }),
	"string":    plain(jinja.Value.IsString),
	"mapping":   plain(jinja.Value.IsDict),
	"iterable":  plain(func(v jinja.Value) bool { return v.IsString() || v.IsList() || v.IsDict() || v.IsUndefined() }),
	"sequence":  plain(func(v jinja.Value) bool { return v.IsString() || v.IsList() || v.IsDict() }),
	"callable":  plain(jinja.Value.IsCallable),
	"true":      plain(func(v jinja.Value) bool { return v.IsBool() && v.AsBool() }),
	"false":     plain(func(v jinja.Value) bool { return v.IsBool() && !v.AsBool() }),
	"escaped":   plain(func(jinja.Value) bool { return false }),
	"upper":     plain(func(v jinja.Value) bool { return isUpper(str(v)) }),
	"lower":     plain(func(v jinja.Value) bool { return isLower(str(v)) }),
	"filter":    func(r *run, args []jinja.Value) (bool, error) { return r.filters[str(args[0])] != nil, nil },
	"odd":       remainder(func(args []jinja.Value) (int64, int64) { return 2, 1 }),
	"even":      remainder(func(args []jinja.Value) (int64, int64) { return 2, 0 }),
	"divisibleby": remainder(func(args []jinja.Value) (int64, int64) {
		n, _ := integerOf(argument(args, nil, 1, "", jinja.NewInt(0)))
		return int64(n), 0
	}),
	"sameas": two(same),
	"eq":     two(equalTo), "equalto": two(equalTo), "ne": two(func(r *run, a, b jinja.Value) (bool, error) {
		same, err := equalTo(r, a, b)
		return !same, err
	}),
	"lt": order(func(c int) bool { return c < 0 }), "lessthan": order(func(c int) bool { return c < 0 }),
	"gt": order(func(c int) bool { return c > 0 }), "greaterthan": order(func(c int) bool { return c > 0 }),
	"le": order(func(c int) bool { return c <= 0 }), "ge": order(func(c int) bool { return c >= 0 }),
	"in": two(contains),
}

func plain(f func(jinja.Value) bool) predicate {
	return func(r *run, args []jinja.Value) (bool, error) {
		return f(args[0]), nil
	}
}

func two(f func(r *run, a, b jinja.Value) (bool, error)) predicate {
	return func(r *run, args []jinja.Value) (bool, error) {
		if len(args) != 2 {
			return false, failure("a test takes 1 argument and gets %d", len(args)-1)
		}
		return f(r, args[0], args[1])
	}
}

func equalTo(r *run, a, b jinja.Value) (bool, error) {
	if a.IsList() || a.IsDict() {
		if err := r.look(a, b); err != nil {
			return false, err
		}
	} else if a.IsString() && b.IsString() && len(a.AsString()) == len(b.AsString()) {
		if err := r.step(int64(len(a.AsString()) / 64)); err != nil {
			return false, err
		}
	}
	return equal(a, b), nil
}

// same is Python's "is": for constants the same as being equal and of one type.
func same(_ *run, a, b jinja.Value) (bool, error) {
	switch {
	case a.IsList() && b.IsList():
		return a.AsList() == b.AsList(), nil
	case a.IsDict() && b.IsDict():
		return a.AsDict() == b.AsDict(), nil
	}
	return typeName(a) == typeName(b) && equal(a, b), nil
}

func order(f func(int) bool) predicate {
	return two(func(r *run, a, b jinja.Value) (bool, error) {
		if a.IsList() || a.IsString() {
			if err := r.look(a, b); err != nil {
				return false, err
			}
		}
		c, err := compare(a, b)
		return err == nil && f(c), err
	})
}

func remainder(of func(args []jinja.Value) (int64, int64)) predicate {
	return func(r *run, args []jinja.Value) (bool, error) {
		n, rest := of(args)
		m, err := number2("%", args[0], jinja.NewInt(n))
		return err == nil && equal(m, jinja.NewInt(rest)), err
	}
}
