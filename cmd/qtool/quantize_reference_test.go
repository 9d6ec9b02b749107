package main

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"qtool/internal/sharedtest"
)

// Each line of llama-quantize.txt is the SHA-256 of what llama-quantize makes of a
// model of the reference data, the model, the file type and the options.
func TestWholeFilesAreThoseOfLlamaQuantize(t *testing.T) {
	table, err := os.ReadFile("testdata/llama-quantize.txt")
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out.gguf")
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		args := append([]string{"quantize", sharedtest.Path(t, f[1]), out, "--type", f[2]}, f[3:]...)
		qtool(t, args...)
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b)
		if got := hex.EncodeToString(sum[:]); got != f[0] {
			t.Errorf("%s has another SHA-256: %s", strings.Join(f[1:], " "), got)
		}
	}
}
