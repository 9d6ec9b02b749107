package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"qtool/fixtures"
	"qtool/internal/kernel/product"
)

// faultyWriter is an output that panics.
type faultyWriter struct{}

func (faultyWriter) Write([]byte) (int, error) { panic("faulty\nwriter") }

// faultyWorker is an output that panics in a worker of a pool.
type faultyWorker struct{ pool *product.Pool }

func (w faultyWorker) Write([]byte) (int, error) {
	w.pool.Run(8, func(_, part int) {
		if part == 7 {
			panic("faulty worker")
		}
	})
	return 0, nil
}

func TestAPanicIsALineATraceAndCode70(t *testing.T) {
	m := tinyFile(t, fixtures.Shape{})
	pool := product.NewPool(4)
	defer pool.Close()
	for what, out := range map[string]io.Writer{`faulty\nwriter`: faultyWriter{}, "faulty worker": faultyWorker{pool}} {
		dir := t.TempDir()
		t.Setenv("TMPDIR", dir)
		t.Setenv("TMP", dir)
		var stderr bytes.Buffer
		if code := run(t.Context(), []string{"inspect", "--json", m}, nil, out, &stderr); code != exitInternal {
			t.Errorf("exit code %d", code)
		}
		line := regexp.MustCompile(`^qtool: internal error: "?` + regexp.QuoteMeta(what) + `"?; please report it with the trace in "(.*)"\n$`).FindStringSubmatch(stderr.String())
		if line == nil {
			t.Fatalf("stderr is %q", stderr.String())
		}
		if runtime.GOOS != "windows" && filepath.Dir(line[1]) != dir {
			t.Errorf("the trace is in %s", line[1])
		}
		trace, err := os.ReadFile(line[1])
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{"qtool devel", `"inspect" "--json"`, "crash_report_test.go", "goroutine"} {
			if !strings.Contains(string(trace), part) {
				t.Errorf("%q is missing in the trace:\n%s", part, trace)
			}
		}
	}
}

func TestWithoutAFolderForTemporaryFilesTheTraceIsHere(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	t.Setenv("TMPDIR", none)
	t.Setenv("TMP", none)
	t.Chdir(t.TempDir())
	var stderr bytes.Buffer
	if code := run(t.Context(), []string{"version"}, nil, faultyWriter{}, &stderr); code != exitInternal || len(names(t, ".")) != 1 {
		t.Errorf("exit code %d, %q", code, stderr.String())
	}
}
