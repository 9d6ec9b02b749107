package chat

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// lowerer writes a parsed template in the small dialect that the library
// evaluates just as Jinja2 would: statements stay, every operator, attribute,
// filter, test and output is a call of a function of ours (see functions), which
// computes as Python does and counts what it costs. Names of the template get
// the prefix v_, so that they never meet those functions.
//
//	{{ a.b ~ 1 }}                 {{out(concat(attr(v_a,'b'),1))}}
//	{% for x in xs %}…{% endfor %}  {%for v_x in iter(v_xs,5)%}…{%endfor%}
type lowerer struct {
	out     strings.Builder
	used    map[string]bool // functions and names that the result mentions
	keys    map[string]bool // attributes and strings of the template
	texts   map[string]bool // strings alone
	fresh   int             // temporaries so far
	cost    int             // nodes of the loop body or macro at hand
	inner   int             // loops and macros around the statement at hand
	mutates bool
	err     error
}

// lowered is a template in the library's dialect.
type lowered struct {
	source  string
	cost    int
	used    map[string]bool
	keys    map[string]bool // attributes and strings that it has
	texts   map[string]bool // strings alone
	mutates bool            // it may change lists and dicts that it is given
}

func lower(body []*stmt) (lowered, error) {
	l := &lowerer{used: map[string]bool{}, keys: map[string]bool{}, texts: map[string]bool{}}
	l.statements(body)
	return lowered{l.out.String(), l.cost, l.used, l.keys, l.texts, l.mutates}, l.err
}

func (l *lowerer) fail(format string, args ...any) {
	if l.err == nil {
		l.err = templateError(0, format, args...)
	}
}

func (l *lowerer) temporary() string {
	l.fresh++
	return "t" + strconv.Itoa(l.fresh)
}

func (l *lowerer) write(parts ...string) {
	for _, s := range parts {
		l.out.WriteString(s)
	}
}

// variable is the name of a template's variable in the dialect, which knows
// ASCII letters only.
func (l *lowerer) variable(name string) string {
	for i := 0; i < len(name); i++ {
		if name[i] >= 0x80 {
			name = fmt.Sprintf("_x%x", name)
			break
		}
	}
	name = "v_" + name
	l.used[name] = true
	return name
}

// function notes that a function is used.
func (l *lowerer) function(name string) string {
	l.used[name] = true
	return name
}

func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// apart writes f elsewhere and returns the text and what it costs.
func (l *lowerer) apart(f func()) (string, int) {
	out, cost := l.out, l.cost
	l.out, l.cost = strings.Builder{}, 0
	l.inner++
	f()
	l.inner--
	text, inner := l.out.String(), l.cost
	l.out, l.cost = out, cost
	return text, inner
}

// statements writes a block. Texts and outputs that follow each other are one
// output.
func (l *lowerer) statements(body []*stmt) {
	for i := 0; i < len(body); i++ {
		l.cost++
		var shown []string
		for mutates := false; i < len(body) && body[i].kind <= stmtOutput && !mutates; i++ {
			if body[i].kind == stmtText {
				shown = append(shown, quote(body[i].text))
				continue
			}
			// What changes a list or dict must not be in the same output as what shows it.
			if mutates = changes(body[i].value); mutates && shown != nil {
				break
			}
			shown = append(shown, l.expr(body[i].value))
		}
		if shown != nil {
			l.write("{{", l.function("out"), "(", strings.Join(shown, ","), ")}}")
			i--
			continue
		}
		l.statement(body[i])
	}
}

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

func (l *lowerer) statement(s *stmt) {
	switch s.kind {
	case stmtIf:
		l.branches(s.branches)
	case stmtFor:
		l.loop(s)
	case stmtSet:
		l.assign(s.targets[0], l.expr(s.value))
	case stmtMacro:
		l.write("{%set ", l.variable(s.text), "=", l.macro(s.text, s.params, s.body), "%}")
	case stmtSetBlock:
		l.assign(s.targets[0], l.filtered(s.value, l.macro("set", nil, s.body)+"()"))
	case stmtFilter:
		l.write("{{", l.function("out"), "(", l.filtered(s.value, l.macro("filter", nil, s.body)+"()"), ")}}")
	case stmtCall:
		l.callBlock(s)
	case stmtWith:
		l.with(s)
	case stmtBreak:
		l.write("{%break%}")
	case stmtContinue:
		l.write("{%continue%}")
	}
}

func (l *lowerer) branches(all []branch) {
	for i, b := range all {
		switch {
		case b.cond == nil:
			l.write("{%else%}")
		case i == 0:
			l.write("{%if ", l.expr(b.cond), "%}")
		default:
			l.write("{%elif ", l.expr(b.cond), "%}")
		}
		l.statements(b.body)
	}
	l.write("{%endif%}")
}

