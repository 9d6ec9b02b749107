package sharedtest

import (
	"encoding/binary"
	"math"
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
