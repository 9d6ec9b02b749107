package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"qtool/internal/kernel"
	"qtool/internal/printable"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal ends the work in good order, a second one ends the process.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run executes one command line, without the program's name, and returns its exit
// code. An error is printed to stderr, once. What commands write to stdout is escaped
// where it could steer a terminal, and a write to it that failed fails the command.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	out, errs := printable.NewWriter(stdout), printable.NewWriter(stderr)
	defer errs.Flush()
	app := newApp(stdin, out, errs)
	args, err := orderArgs(app, args)
	if tierErr := kernel.EnvironmentError(); tierErr != nil {
		err = usagef("%v", tierErr)
	}
	if err == nil {
		err = app.RunContext(ctx, append([]string{app.Name}, args...))
	}
	if writeErr := out.Flush(); err == nil && writeErr != nil {
		err = fmt.Errorf("writing to standard output: %w", writeErr)
	}
	code := exitCode(ctx, err)
	switch {
	case code == exitInterrupted:
		fmt.Fprintln(errs, "qtool: interrupted")
	case err != nil:
		fmt.Fprintf(errs, "qtool: %v\n", err)
	}
	return code
}
