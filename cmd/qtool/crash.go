package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"qtool/internal/mmap"
	"qtool/internal/panics"
	"qtool/internal/printable"
)

// reportPanic reports r, which was recovered, in one line, and returns the exit code. A
// file that was cut while it was read is an error like others; all else is a mistake in
// the program, of which a file keeps the trace.
func reportPanic(stderr io.Writer, args []string, r any) int {
	if err := mmap.Lost(r); err != nil {
		fmt.Fprintf(stderr, "qtool: %v\n", err)
		return exitFailed
	}
	p := panics.Of(r)
	reportInternal(stderr, p.Error(), func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s\npanic: %v\n\n%s\nrecovered by\n%s", runOf(args), p, p.Stack, debug.Stack())
		return err
	})
	return exitInternal
}

// runOf heads a trace.
func runOf(args []string) string { return fmt.Sprintf("%v\ncommand: %q", buildVersion(), args) }

// reportInternal says in a line that the program has failed and where its trace is.
func reportInternal(stderr io.Writer, what string, trace func(io.Writer) error) {
	reportTraced(stderr, "internal error: "+printable.Text(what), "please report it with the trace in", trace)
}

// reportTraced prints a line that ends with where the trace is, which precedes its path.
func reportTraced(stderr io.Writer, what, where string, trace func(io.Writer) error) {
	path, err := writeTrace(trace)
	where = fmt.Sprintf("%s %q", where, path)
	if err != nil {
		where = fmt.Sprintf("please report it; its trace could not be written: %v", err)
	}
	fmt.Fprintf(stderr, "qtool: %s; %s\n", what, where)
}

// writeTrace writes a trace into the folder of temporary files, or else here.
func writeTrace(write func(io.Writer) error) (path string, err error) {
	for _, folder := range []string{os.TempDir(), "."} {
		f, createErr := os.CreateTemp(folder, "qtool-trace-*.txt")
		if createErr != nil {
			err = createErr
			continue
		}
		err = write(f)
		return f.Name(), cmp.Or(err, f.Close())
	}
	return "", err
}