// loop writes a for loop. The library keeps the names that a body sets from one
// iteration to the next; Jinja2 begins every iteration with those around the
// loop, so these are put back.
func (l *lowerer) loop(s *stmt) {
	element, items, cond := l.temporary(), l.expr(s.value), ""
	watched := l.inner == 0 && s.cond == nil // see trace
	switch {
	case s.cond != nil && s.targets[0].list != nil:
		items = l.filteredItems(s, items)
	case s.cond != nil:
		cond = " if " + l.expr(s.cond)
	}
	var set, own []string
	assigned(s.body, &set)
	s.targets[0].names(&own)
	set = slices.DeleteFunc(set, func(name string) bool { return slices.Contains(own, name) })
	kept := map[string]string{}
	for _, name := range set {
		kept[name] = l.temporary()
		l.write("{%set ", kept[name], "=", l.variable(name), "%}")
	}
	body, cost := l.apart(func() {
		if t := s.targets[0]; t.list != nil {
			l.assign(t, element)
		} else {
			element = l.variable(t.name)
		}
		for _, name := range set {
			l.write("{%set ", l.variable(name), "=", kept[name], "%}")
		}
		if watched {
			l.write("{%set ", l.variable("loop"), "=", l.function("enter"), "(loop)%}")
		} else {
			l.write("{%set ", l.variable("loop"), "=loop%}")
		}
		l.statements(s.body)
	})
	top := ""
	if watched {
		top = ",true"
	}
	l.write("{%for ", element, " in ", l.function("iter"), "(", items, ",", strconv.Itoa(cost), top, ")", cond, "%}", body)
	if s.other != nil {
		l.write("{%else%}")
		l.statements(s.other)
	}
	l.write("{%endfor%}")
	if watched {
		l.write("{%set ", l.temporary(), "=", l.function("leave"), "()%}")
	}
}

// filteredItems writes a loop that collects the items that meet the condition of
// a loop over several names, and returns the name of the list.
func (l *lowerer) filteredItems(s *stmt, items string) string {
	kept, item := l.temporary(), l.temporary()
	body, cost := l.apart(func() {
		l.assign(s.targets[0], item)
		l.write("{%if ", l.expr(s.cond), "%}{%set ", l.temporary(), "=", l.function("push"), "(", kept, ",", item, ")%}{%endif%}")
	})
	l.write("{%set ", kept, "=", l.function("list"), "()%}{%for ", item, " in ", l.function("iter"), "(", items, ",", strconv.Itoa(cost), ")%}", body, "{%endfor%}")
	return kept
}

// assigned collects the names that statements set in their own scope.
func assigned(body []*stmt, names *[]string) {
	for _, s := range body {
		switch s.kind {
		case stmtIf:
			for _, b := range s.branches {
				assigned(b.body, names)
			}
		case stmtSet, stmtSetBlock:
			s.targets[0].names(names)
		case stmtMacro:
			(&target{name: s.text}).names(names)
		}
	}
}

// names adds the names that are assigned to, each once.
func (t *target) names(names *[]string) {
	for _, inner := range t.list {
		inner.names(names)
	}
	if t.list == nil && t.attr == "" && !slices.Contains(*names, t.name) {
		*names = append(*names, t.name)
	}
}

// assign sets the target to the value of an expression of the dialect.
func (l *lowerer) assign(t *target, value string) {
	switch {
	case t.attr != "":
		l.write("{%set ", l.temporary(), "=", l.function("setattr"), "(", l.variable(t.name), ",", quote(t.attr), ",", value, ")%}")
	case t.list == nil:
		l.write("{%set ", l.variable(t.name), "=", value, "%}")
	default:
		all := l.temporary()
		l.write("{%set ", all, "=", l.function("unpack"), "(", value, ",", strconv.Itoa(len(t.list)), ")%}")
		for i, inner := range t.list {
			l.assign(inner, all+"["+strconv.Itoa(i)+"]")
		}
	}
}

// macro writes the definition of a macro and returns the expression that makes
// it callable with Jinja2's rules for arguments.
func (l *lowerer) macro(name string, params []param, body []*stmt) string {
	inner := l.temporary()
	names := make([]string, len(params)+1)
	for i, p := range params {
		names[i] = l.variable(p.name)
	}
	names[len(params)] = l.variable("caller")
	text, cost := l.apart(func() {
		for _, p := range params {
			if p.initial != nil {
				v := l.variable(p.name)
				l.write("{%if ", l.function("missing"), "(", v, ")%}{%set ", v, "=", l.expr(p.initial), "%}{%endif%}")
			}
		}
		l.statements(body)
	})
	l.write("{%macro ", inner, "(", strings.Join(names, ","), ")%}", text, "{%endmacro%}")
	made := l.function("macro") + "(" + inner + "," + strconv.Itoa(cost) + "," + quote(name)
	for _, p := range params {
		made += "," + quote(p.name)
	}
	return made + ")"
}

func (l *lowerer) callBlock(s *stmt) {
	caller := l.temporary()
	l.write("{%set ", caller, "=", l.macro("caller", s.params, s.body), "%}")
	l.write("{{", l.function("out"), "(", l.call(s.value, "caller="+caller), ")}}")
}

func (l *lowerer) with(s *stmt) {
	values := make([]string, len(s.values))
	for i, v := range s.values {
		values[i] = l.temporary()
		l.write("{%set ", values[i], "=", l.expr(v), "%}")
	}
	inner := l.temporary()
	text, cost := l.apart(func() {
		for i, t := range s.targets {
			l.assign(t, values[i])
		}
		l.statements(s.body)
	})
	l.cost += cost
	l.write("{%macro ", inner, "()%}", text, "{%endmacro%}{{", inner, "()}}")
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
