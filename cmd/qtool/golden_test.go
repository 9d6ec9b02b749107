package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"qtool/internal/sharedtest"
)

// qtool runs a command line in this process.
func qtool(t *testing.T, args ...string) (stdout string) {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(context.Background(), args, strings.NewReader(""), &out, &errs); code != exitDone {
		t.Fatalf("qtool %q: exit code %d: %s", args, code, errs.String())
	}
	return out.String()
}

func TestStoriesModelGivesTheTextsOfLlamaCpp(t *testing.T) {
	stories := sharedtest.Path(t, "data/stories260k/stories260K.gguf")
	var reference struct {
		Greedy map[string]string `json:"greedy_120_tokens"`
	}
	if err := json.Unmarshal(sharedtest.Read(t, "golden/stories/reference.json"), &reference); err != nil {
		t.Fatal(err)
	}
	for prompt, want := range reference.Greedy {
		got := qtool(t, "generate", stories, "--prompt", prompt, "--temperature", "0", "-n", "120", "--echo")
		if got != strings.TrimPrefix(want, " ")+"\n" {
			t.Errorf("got %q\nwant %q", got, want)
		}
	}
}

func TestStoriesModelHasThePerplexityOfLlamaCpp(t *testing.T) {
	stories := sharedtest.Path(t, "data/stories260k/stories260K.gguf")
	var r perplexityReport
	out := qtool(t, "perplexity", stories, "--data", sharedtest.Path(t, "data/text/calib_calibration_datav3_small.txt"),
		"--context", "256", "--chunks", "20", "--json")
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	if want := 380.0725; math.Abs(r.Perplexity/want-1) > 1e-4 {
		t.Errorf("perplexity %g, llama.cpp has %g", r.Perplexity, want)
	}
}

func TestHuggingFaceFolderIsQuantizedAndSpeaks(t *testing.T) {
	folder, q8 := sharedtest.Path(t, "data/tinystories-656k"), filepath.Join(t.TempDir(), "q8.gguf")
	qtool(t, "quantize", folder, q8)
	for _, m := range []string{folder, q8} {
		text := qtool(t, "generate", m, "--prompt", "Once upon a time", "--temperature", "0", "-n", "60")
		if !strings.Contains(text, "little girl named Lily") {
			t.Errorf("%s says %q", m, text)
		}
	}
}

func TestLogitsFileHoldsTheLogitsOfLlamaCpp(t *testing.T) {
	archs, out := sharedtest.Path(t, "golden/archs"), filepath.Join(t.TempDir(), "logits.npy")
	var ids []string
	for b := sharedtest.Read(t, "golden/archs/tokens.i32"); len(b) > 0; b = b[4:] {
		ids = append(ids, fmt.Sprint(binary.LittleEndian.Uint32(b)))
	}
	qtool(t, "logits", filepath.Join(archs, "mixtral.gguf"), "--lora", filepath.Join(archs, "mixtral.lora.gguf"),
		"--tokens", strings.Join(ids, ","), "-o", out)
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	const header = "\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (48, 160,), }"
	if !bytes.HasPrefix(got, []byte(header)) {
		t.Fatalf("the file begins with %q", got[:len(header)])
	}
	want := sharedtest.Read(t, "golden/archs/mixtral.lora.logits.f32")
	if e := nmse(got[len(got)-len(want):], want); !(e <= 1e-10) {
		t.Errorf("NMSE %g", e)
	}
}

// nmse is sum((a-b)²)/sum(b²) over float32 data.
func nmse(a, b []byte) float64 {
	var num, den float64
	for i := 0; i < len(b); i += 4 {
		x := float64(math.Float32frombits(binary.LittleEndian.Uint32(a[i:])))
		y := float64(math.Float32frombits(binary.LittleEndian.Uint32(b[i:])))
		num, den = num+(x-y)*(x-y), den+y*y
	}
	return num / den
}
