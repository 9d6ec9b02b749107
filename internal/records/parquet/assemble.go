package parquet

import (
	"fmt"

	"qtool/internal/records/jsontext"
)

// maxRow is the most bytes of JSON that a row may have.
const maxRow = 64 << 20

// assembler puts rows together from the triples of the columns. What is not there (a null,
// an empty list) has one triple in every column below it, with a definition level that
// says how far down something was. Elements of a list follow each other with the
// repetition level of the list, and the first triple of a row has the level 0.
type assembler struct {
	file   *File
	buf    []byte
	ends   []int
	fields [][]byte
	bad    error // the first value of the row that cannot be written
}

// row visits the next row.
func (a *assembler) row(number int, visit Visit) error {
	a.buf, a.ends, a.bad = a.buf[:0], a.ends[:0], nil
	for _, n := range a.file.root.children {
		if err := a.any(n); err != nil {
			return fmt.Errorf("row %d: column %s: %w", number, n.first.name(), err)
		}
		a.ends = append(a.ends, len(a.buf))
	}
	for _, leaf := range a.file.leaves {
		if !leaf.done && leaf.rep != 0 {
			return fmt.Errorf("row %d: column %s has values of no row: the file is damaged", number, leaf.name())
		}
	}
	if a.bad != nil {
		return visit(number, nil, RowError{a.bad})
	}
	begin := 0
	for i, end := range a.ends {
		a.fields[i] = a.buf[begin:end]
		begin = end
	}
	return visit(number, a.fields, nil)
}

func (a *assembler) any(n *node) error {
	if n.repeated {
		return a.list(n, n)
	}
	return a.one(n)
}

// one writes a node that is there once or not at all.
func (a *assembler) one(n *node) error {
	if n.optional && n.first.def < n.def {
		a.buf = append(a.buf, "null"...)
		return n.pass()
	}
	switch n.kind {
	case leafKind:
		return a.value(n.leaf)
	case listKind:
		repeated := n.children[0]
		if element := repeated.element(); element != nil {
			return a.list(repeated, element)
		}
		return a.list(repeated, repeated)
	}
	return a.structure(n)
}

func (a *assembler) structure(n *node) error {
	a.buf = append(a.buf, '{')
	for i, c := range n.children {
		if i > 0 {
			a.buf = append(a.buf, ',')
		}
		a.buf = append(jsontext.AppendString(a.buf, []byte(c.name)), ':')
		if err := a.any(c); err != nil {
			return err
		}
	}
	a.buf = append(a.buf, '}')
	return nil
}

// list writes the elements of a repeated node; element is that node or its one child.
func (a *assembler) list(repeated, element *node) error {
	a.buf = append(a.buf, '[')
	first := repeated.first
	if first.done {
		return errEnded
	}
	if first.def < repeated.def {
		a.buf = append(a.buf, ']')
		return repeated.pass()
	}
	for {
		if err := a.element(repeated, element); err != nil {
			return err
		}
		if len(a.buf) > maxRow {
			return fmt.Errorf("the row is longer than %d MiB", maxRow>>20)
		}
		if first.done || first.rep != repeated.rep {
			break
		}
		a.buf = append(a.buf, ',')
	}
	a.buf = append(a.buf, ']')
	return nil
}

func (a *assembler) element(repeated, element *node) error {
	switch {
	case element != repeated:
		return a.any(element)
	case element.kind == leafKind:
		return a.value(element.leaf)
	}
	return a.structure(element)
}

var errEnded = fmt.Errorf("its values end before the rows do: the file is damaged")

func (a *assembler) value(c *column) error {
	switch {
	case c.done:
		return errEnded
	case c.def < c.maxDef:
		a.buf = append(a.buf, "null"...)
	default:
		var err error
		if a.buf, err = c.write(a.buf, c.value); err != nil {
			a.buf = append(a.buf, "null"...)
			if a.bad == nil {
				a.bad = fmt.Errorf("column %s %w", c.name(), err)
			}
		}
		if len(a.buf) > maxRow {
			return fmt.Errorf("the row is longer than %d MiB", maxRow>>20)
		}
	}
	return c.advance()
}

// pass goes on by one triple in all columns of a node that is not there.
func (n *node) pass() error {
	if n.kind == leafKind {
		if n.leaf.done {
			return errEnded
		}
		return n.leaf.advance()
	}
	for _, c := range n.children {
		if err := c.pass(); err != nil {
			return err
		}
	}
	return nil
}
