package chat

import (
	"slices"
	"strconv"
	"strings"
)

// Bounds of a template's source, far above what templates have. They keep the
// recursion of parsing and of rendering shallow.
const (
	maxSource = 1 << 20 // bytes
	maxDepth  = 150     // nesting of an expression
	maxNested = 60      // nesting of blocks
)

// exprKind says what an expression is.
type exprKind int

const (
	exprString exprKind = iota
	exprInt
	exprFloat
	exprConst  // text: true, false, none
	exprName   // text
	exprAttr   // args[0].text
	exprItem   // args[0][args[1]]
	exprSlice  // args[0][args[1]:args[2]:args[3]], nil where left out
	exprCall   // args[0](args[1:]), the last len(names) of which have names
	exprFilter // args[0] | text(args[1:]), names as above
	exprTest   // args[0] is text(args[1:]), names as above
	exprNot
	exprUnary   // text: - or +
	exprBinary  // text: an operator of arithmetic
	exprConcat  // args joined by ~
	exprCompare // args[0] names[0] args[1] names[1] args[2] …
	exprAnd
	exprOr
	exprIf   // args[0] if args[1] else args[2], which may be nil
	exprList // a list or a tuple
	exprDict // args: key, value, key, value …
)

type expr struct {
	kind  exprKind
	text  string
	args  []*expr
	names []string
	depth int
}

// stmtKind says what a statement is.
type stmtKind int

const (
	stmtText   stmtKind = iota // text
	stmtOutput                 // value
	stmtIf                     // branches
	stmtFor                    // for targets in value if cond: body, else: other
	stmtSet                    // targets = value
	stmtSetBlock
	stmtMacro // text: name, params
	stmtCall  // value is the call, params those of the body
	stmtFilter
	stmtWith
	stmtBreak
	stmtContinue
)

type branch struct {
	cond *expr // nil: else
	body []*stmt
}

type param struct {
	name    string
	initial *expr // nil: none
}

type stmt struct {
	kind     stmtKind
	text     string
	value    *expr
	cond     *expr
	targets  []*target
	branches []branch
	body     []*stmt
	other    []*stmt
	params   []param
	values   []*expr // of with
}

// target is what is assigned to: a name, an attribute of a namespace, or several.
type target struct {
	name, attr string
	list       []*target // nil: a name
}

// parser turns tokens into statements. The first error stays; after it only the
// end of the tokens is seen.
type parser struct {
	tokens []token
	pos    int
	err    error
	nested int
	depth  int
	loops  int // loops around the statement within its macro
}

func parse(source string) ([]*stmt, error) {
	if len(source) > maxSource {
		return nil, templateError(0, "it has %d bytes; expected at most %d", len(source), maxSource)
	}
	tokens, err := lex(source)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	body := p.statements()
	if p.err == nil && p.peek().kind != tokenEOF {
		p.fail("unexpected %q", p.peek().text)
	}
	return body, p.err
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = templateError(p.peek().line, format, args...)
	}
	p.pos = len(p.tokens) - 1
}

func (p *parser) peek() token { return p.tokens[p.pos] }

func (p *parser) ahead(n int) token { return p.tokens[min(p.pos+n, len(p.tokens)-1)] }

func (p *parser) next() token {
	t := p.tokens[p.pos]
	if p.pos < len(p.tokens)-1 {
		p.pos++
	}
	return t
}

func (p *parser) is(kind tokenKind, text string) bool {
	t := p.peek()
	return t.kind == kind && t.text == text
}

// skip takes the token if it is the one.
func (p *parser) skip(kind tokenKind, text string) bool {
	if p.is(kind, text) {
		p.next()
		return true
	}
	return false
}

func (p *parser) expect(kind tokenKind, text string) {
	if !p.skip(kind, text) {
		p.fail("expected %q, found %q", text, p.peek().text)
	}
}

func (p *parser) name() string {
	if p.peek().kind != tokenName {
		p.fail("expected a name, found %q", p.peek().text)
		return ""
	}
	return p.next().text
}

// statements takes statements up to a block tag that begins with one of ends,
// of which the opening and the keyword are taken too, and returned by until.
func (p *parser) statements() []*stmt { body, _ := p.until(); return body }

func (p *parser) until(ends ...string) ([]*stmt, string) {
	if p.nested++; p.nested > maxNested {
		p.fail("blocks are nested more than %d deep", maxNested)
	}
	defer func() { p.nested-- }()
	var body []*stmt
	for p.err == nil {
		switch t := p.peek(); {
		case t.kind == tokenData:
			body = append(body, &stmt{kind: stmtText, text: p.next().text})
		case p.skip(tokenOpen, "{{"):
			body = append(body, &stmt{kind: stmtOutput, value: p.tuple()})
			p.expect(tokenClose, "}}")
		case p.skip(tokenOpen, "{%"):
			keyword := p.name()
			if slices.Contains(ends, keyword) {
				return body, keyword
			}
			body = append(body, p.statement(keyword)...)
		default:
			if len(ends) > 0 {
				p.fail("the template ends inside a block; expected {%% %s %%}", strings.Join(ends, " or "))
			}
			return body, ""
		}
	}
	return nil, ""
}

func (p *parser) closeTag() { p.expect(tokenClose, "%}") }

// block takes the rest of the tag, a body and its end tag.
func (p *parser) block(end string) []*stmt {
	p.closeTag()
	body, _ := p.until(end)
	p.closeTag()
	return body
}

