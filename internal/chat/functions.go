package chat

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/ardanlabs/jinja"
)

type kwargs = map[string]jinja.Value

// function is one of the functions that a lowered template calls.
type function func(r *run, args []jinja.Value, kw kwargs) (jinja.Value, error)

// operators are the functions behind operators and statements.
var operators = map[string]function{
	"out": concat, "iter": iterate, "enter": enter, "leave": leave, "unpack": unpack, "macro": macro, "missing": missing, "setattr": setAttribute, "push": push,
	"attr": attribute, "item": item, "slice": slice, "method": callMethod,
	"concat": concat, "list": list, "dict": dict, "chain": chained, "notin": notIn,
	"add": add, "mul": mul, "mod": mod, "sub": numeric("-"), "div": numeric("/"), "floordiv": numeric("//"), "pow": numeric("**"),
	"plus": sign("+"), "minus": sign("-"),
}

// lookup finds a function by its name in a lowered template: filters begin with
// f_, tests with is_, what a template calls by its own name with v_.
func lookup(name string) (function, bool) {
	if filter, ok := strings.CutPrefix(name, "f_"); ok {
		if f, ok := filters[filter]; ok {
			return f, true
		}
		return unknown("filter", filter), true
	}
	if test, ok := strings.CutPrefix(name, "is_"); ok {
		if t, ok := tests[test]; ok {
			return t.function, true
		}
		return unknown("test", test), true
	}
	if global, ok := strings.CutPrefix(name, "v_"); ok {
		f, ok := globals[global]
		return f, ok
	}
	f, ok := operators[name]
	return f, ok
}

// unknown stands for a filter or test that does not exist: a template may name
// one in a branch that is never taken.
func unknown(kind, name string) function {
	return func(*run, []jinja.Value, kwargs) (jinja.Value, error) {
		return jinja.None(), failure("there is no %s named %s", kind, name)
	}
}

// concat joins the texts of values, also of what is printed.
func concat(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	if len(args) == 1 && args[0].IsString() {
		return args[0], r.charge(int64(len(args[0].AsString())) + 16)
	}
	texts := make([]string, len(args))
	total := 0
	for i, a := range args {
		s, err := r.text(a)
		if err != nil {
			return a, err
		}
		texts[i] = s
		total += len(s)
	}
	if err := r.charge(int64(total) + 16); err != nil {
		return jinja.None(), err
	}
	return jinja.NewString(strings.Join(texts, "")), nil
}

// iterate gives the list that a loop goes through and counts the loop: args are
// what is looped over, the cost of the body, and a third one if the loop calls
// enter and leave.
func iterate(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	items, err := r.items(args[0])
	if err != nil {
		return items, err
	}
	return items, r.step(int64(items.AsList().Len()) * (args[1].AsInt() + loopStep))
}

// enter begins an iteration, and gives the loop's variable.
func enter(_ *run, args []jinja.Value, _ kwargs) (jinja.Value, error) { return args[0], nil }

// leave ends a loop.
func leave(*run, []jinja.Value, kwargs) (jinja.Value, error) { return jinja.None(), nil }

// items is list(v).
func (r *run) items(v jinja.Value) (jinja.Value, error) {
	switch {
	case v.IsList():
		return v, nil
	case v.IsDict():
		keys := make([]jinja.Value, 0, v.AsDict().Len())
		for _, k := range v.AsDict().Keys {
			keys = append(keys, keyValue(k))
		}
		return r.newList(keys)
	case v.IsString():
		if err := r.charge(40 * int64(len(v.AsString()))); err != nil {
			return v, err
		}
		var letters []jinja.Value
		for _, c := range v.AsString() {
			letters = append(letters, jinja.NewString(string(c)))
		}
		return jinja.NewList(letters), nil
	case v.IsUndefined():
		return jinja.NewList(nil), nil
	}
	return v, failure("a value of type %s cannot be looped over", typeName(v))
}

func unpack(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	items, err := r.items(args[0])
	if err == nil && int64(items.AsList().Len()) != args[1].AsInt() {
		err = failure("%d values are assigned to %d names", items.AsList().Len(), args[1].AsInt())
	}
	return items, err
}

// missing says whether a macro's argument was left out.
func missing(_ *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	return jinja.NewBool(args[0].IsUndefined()), nil
}

