package sharedtest

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
)

// Path returns the path of name inside the reference data: $QTOOL_SHARED if set, else the
// folder shared beside the repository. Where that is missing, or QTOOL_SHARED is "none", it
// is that of the small part that is in the repository, in testdata; what is not there
// either skips the test. Lines with "no reference data" are what .ci/test counts.
func Path(t testing.TB, name string) string {
	t.Helper()
	roots := []string{filepath.Join(folder(), "testdata")}
	switch root := os.Getenv("QTOOL_SHARED"); root {
	case "none":
	case "":
		roots = slices.Insert(roots, 0, filepath.Join(folder(), "..", "..", "..", "shared"))
	default:
		roots = slices.Insert(roots, 0, root)
	}
	for _, root := range roots {
		p := filepath.Join(root, filepath.FromSlash(name))
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	t.Skipf("no reference data: %s is not in %s", name, roots[0])
	return ""
}

// folder is that of this package's sources.
func folder() string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Dir(here)
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

// Float32s returns a reference file as little-endian float32, or skips the test.
func Float32s(t testing.TB, name string) []float32 {
	t.Helper()
	b := Read(t, name)
	out := make([]float32, len(b)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return out
}

// Tokens returns the ids that every reference model was run on, or skips the test.
func Tokens(t testing.TB) []int32 {
	t.Helper()
	b := Read(t, "golden/archs/tokens.i32")
	out := make([]int32, len(b)/4)
	for i := range out {
		out[i] = int32(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return out
}

// NMSE is sum((got-want)²)/sum(want²), infinite if the lengths differ.
func NMSE(got, want []float32) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	var num, den float64
	for i, w := range want {
		d := float64(got[i]) - float64(w)
		num += d * d
		den += float64(w) * float64(w)
	}
	return num / den
}