func (p *parser) statement(keyword string) []*stmt {
	switch keyword {
	case "if":
		return one(p.ifStatement())
	case "for":
		return one(p.forStatement())
	case "set":
		return one(p.setStatement())
	case "macro":
		return one(p.macro())
	case "call":
		return one(p.callStatement())
	case "filter":
		s := &stmt{kind: stmtFilter, value: p.filters(nil, true)}
		s.body = p.isolated("endfilter")
		return one(s)
	case "with":
		return one(p.with())
	case "generation":
		return p.block("endgeneration")
	case "break", "continue":
		if p.loops == 0 {
			p.fail("%s stands outside of a loop", keyword)
		}
		p.closeTag()
		return one(&stmt{kind: map[string]stmtKind{"break": stmtBreak, "continue": stmtContinue}[keyword]})
	case "include", "import", "from", "extends", "block":
		p.fail("it uses {%% %s %%}, and a chat template may not read other templates", keyword)
	default:
		p.fail("unknown statement %q", keyword)
	}
	return nil
}

func one(s *stmt) []*stmt { return []*stmt{s} }

func (p *parser) ifStatement() *stmt {
	s := &stmt{kind: stmtIf}
	for end := "if"; end != "endif" && p.err == nil; {
		b := branch{}
		if end != "else" {
			b.cond = p.expression(true)
		}
		p.closeTag()
		if end == "else" {
			b.body, end = p.until("endif")
		} else {
			b.body, end = p.until("elif", "else", "endif")
		}
		s.branches = append(s.branches, b)
	}
	p.closeTag()
	return s
}

func (p *parser) forStatement() *stmt {
	s := &stmt{kind: stmtFor, targets: single(p.target(false))}
	p.expect(tokenName, "in")
	s.value = p.tupleOf(func() *expr { return p.expression(false) }, false)
	if p.skip(tokenName, "if") {
		s.cond = p.expression(true)
	}
	if p.is(tokenName, "recursive") {
		p.fail("it uses a recursive loop, which is not supported")
	}
	p.closeTag()
	p.loops++
	var end string
	s.body, end = p.until("endfor", "else")
	p.loops--
	if end == "else" {
		p.closeTag()
		s.other, _ = p.until("endfor")
	}
	p.closeTag()
	return s
}

func single(t *target) []*target { return []*target{t} }

// target takes a name, or several with commas between; attributes of namespaces
// where they are allowed.
func (p *parser) target(attrs bool) *target {
	one := func() *target {
		if p.skip(tokenOp, "(") {
			t := p.target(attrs)
			p.expect(tokenOp, ")")
			return t
		}
		t := &target{name: p.name()}
		if slices.Contains([]string{"true", "false", "none", "True", "False", "None"}, t.name) {
			p.fail("it assigns to %s", t.name)
		}
		if attrs && p.skip(tokenOp, ".") {
			t.attr = p.name()
		}
		return t
	}
	if p.depth++; p.depth > maxDepth {
		p.fail("an assignment is nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	first := one()
	if !p.is(tokenOp, ",") {
		return first
	}
	all := &target{list: []*target{first}}
	for p.skip(tokenOp, ",") && p.peek().kind == tokenName && !p.is(tokenName, "in") || p.is(tokenOp, "(") {
		all.list = append(all.list, one())
	}
	return all
}

func (p *parser) setStatement() *stmt {
	s := &stmt{kind: stmtSet, targets: single(p.target(true))}
	if p.skip(tokenOp, "=") {
		s.value = p.tuple()
		p.closeTag()
		return s
	}
	s.kind = stmtSetBlock
	if s.targets[0].list != nil {
		p.fail("a block is assigned to several names")
	}
	s.value = p.filters(nil, false)
	s.body = p.isolated("endset")
	return s
}

// isolated takes a block whose body is rendered by itself, so that no loop around
// can be left from it.
func (p *parser) isolated(end string) []*stmt {
	loops := p.loops
	p.loops = 0
	body := p.block(end)
	p.loops = loops
	return body
}

func (p *parser) macro() *stmt {
	s := &stmt{kind: stmtMacro, text: p.name()}
	s.params = p.signature()
	s.body = p.isolated("endmacro")
	return s
}

func (p *parser) signature() []param {
	p.expect(tokenOp, "(")
	var all []param
	for p.err == nil && !p.is(tokenOp, ")") {
		if len(all) > 0 {
			p.expect(tokenOp, ",")
		}
		one := param{name: p.name()}
		if p.skip(tokenOp, "=") {
			one.initial = p.expression(true)
		}
		all = append(all, one)
	}
	p.expect(tokenOp, ")")
	return all
}

func (p *parser) callStatement() *stmt {
	s := &stmt{kind: stmtCall}
	if p.is(tokenOp, "(") {
		s.params = p.signature()
	}
	s.value = p.expression(true)
	if p.err == nil && s.value.kind != exprCall {
		p.fail("a call block needs a call")
	}
	s.body = p.isolated("endcall")
	return s
}

func (p *parser) with() *stmt {
	s := &stmt{kind: stmtWith}
	for p.err == nil && !p.is(tokenClose, "%}") {
		if len(s.targets) > 0 {
			p.expect(tokenOp, ",")
		}
		s.targets = append(s.targets, p.target(false))
		p.expect(tokenOp, "=")
		s.values = append(s.values, p.expression(true))
	}
	s.body = p.isolated("endwith")
	return s
}

// number parses digits as a code point.
func number(digits string, base int) (rune, bool) {
	n, err := strconv.ParseUint(digits, base, 32)
	return rune(n), err == nil && n <= 0x10ffff
}
