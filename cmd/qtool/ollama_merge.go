package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"qtool/internal/ollama/create"
)

// keptForOllama is how much of an adapter's change has to survive in every tensor of a
// model that is merged for Ollama: with the types of the base alone, a small adapter is
// lost in their rounding (docs/adapters.md).
const keptForOllama = "0.9"

// mergeByCommand merges as the command does, with what it has to say on stderr.
func mergeByCommand(stderr io.Writer) create.MergeFunc {
	return func(ctx context.Context, base string, adapters []string, out string) error {
		app := newApp(strings.NewReader(""), io.Discard, stderr)
		args, err := orderArgs(app, slices.Concat([]string{"lora", "merge", "--model", base, "--keep", keptForOllama, "--"}, adapters, []string{out}))
		if err == nil {
			err = app.RunContext(ctx, append([]string{app.Name}, args...))
		}
		if err != nil && ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
		return err
	}
}
