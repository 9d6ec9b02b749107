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

// buffered writes f elsewhere and returns the text and what it costs.
func (l *lowerer) buffered(f func()) (string, int) {
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
	body, cost := l.buffered(func() {
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
	body, cost := l.buffered(func() {
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
	text, cost := l.buffered(func() {
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
	text, cost := l.buffered(func() {
		for i, t := range s.targets {
			l.assign(t, values[i])
		}
		l.statements(s.body)
	})
	l.cost += cost
	l.write("{%macro ", inner, "()%}", text, "{%endmacro%}{{", inner, "()}}")
}
