package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"qtool/internal/crash"
	"qtool/internal/memory"
	"qtool/internal/printable"
)

// reportFatal reports in one line why the Go runtime ended the run of args, of which text is what it
// wrote, and returns the exit code. Files that the run had begun stay under their hidden
// names, as when a process is killed.
func reportFatal(stderr io.Writer, args []string, text io.Reader) int {
	b, err := io.ReadAll(text)
	if isTerminal(stderr) {
		io.WriteString(stderr, "\n") // a bar, or text, may stand on the line
	}
	errs := printable.NewWriter(stderr)
	trace := func(w io.Writer) error {
		_, writeErr := fmt.Fprintf(w, "%s\n\n%s", runOf(args), b)
		return cmp.Or(err, writeErr)
	}
	reason := reasonOf(b)
	switch {
	case err == nil && len(b) == 0: // another program sent the signal
		crash.Die(syscall.SIGABRT)
	case strings.HasPrefix(reason, "SIGQUIT"): // which users send to see what a program does
		reportTraced(errs, "ended by SIGQUIT", "its stacks are in", trace)
		errs.Flush()
		crash.Die(syscall.SIGQUIT)
	case threadsRefused.Match(b):
		reportTraced(errs, "the system refused another thread or its stack; end other programs, or raise the limits of threads (ulimit -u, pids.max of a container) and memory (ulimit -v and -d)", "the trace is in", trace)
	case memoryRefused.Match(b):
		reportTraced(errs, outOfMemory(b), "the trace is in", trace)
	default:
		reportInternal(errs, reason, trace)
	}
	errs.Flush()
	return exitInternal
}

// What the Go runtime writes. Of the reasons the first one counts; what precedes one tells more.
var (
	fatalReason    = regexp.MustCompile(`(?m)^(?:fatal error: (.+)|(panic: .+)|(SIG[A-Z]+: .+))$`)
	memoryRefused  = regexp.MustCompile(`(?m)^(fatal error: .*(out of memory|cannot allocate memory|cannot map pages|failed to reserve)|runtime: failed to create new OS thread .*errno=12\b)`)
	threadsRefused = regexp.MustCompile(`(?m)^(runtime: failed to create new OS thread .*errno=11\b|runtime/cgo: pthread_create failed)`)
	blockRefused   = regexp.MustCompile(`(?m)^runtime: out of memory: cannot allocate (\d+)-byte block \((\d+) in use\)$`)
)

// reasonOf is the line that tells why, or the first one.
func reasonOf(text []byte) string {
	if m := fatalReason.FindSubmatch(text); m != nil {
		return string(cmp.Or(string(m[1]), string(m[2]), string(m[3])))
	}
	line, _, _ := bytes.Cut(bytes.TrimSpace(text), []byte("\n"))
	return string(line)
}

// outOfMemory tells what was refused, by what limit, and what to do.
func outOfMemory(text []byte) string {
	line := "out of memory"
	if m := blockRefused.FindSubmatch(text); m != nil {
		block, _ := strconv.ParseInt(string(m[1]), 10, 64)
		used, _ := strconv.ParseInt(string(m[2]), 10, 64)
		line = fmt.Sprintf("out of memory: the system refused %s more, with %s in use", printable.Bytes(block), printable.Bytes(used))
	}
	parts := []string{line}
	if l, ok := memory.Ask().Least(); ok { // what the run held is free again
		parts = append(parts, "without this run "+l.Kind.Words(printable.Bytes(l.Left)))
	}
	return strings.Join(append(parts, "free memory, raise the limit, or take a smaller --seq, --batch or --context"), "; ")
}
