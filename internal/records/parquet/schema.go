package parquet

import (
	"errors"
	"fmt"
	"strings"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"

	"qtool/internal/printable"
)

// Limits of a schema.
const (
	maxColumns = 10_000
	maxNesting = 64
)

// node is one element of the schema. def and rep are the levels of what is present there:
// a value below it has a definition level of at least def, and begins another element of
// the innermost repeated node if its repetition level is rep.
type node struct {
	name     string
	optional bool
	repeated bool
	def, rep int
	kind     kind
	children []*node
	leaf     *column // of a leaf
	first    *column // the first leaf of it or below it
}

// kind is how a node is written.
type kind int

const (
	structKind kind = iota
	leafKind
	listKind // its one child is repeated, and its elements are those of the list
)

// schemaReader goes through the schema, which is the tree in depth-first order.
type schemaReader struct {
	elements []format.SchemaElement
	file     *File
}

func (f *File) openSchema() error {
	all := f.meta.Schema
	if len(all) == 0 || all[0].Type.Valid {
		return errors.New("it has no schema")
	}
	s := schemaReader{elements: all[1:], file: f}
	f.root = &node{name: all[0].Name}
	err := s.group(f.root, all[0], nil)
	if err == nil && len(s.elements) > 0 {
		err = errors.New("its schema is damaged: it describes more columns than belong to it")
	}
	return err
}

// node takes the next node and those below it. parents is the path of its group.
func (s *schemaReader) node(parents []string, def, rep int) (*node, error) {
	if len(s.elements) == 0 {
		return nil, errors.New("its schema is damaged: it ends too early")
	}
	e := s.elements[0]
	s.elements = s.elements[1:]
	path := append(parents[:len(parents):len(parents)], e.Name)
	if len(path) > maxNesting || len(s.file.leaves) >= maxColumns {
		return nil, fmt.Errorf("its schema is more than %d deep or has more than %d columns", maxNesting, maxColumns)
	}
	n := &node{name: e.Name, def: def, rep: rep}
	switch e.RepetitionType.V {
	case format.Optional:
		n.optional = true
		n.def++
	case format.Repeated:
		n.repeated = true
		n.def++
		n.rep++
	}
	if e.Type.Valid {
		return n, s.leaf(n, e, path)
	}
	return n, s.group(n, e, path)
}

func (s *schemaReader) leaf(n *node, e format.SchemaElement, path []string) error {
	n.kind = leafKind
	c := &column{path: path, physical: e.Type.V, maxDef: n.def, maxRep: n.rep}
	if e.Type.V == format.FixedLenByteArray {
		if c.width = int(e.TypeLength.V); c.width <= 0 || c.width > maxFixed {
			return fmt.Errorf("column %s has values of %d bytes", c.name(), c.width)
		}
	}
	var err error
	if c.write, err = writerOf(e, c.width); err != nil {
		return fmt.Errorf("column %s: %w", c.name(), err)
	}
	n.leaf, n.first = c, c
	s.file.leaves = append(s.file.leaves, c)
	return nil
}

func (s *schemaReader) group(n *node, e format.SchemaElement, path []string) error {
	seen := map[string]bool{}
	if e.NumChildren.V <= 0 {
		return fmt.Errorf("its schema is damaged: the group %s has %d columns", dotted(path), e.NumChildren.V)
	}
	for range e.NumChildren.V {
		child, err := s.node(path, n.def, n.rep)
		if err != nil {
			return err
		}
		if seen[child.name] {
			return fmt.Errorf("two columns of %s are named %s", dotted(path), printable.Quote(child.name))
		}
		seen[child.name] = true
		n.children = append(n.children, child)
	}
	n.first = n.children[0].first
	if isList(e) && len(n.children) == 1 && n.children[0].repeated {
		n.kind = listKind
	}
	return nil
}

// isList is whether a group stands for a list; a map is a list of its keys and values.
func isList(e format.SchemaElement) bool {
	switch e.LogicalType.Value.(type) {
	case *format.ListType, *format.MapType:
		return true
	}
	c := e.ConvertedType
	return c.Valid && (c.V == deprecated.List || c.V == deprecated.Map || c.V == deprecated.MapKeyValue)
}

// element is what the repeated child of a list holds: usually a group of one column, which
// is passed over; in files of older writers the element itself.
func (n *node) element() *node {
	if n.kind == leafKind || len(n.children) != 1 || n.name == "array" || strings.HasSuffix(n.name, "_tuple") {
		return nil
	}
	return n.children[0]
}
