// Package sharedtest finds the reference data that tests compare with. It is
// imported by tests only.
package sharedtest

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Path returns the path of name inside the reference data: $QTOOL_SHARED if
// set, else the folder shared beside the repository. If it is not there, the
// test is skipped.
func Path(t testing.TB, name string) string {
	t.Helper()
	root := os.Getenv("QTOOL_SHARED")
	if root == "" {
		_, here, _, _ := runtime.Caller(0)
		root = filepath.Join(filepath.Dir(here), "..", "..", "..", "shared")
	}
	p := filepath.Join(root, filepath.FromSlash(name))
	if _, err := os.Stat(p); err != nil {
		t.Skipf("no reference data: %s is not there (set QTOOL_SHARED)", p)
	}
	return p
}

// Read returns the content of a reference file, or skips the test.
func Read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(Path(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
