package ggml

import (
	"go/ast"
	"go/parser"
	"go/token"
	"testing"
)

func TestRowsHoldTogether(t *testing.T) {
	for typ := range All() {
		row := TraitsOf(typ)
		if row.Name == "" || row.Block <= 0 || row.Bytes <= 0 || row.Block&(row.Block-1) != 0 || 256%row.Block != 0 {
			t.Errorf("%+v: blocks must have a name and divide 256", row)
		}
		if (row.Words == nil) != (typ == IQ2_XXS) {
			t.Errorf("%v: no byte order", typ)
		}
		wide := make([]bool, row.Bytes)
		for _, f := range row.Words {
			for i := range f.Width * f.Count {
				if f.Offset+i >= row.Bytes || wide[f.Offset+i] {
					t.Fatalf("%v: field %+v leaves the block or overlaps", typ, f)
				}
				wide[f.Offset+i] = true
			}
		}
		for _, at := range row.Scales {
			if at != Scattered && row.Words != nil && (!wide[at] || !wide[at+1]) {
				t.Errorf("%v: the scale at %d is not among the words", typ, at)
			}
		}
		if f := TraitsOf(row.Fallback); row.Fallback != F16 && f.Block >= row.Block {
			t.Errorf("%v: rows that it does not fit do not fit %v either", typ, row.Fallback)
		}
	}
}

func TestTypesAreFoundByName(t *testing.T) {
	for typ := range All() {
		if got, err := ParseType(typ.String()); err != nil || got != typ {
			t.Errorf("%s: %v, %v", typ, got, err)
		}
	}
	if got, err := ParseType("q4_k"); err != nil || got != Q4_K {
		t.Error(got, err)
	}
	if _, err := ParseType("Q9_Z"); err == nil || Type(99).String() != "type(99)" || Type(4).Known() {
		t.Error("found a type that is not there")
	}
}

// A constant is of no use without a row, nor a row that users of package gguf cannot name.
func TestEveryTypeHasARowAndAConstantOfItsNameInBothPackages(t *testing.T) {
	for _, path := range []string{"type.go", "../../gguf/type.go"} {
		named := constants(t, path)
		for name := range named {
			if typ, err := ParseType(name); err != nil || typ.String() != name {
				t.Errorf("%s: the constant %s has no row in the table of traits", path, name)
			}
		}
		for typ := range All() {
			if !named[typ.String()] {
				t.Errorf("%s has no constant %v", path, typ)
			}
		}
	}
}

// constants are the names of the exported constants of types in a source file.
func constants(t *testing.T, path string) map[string]bool {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, d := range file.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.CONST {
			for _, s := range g.Specs {
				for _, n := range s.(*ast.ValueSpec).Names {
					if n.Name != "Types" {
						names[n.Name] = true
					}
				}
			}
		}
	}
	return names
}