// macro makes a macro of the library callable by Jinja2's rules. args are the
// macro, its cost, its name, and the names of its parameters.
func macro(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	inner, cost, name := args[0].AsCallable().Fn, args[1].AsInt(), args[2].AsString()
	params := make([]string, 0, len(args)-3)
	for _, p := range args[3:] {
		params = append(params, p.AsString())
	}
	return jinja.NewCallable(name, func(values []jinja.Value, kw map[string]jinja.Value) (jinja.Value, error) {
		if len(values) > len(params) {
			return jinja.None(), failure("the macro %s takes %d arguments and gets %d", name, len(params), len(values))
		}
		named := make(map[string]jinja.Value, len(kw))
		for k, v := range kw {
			if k != "caller" && !slices.Contains(params, k) {
				return jinja.None(), failure("the macro %s has no argument %s", name, k)
			}
			named["v_"+k] = v
		}
		if r.calls++; r.calls > maxCalls {
			return jinja.None(), exceeded("its macros call each other too deep")
		}
		defer func() { r.calls-- }()
		if err := r.step(cost + loopStep); err != nil {
			return jinja.None(), err
		}
		return inner(values, named)
	}), nil
}

// setAttribute assigns to an attribute of a namespace.
func setAttribute(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	if !args[0].IsDict() || !r.namespaces[args[0].AsDict()] {
		return args[0], failure("an attribute can only be set on a namespace, not on a value of type %s", typeName(args[0]))
	}
	d := args[0].AsDict()
	if args[2].IsList() || args[2].IsDict() {
		if err := r.acyclic(d, args[2]); err != nil {
			return args[0], err
		}
	}
	d.Set(args[1].AsString(), args[2])
	return jinja.None(), r.charge(64)
}

func push(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	args[0].AsList().Append(args[1])
	return jinja.None(), r.charge(32)
}

// list makes a list, which the library does not keep.
func list(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	return r.newList(args)
}

func dict(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	d := jinja.NewDict()
	for i := 0; i+1 < len(args); i += 2 {
		key, err := dictKey(args[i])
		if err != nil {
			return d, err
		}
		d.AsDict().Set(key, args[i+1])
	}
	return d, r.charge(int64(len(args))*32 + 64)
}

// dictKey is the key that stands for a value in the library's dicts, which have
// strings only: other keys begin with a zero byte and their type.
func dictKey(v jinja.Value) (string, error) {
	switch {
	case v.IsString():
		if s := v.AsString(); !strings.HasPrefix(s, "\x00") {
			return s, nil
		}
		return "\x00s" + v.AsString(), nil
	case v.IsInt():
		return "\x00i" + str(v), nil
	case v.IsFloat():
		return "\x00f" + str(v), nil
	case v.IsBool():
		return "\x00b" + str(v), nil
	case v.IsNone():
		return "\x00n", nil
	}
	return "", failure("a value of type %s cannot be a key", typeName(v))
}

// keyValue is the value that a key of a dict stands for.
func keyValue(key string) jinja.Value {
	if len(key) < 2 || key[0] != 0 {
		return jinja.NewString(key)
	}
	switch text := key[2:]; key[1] {
	case 'i':
		n, _ := strconv.ParseInt(text, 10, 64)
		return jinja.NewInt(n)
	case 'f':
		f, _ := strconv.ParseFloat(text, 64)
		return jinja.NewFloat(f)
	case 'b':
		return jinja.NewBool(text == "True")
	case 'n':
		return jinja.None()
	default:
		return jinja.NewString(text)
	}
}

func add(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	a, b := args[0], args[1]
	switch {
	case a.IsString() && b.IsString():
		return r.newString(a.AsString() + b.AsString())
	case a.IsList() && b.IsList():
		x, y := a.AsList().Items, b.AsList().Items
		return r.newList(append(x[:len(x):len(x)], y...))
	}
	return number2("+", a, b)
}

func mul(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	a, b := args[0], args[1]
	if b.IsString() || b.IsList() {
		a, b = b, a
	}
	n, whole := integerOf(b)
	n = max(n, 0)
	switch {
	case a.IsString() && whole:
		if err := r.charge(int64(n) * int64(len(a.AsString()))); err != nil {
			return a, err
		}
		return jinja.NewString(strings.Repeat(a.AsString(), n)), nil
	case a.IsList() && whole:
		items := a.AsList().Items
		if err := r.charge(int64(n) * int64(len(items)) * 24); err != nil {
			return a, err
		}
		all := make([]jinja.Value, 0, n*len(items))
		for range n {
			all = append(all, items...)
		}
		return jinja.NewList(all), nil
	}
	return number2("*", args[0], args[1])
}

