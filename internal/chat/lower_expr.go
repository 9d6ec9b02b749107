package chat

import (
	"slices"
	"strconv"
	"strings"
)

// changes says whether an expression calls a method that changes its value.
func changes(e *expr) bool {
	if e == nil {
		return false
	}
	if e.kind == exprCall && e.args[0].kind == exprAttr && slices.Contains(mutators, e.args[0].text) {
		return true
	}
	return slices.ContainsFunc(e.args, changes)
}

// filtered applies the filters of a block to the expression of its body.
func (l *lowerer) filtered(e *expr, body string) string {
	if e == nil {
		return body
	}
	return l.filter(e, l.filtered(e.args[0], body))
}

func (l *lowerer) all(list []*expr) string {
	texts := make([]string, len(list))
	for i, e := range list {
		texts[i] = l.expr(e)
	}
	return strings.Join(texts, ",")
}

// expr returns an expression in the dialect. Everything is a call, a literal, a
// name or stands in parentheses, so that precedence never matters.
func (l *lowerer) expr(e *expr) string {
	if e == nil {
		return "none"
	}
	l.cost++
	switch e.kind {
	case exprString:
		l.keys[e.text], l.texts[e.text] = true, true
		return quote(e.text)
	case exprInt:
		n, err := strconv.ParseInt(e.text, 0, 64)
		if digits := strings.TrimLeft(e.text, "0"); err != nil && digits == "" {
			n, err = 0, nil
		}
		if err != nil {
			l.fail("the number %s does not fit 64 bits", e.text)
		}
		return strconv.FormatInt(n, 10)
	case exprFloat:
		return l.function("f_float") + "(" + quote(e.text) + ")"
	case exprConst:
		return e.text
	case exprName:
		return l.variable(e.text)
	case exprAttr:
		l.keys[e.text] = true
		return l.function("attr") + "(" + l.expr(e.args[0]) + "," + quote(e.text) + ")"
	case exprCall:
		return l.call(e, "")
	case exprFilter:
		return l.filter(e, l.expr(e.args[0]))
	case exprTest:
		return l.function("is_"+e.text) + "(" + l.arguments(l.expr(e.args[0]), e.args[1:], e.names) + ")"
	case exprNot:
		return "(not " + l.expr(e.args[0]) + ")"
	case exprAnd, exprOr:
		word := map[exprKind]string{exprAnd: " and ", exprOr: " or "}[e.kind]
		return "(" + l.expr(e.args[0]) + word + l.expr(e.args[1]) + ")"
	case exprIf:
		text := "(" + l.expr(e.args[0]) + " if " + l.expr(e.args[1])
		if e.args[2] != nil {
			text += " else " + l.expr(e.args[2])
		}
		return text + ")"
	case exprBinary:
		if e.text == "+" && (isMarkup(e.args[0]) || isMarkup(e.args[1])) {
			return l.function("add") + "(" + l.escaped(e.args[0]) + "," + l.escaped(e.args[1]) + ")"
		}
		return l.function(arithmetic[e.text][1]) + "(" + l.all(e.args) + ")"
	case exprUnary:
		return l.function(arithmetic[e.text][0]) + "(" + l.all(e.args) + ")"
	case exprCompare:
		return l.comparison(e)
	}
	name := map[exprKind]string{exprItem: "item", exprSlice: "slice", exprConcat: "concat", exprList: "list", exprDict: "dict"}[e.kind]
	return l.function(name) + "(" + l.all(e.args) + ")"
}

// isMarkup says whether an expression is what Jinja calls markup: what comes from
// safe or escape, and sums with it. It is decided by the expression alone;
// variables are plain strings.
func isMarkup(e *expr) bool {
	switch {
	case e.kind == exprFilter:
		return e.text == "safe" || e.text == "escape" || e.text == "e"
	case e.kind == exprBinary && e.text == "+":
		return isMarkup(e.args[0]) || isMarkup(e.args[1])
	}
	return false
}

// escaped is an operand of a sum with markup, which escapes plain strings.
func (l *lowerer) escaped(e *expr) string {
	if isMarkup(e) {
		return l.expr(e)
	}
	return l.function("f_escaped") + "(" + l.expr(e) + ")"
}

// arithmetic names the functions of operators with one and two operands.
var arithmetic = map[string][2]string{
	"+": {"plus", "add"}, "-": {"minus", "sub"}, "*": {1: "mul"}, "/": {1: "div"},
	"//": {1: "floordiv"}, "%": {1: "mod"}, "**": {1: "pow"},
}

func (l *lowerer) comparison(e *expr) string {
	if len(e.names) == 1 {
		return l.function(relations[e.names[0]]) + "(" + l.all(e.args) + ")"
	}
	text := l.function("chain") + "(" + l.expr(e.args[0])
	for i, op := range e.names {
		text += "," + quote(op) + "," + l.expr(e.args[i+1])
	}
	return text + ")"
}

var relations = map[string]string{
	"==": "is_eq", "!=": "is_ne", "<": "is_lt", "<=": "is_le", ">": "is_gt", ">=": "is_ge", "in": "is_in", "not in": "notin",
}

func (l *lowerer) filter(e *expr, input string) string {
	return l.function("f_"+e.text) + "(" + l.arguments(input, e.args[1:], e.names) + ")"
}

// arguments writes first, then the values, the last ones by name.
func (l *lowerer) arguments(first string, values []*expr, names []string) string {
	var texts []string
	if first != "" {
		texts = append(texts, first)
	}
	named := len(values) - len(names)
	for i, v := range values {
		text := l.expr(v)
		if i >= named {
			text = names[i-named] + "=" + text
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ",")
}

// call writes a call, with one more named argument if extra is set. The names of
// what dict and namespace are given are values, whose order counts.
func (l *lowerer) call(e *expr, extra string) string {
	fn, values, names := e.args[0], e.args[1:], e.names
	var text string
	switch {
	case fn.kind == exprName && (fn.text == "dict" || fn.text == "namespace"):
		named := len(values) - len(names)
		text = l.expr(fn) + "(" + l.arguments("", values[:named], nil)
		if named > 0 && len(names) > 0 {
			text += ","
		}
		if len(names) > 0 {
			pairs := make([]string, len(names))
			for i, name := range names {
				pairs[i] = quote(name) + "," + l.expr(values[named+i])
			}
			text += l.function("dict") + "(" + strings.Join(pairs, ",") + ")"
		}
	case fn.kind == exprAttr:
		l.keys[fn.text] = true
		l.mutates = l.mutates || slices.Contains(mutators, fn.text)
		text = l.function("method") + "(" + l.arguments(l.expr(fn.args[0])+","+quote(fn.text), values, names)
	default:
		text = l.expr(fn) + "(" + l.arguments("", values, names)
	}
	if extra != "" {
		if !strings.HasSuffix(text, "(") {
			text += ","
		}
		text += extra
	}
	return text + ")"
}
