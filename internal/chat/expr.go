package chat

import "slices"

// make builds an expression and holds its depth against the bound.
func (p *parser) make(kind exprKind, text string, args ...*expr) *expr {
	e := &expr{kind: kind, text: text, args: args, depth: 1}
	for _, a := range args {
		if a != nil && a.depth >= e.depth {
			e.depth = a.depth + 1
		}
	}
	if e.depth > maxDepth {
		p.fail("an expression is nested more than %d deep", maxDepth)
	}
	return e
}

// expression takes one; a tag's "if" belongs to it only if condition is set.
func (p *parser) expression(condition bool) *expr {
	if p.depth++; p.depth > maxDepth {
		p.fail("an expression is nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	e := p.or()
	for condition && p.skip(tokenName, "if") {
		cond := p.or()
		var other *expr
		if p.skip(tokenName, "else") {
			other = p.expression(true)
		}
		e = p.make(exprIf, "", e, cond, other)
	}
	return e
}

// tuple takes an expression, or several with commas between.
func (p *parser) tuple() *expr {
	return p.tupleOf(func() *expr { return p.expression(true) }, false)
}

func (p *parser) tupleOf(element func() *expr, parentheses bool) *expr {
	ends := func() bool {
		t := p.peek()
		return t.kind == tokenClose || t.kind == tokenEOF || t.kind == tokenOp && t.text == ")"
	}
	if parentheses && ends() {
		return p.make(exprList, "")
	}
	first := element()
	if !p.is(tokenOp, ",") {
		return first
	}
	all := []*expr{first}
	for p.skip(tokenOp, ",") && !ends() {
		all = append(all, element())
	}
	return p.make(exprList, "", all...)
}

// chain joins operands by and, or: each operator is one more level.
func (p *parser) chain(kind exprKind, word string, operand func() *expr) *expr {
	e := operand()
	for p.skip(tokenName, word) {
		e = p.make(kind, "", e, operand())
	}
	return e
}

func (p *parser) or() *expr  { return p.chain(exprOr, "or", p.and) }
func (p *parser) and() *expr { return p.chain(exprAnd, "and", p.not) }

func (p *parser) not() *expr {
	negations := 0
	for p.skip(tokenName, "not") {
		negations++
	}
	e := p.compare()
	for ; negations > 0 && p.err == nil; negations-- {
		e = p.make(exprNot, "", e)
	}
	return e
}

var comparisons = []string{"==", "!=", "<", "<=", ">", ">="}

func (p *parser) compare() *expr {
	e := p.sum()
	var operators []string
	operands := []*expr{e}
	for {
		t := p.peek()
		switch {
		case t.kind == tokenOp && slices.Contains(comparisons, t.text):
			operators = append(operators, p.next().text)
		case p.skip(tokenName, "in"):
			operators = append(operators, "in")
		case p.is(tokenName, "not") && p.ahead(1).kind == tokenName && p.ahead(1).text == "in":
			p.next()
			p.next()
			operators = append(operators, "not in")
		default:
			if len(operators) == 0 {
				return e
			}
			c := p.make(exprCompare, "", operands...)
			c.names = operators
			return c
		}
		operands = append(operands, p.sum())
	}
}

// binary joins operands by operators of one precedence, left to right.
func (p *parser) binary(operand func() *expr, operators ...string) *expr {
	e := operand()
	for p.peek().kind == tokenOp && slices.Contains(operators, p.peek().text) {
		op := p.next().text
		e = p.make(exprBinary, op, e, operand())
	}
	return e
}

func (p *parser) sum() *expr     { return p.binary(p.concat, "+", "-") }
func (p *parser) product() *expr { return p.binary(p.power, "*", "/", "//", "%") }
func (p *parser) power() *expr   { return p.binary(func() *expr { return p.unary(true) }, "**") }

func (p *parser) concat() *expr {
	all := []*expr{p.product()}
	for p.skip(tokenOp, "~") {
		all = append(all, p.product())
	}
	if len(all) == 1 {
		return all[0]
	}
	return p.make(exprConcat, "", all...)
}

func (p *parser) unary(filters bool) *expr {
	var e *expr
	if t := p.peek(); t.kind == tokenOp && (t.text == "-" || t.text == "+") {
		p.next()
		if p.depth++; p.depth > maxDepth {
			p.fail("an expression is nested more than %d deep", maxDepth)
		}
		e = p.make(exprUnary, t.text, p.unary(false))
		p.depth--
	} else {
		e = p.primary()
	}
	e = p.postfix(e)
	if !filters {
		return e
	}
	for p.err == nil {
		switch {
		case p.is(tokenOp, "|"):
			e = p.filters(e, false)
		case p.skip(tokenName, "is"):
			e = p.test(e)
		case p.is(tokenOp, "("):
			e = p.call(e)
		default:
			return e
		}
	}
	return e
}

func (p *parser) primary() *expr {
	t := p.next()
	switch t.kind {
	case tokenName:
		switch t.text {
		case "true", "True":
			return p.make(exprConst, "true")
		case "false", "False":
			return p.make(exprConst, "false")
		case "none", "None":
			return p.make(exprConst, "none")
		}
		return p.make(exprName, t.text)
	case tokenString:
		text := t.text
		for p.peek().kind == tokenString {
			text += p.next().text
		}
		return p.make(exprString, text)
	case tokenInt:
		return p.make(exprInt, t.text)
	case tokenFloat:
		return p.make(exprFloat, t.text)
	case tokenOp:
		switch t.text {
		case "(":
			e := p.tupleOf(func() *expr { return p.expression(true) }, true)
			p.expect(tokenOp, ")")
			return e
		case "[":
			return p.make(exprList, "", p.elements("]", func() []*expr { return []*expr{p.expression(true)} })...)
		case "{":
			return p.make(exprDict, "", p.elements("}", func() []*expr {
				key := p.expression(true)
				p.expect(tokenOp, ":")
				return []*expr{key, p.expression(true)}
			})...)
		}
	}
	p.fail("expected an expression, found %q", t.text)
	return p.make(exprConst, "none")
}

// elements takes what stands between brackets, the opening one of which is taken.
func (p *parser) elements(end string, element func() []*expr) []*expr {
	var all []*expr
	for p.err == nil && !p.is(tokenOp, end) {
		if len(all) > 0 {
			p.expect(tokenOp, ",")
			if p.is(tokenOp, end) {
				break
			}
		}
		all = append(all, element()...)
	}
	p.expect(tokenOp, end)
	return all
}

func (p *parser) postfix(e *expr) *expr {
	for p.err == nil {
		switch {
		case p.skip(tokenOp, "."):
			if p.peek().kind == tokenInt {
				e = p.make(exprItem, "", e, p.make(exprInt, p.next().text))
			} else {
				e = p.make(exprAttr, p.name(), e)
			}
		case p.skip(tokenOp, "["):
			e = p.subscript(e)
			p.expect(tokenOp, "]")
		case p.is(tokenOp, "("):
			e = p.call(e)
		default:
			return e
		}
	}
	return e
}

func (p *parser) subscript(e *expr) *expr {
	var bounds [3]*expr
	colons := 0
	for p.err == nil && !p.is(tokenOp, "]") {
		if p.skip(tokenOp, ":") {
			if colons++; colons > 2 {
				p.fail("a slice has more than two colons")
			}
			continue
		}
		if bounds[colons] != nil {
			p.fail("expected ], found %q", p.peek().text)
			break
		}
		bounds[colons] = p.expression(true)
	}
	if colons > 0 {
		return p.make(exprSlice, "", e, bounds[0], bounds[1], bounds[2])
	}
	if bounds[0] == nil {
		p.fail("expected an index")
	}
	return p.make(exprItem, "", e, bounds[0])
}

// arguments takes (a, b, name=c) and returns the values and the names of the last.
func (p *parser) arguments() (values []*expr, names []string) {
	p.expect(tokenOp, "(")
	values = p.elements(")", func() []*expr {
		switch {
		case p.is(tokenOp, "*") || p.is(tokenOp, "**"):
			p.fail("a call spreads a list or a mapping over its arguments, which is not supported")
		case p.peek().kind == tokenName && p.ahead(1).kind == tokenOp && p.ahead(1).text == "=":
			names = append(names, p.next().text)
			p.next()
		case len(names) > 0:
			p.fail("an argument without name follows one with name")
		}
		return []*expr{p.expression(true)}
	})
	return values, names
}

func (p *parser) call(e *expr) *expr {
	values, names := p.arguments()
	c := p.make(exprCall, "", append([]*expr{e}, values...)...)
	c.names = names
	return c
}

// filters takes |name(…)|name(…); inline, the first has no bar. A nil e stands
// for the body of a block, and is returned if there is no filter.
func (p *parser) filters(e *expr, inline bool) *expr {
	for p.err == nil && (inline || p.skip(tokenOp, "|")) {
		inline = false
		name := p.name()
		var values []*expr
		var names []string
		if p.is(tokenOp, "(") {
			values, names = p.arguments()
		}
		e = p.make(exprFilter, name, append([]*expr{e}, values...)...)
		e.names = names
	}
	return e
}

func (p *parser) test(e *expr) *expr {
	negated := p.skip(tokenName, "not")
	name := p.name()
	var values []*expr
	var names []string
	switch t := p.peek(); {
	case p.is(tokenOp, "("):
		values, names = p.arguments()
	case t.kind == tokenString || t.kind == tokenInt || t.kind == tokenFloat || p.is(tokenOp, "[") || p.is(tokenOp, "{") ||
		t.kind == tokenName && !slices.Contains([]string{"else", "or", "and", "is", "if", "in", "not"}, t.text):
		values = []*expr{p.postfix(p.primary())}
	}
	test := p.make(exprTest, name, append([]*expr{e}, values...)...)
	test.names = names
	if negated {
		return p.make(exprNot, "", test)
	}
	return test
}
