package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"qtool/internal/crash"
	"qtool/internal/kernel/simd"
	"qtool/internal/memory"
	"qtool/internal/printable"
)

func main() { launch(run) }

// launch runs a command line with the process's signals and outputs, and ends the
// process. It is the first to be called, also where the process only reports why its run was ended.
func launch(run func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (code int)) {
	if text := crash.Last(); text != nil {
		os.Exit(reportFatal(os.Stderr, os.Args[1:], text))
	}
	watch := crash.Start()
	ctx, cancel := context.WithCancel(context.Background())
	var taken interrupts
	ctx = context.WithValue(ctx, interruptsKey{}, &taken)
	endOnSignals(cancel, &taken)
	boundGarbage()
	stdout, stderr := standardOutputs(os.Stdout, watch.Stderr, cancel)
	code := run(ctx, os.Args[1:], os.Stdin, stdout, stderr)
	_ = watch.Flush() // where it fails, nobody can be told
	if stdout.isLost() {
		dieOfBrokenPipe()
	}
	os.Exit(code)
}

// boundGarbage has garbage collected before it grows beyond the memory that there is.
// GOMEMLIMIT, the runtime's own setting, goes before.
func boundGarbage() {
	least, ok := memory.Ask().Least()
	if ok && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(max(1, least.Left))
	}
}

// run executes one command line, without the program's name, and returns its exit
// code. An error is printed to stderr, once. What commands write to stdout is escaped
// where it could steer a terminal, and a write to it that failed fails the command.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	// A mapped file that others cut is a fault, which is to be a panic.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	out, errs := printable.NewWriter(stdout), printable.NewWriter(stderr)
	defer errs.Flush()
	defer func() {
		if r := recover(); r != nil {
			code = reportPanic(errs, args, r)
		}
	}()
	app := newApp(stdin, out, errs)
	args, err := orderArgs(app, args)
	if tierErr := simd.EnvironmentError(); tierErr != nil {
		err = usagef("%v", tierErr)
	}
	if err == nil {
		err = app.RunContext(ctx, append([]string{app.Name}, args...))
	}
	if writeErr := out.Flush(); err == nil && writeErr != nil {
		err = fmt.Errorf("writing to standard output: %w", writeErr)
	}
	code = exitCode(ctx, err)
	switch {
	case code == exitInterrupted:
		fmt.Fprintln(errs, "qtool: interrupted")
	case err != nil:
		fmt.Fprintf(errs, "qtool: %v\n", err)
	}
	return code
}
