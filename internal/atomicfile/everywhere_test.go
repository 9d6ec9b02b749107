package atomicfile

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// byThemselves are the places that may change a disk without this package: what they
// write is no result of the program.
var byThemselves = []string{
	"internal/atomicfile/",
	"internal/kernel/_asm/",       // generates assembly
	"fixtures/",                   // makes models for tests
	"internal/bench/synthetic.go", // removes its own temporary folder
}

// changing are the functions of package os that change names or contents. Temporary
// files of random names are nobody's result.
var changing = map[string]bool{
	"Create": true, "WriteFile": true, "Mkdir": true, "MkdirAll": true, "Rename": true, "Remove": true,
	"RemoveAll": true, "Truncate": true, "Link": true, "Symlink": true, "Chmod": true,
	"O_WRONLY": true, "O_RDWR": true, "O_CREATE": true, "O_APPEND": true, "O_TRUNC": true,
}

func TestEverythingIsWrittenThroughThisPackage(t *testing.T) {
	root, files := filepath.Join("..", ".."), 0
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		for _, place := range byThemselves {
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
			s, ok := n.(*ast.SelectorExpr)
			if !ok || !changing[s.Sel.Name] {
				return true
			}
			if x, ok := s.X.(*ast.Ident); ok && x.Name == "os" {
				t.Errorf("%s: os.%s: use internal/atomicfile, whose calls tests let fail", set.Position(s.Pos()), s.Sel.Name)
			}
			return true
		})
		return nil
	})
	if err != nil || files < 100 {
		t.Errorf("%d files, %v", files, err)
	}
}