func mod(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	if args[0].IsString() {
		values := []jinja.Value{args[1]}
		if args[1].IsList() {
			values = args[1].AsList().Items
		}
		return r.printf(args[0].AsString(), values)
	}
	return number2("%", args[0], args[1])
}

func numeric(op string) function {
	return func(_ *run, args []jinja.Value, _ kwargs) (jinja.Value, error) { return number2(op, args[0], args[1]) }
}

func sign(op string) function {
	return func(_ *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
		if _, _, _, ok := asNumber(args[0]); !ok {
			return args[0], failure("bad operand of type %s for %s", typeName(args[0]), op)
		}
		return number2(op, jinja.NewInt(0), args[0])
	}
}

// number2 computes with two numbers. Whole numbers must stay within 64 bits,
// which Python does not ask.
func number2(op string, a, b jinja.Value) (jinja.Value, error) {
	ai, af, aIsFloat, aOK := asNumber(a)
	bi, bf, bIsFloat, bOK := asNumber(b)
	if !aOK || !bOK {
		return a, failure("unsupported operands for %s: %s and %s", op, typeName(a), typeName(b))
	}
	if (op == "/" || op == "//" || op == "%") && bf == 0 {
		return a, failure("division by zero")
	}
	if aIsFloat || bIsFloat || op == "/" || op == "**" && bi < 0 {
		return jinja.NewFloat(floating(op, af, bf)), nil
	}
	n, ok := whole(op, ai, bi)
	if !ok {
		return a, failure("the result of %d %s %d does not fit 64 bits", ai, op, bi)
	}
	return jinja.NewInt(n), nil
}

func floating(op string, a, b float64) float64 {
	switch op {
	case "+":
		return a + b
	case "-":
		return a - b
	case "*":
		return a * b
	case "/":
		return a / b
	case "//":
		return math.Floor(a / b)
	case "%":
		return a - b*math.Floor(a/b)
	}
	return math.Pow(a, b)
}

func whole(op string, a, b int64) (int64, bool) {
	switch op {
	case "+":
		c := a + b
		return c, (c > a) == (b > 0)
	case "-":
		c := a - b
		return c, (c < a) == (b > 0)
	case "*":
		if a == 0 || b == 0 {
			return 0, true
		}
		c := a * b
		return c, c/b == a && !(a == -1 && b == math.MinInt64) && !(b == -1 && a == math.MinInt64)
	case "//", "%":
		q, m := a/b, a%b
		if m != 0 && (m < 0) != (b < 0) {
			q, m = q-1, m+b
		}
		if op == "%" {
			return m, true
		}
		return q, !(a == math.MinInt64 && b == -1)
	}
	power, ok := int64(1), true
	for ; b > 0 && ok; b-- {
		if a == 0 || a == 1 {
			return a, true
		}
		power, ok = whole("*", power, a)
		if b > 128 {
			return 0, a == -1
		}
	}
	return power, ok
}

// chained is a < b < c.
func chained(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	for i := 1; i+1 < len(args); i += 2 {
		op, negated := strings.CutPrefix(args[i].AsString(), "not ")
		met, err := tests[strings.TrimPrefix(relations[op], "is_")](r, []jinja.Value{args[i-1], args[i+1]})
		if err != nil || met == negated {
			return jinja.NewBool(false), err
		}
	}
	return jinja.NewBool(true), nil
}

func notIn(r *run, args []jinja.Value, _ kwargs) (jinja.Value, error) {
	found, err := contains(r, args[0], args[1])
	return jinja.NewBool(!found), err
}

// contains is Python's item in container.
func contains(r *run, item, container jinja.Value) (bool, error) {
	switch {
	case container.IsString():
		if !item.IsString() {
			return false, failure("'in <string>' requires a string as left operand, not %s", typeName(item))
		}
		s := container.AsString()
		return strings.Contains(s, item.AsString()), r.step(int64(len(s) / 16))
	case container.IsDict():
		key, err := dictKey(item)
		return err == nil && container.AsDict().Has(key), err
	case container.IsList(), container.IsUndefined():
		if container.IsUndefined() {
			return false, nil
		}
		items := container.AsList().Items
		if err := r.step(int64(len(items))); err != nil {
			return false, err
		}
		for _, v := range items {
			if v.IsList() || v.IsDict() {
				if err := r.look(v, item); err != nil {
					return false, err
				}
			}
			if equal(v, item) {
				return true, nil
			}
		}
		return false, nil
	}
	return false, failure("a value of type %s has no items", typeName(container))
}
