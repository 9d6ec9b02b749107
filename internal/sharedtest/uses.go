package sharedtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// FindUsesOfOS fails for every use of a name of package os that is in names, in the
// program's sources outside of except. instead says what to use.
func FindUsesOfOS(t *testing.T, names map[string]bool, except []string, instead string) {
	t.Helper()
	Inspect(t, except, func(n ast.Node) string {
		s, ok := n.(*ast.SelectorExpr)
		if !ok || !names[s.Sel.Name] {
			return ""
		}
		if x, ok := s.X.(*ast.Ident); !ok || x.Name != "os" {
			return ""
		}
		return fmt.Sprintf("os.%s: use %s", s.Sel.Name, instead)
	})
}

// Inspect fails for every node in which fault finds one, in the program's sources outside
// of except, which are paths from the root or beginnings of such.
func Inspect(t *testing.T, except []string, fault func(ast.Node) string) {
	t.Helper()
	root, files := filepath.Join(folder(), "..", ".."), 0
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		for _, place := range except {
			if strings.HasPrefix(filepath.ToSlash(name), place) {
				return nil
			}
		}
		files++
		set := token.NewFileSet()
		tree, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			if what := fault(n); what != "" {
				t.Errorf("%s: %s", set.Position(n.Pos()), what)
			}
			return true
		})
		return nil
	})
	if err != nil || files < 100 {
		t.Errorf("%d files, %v", files, err)
	}
}
