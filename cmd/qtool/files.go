package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"qtool/internal/dataset"
	"qtool/internal/input"
	"qtool/internal/panics"
)

// maxText is the most bytes of a text, as in package dataset.
const maxText = 1 << 30

// readInput reads the file at path, or standard input if path is "-".
func readInput(ctx context.Context, con *console, path string) (string, error) {
	if path != "-" {
		b, err := input.ReadFile(path, maxText)
		if errors.Is(err, input.ErrNotRegular) {
			err = fmt.Errorf("%w, or \"-\" to read standard input", err)
		}
		return string(b), err
	}
	// Reading a terminal cannot be interrupted, so it is left behind when ctx ends.
	var b []byte
	var err error
	read := panics.Go(func() { b, err = input.ReadAll(con.in, "standard input", 0, maxText) })
	select {
	case p := <-read:
		p.Raise()
		return string(b), err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// stdinReader is a reader of standard input that fails when ctx ends: reading a terminal
// cannot be interrupted, so it is left behind.
type stdinReader struct {
	ctx context.Context
	in  io.Reader
}

func (r *stdinReader) Read(p []byte) (int, error) {
	const most = 64 << 10
	b := make([]byte, min(len(p), most))
	var n int // as b, what a read that is left behind may still set
	var err error
	ended := panics.Go(func() { n, err = r.in.Read(b) })
	select {
	case p := <-ended:
		p.Raise()
	case <-r.ctx.Done():
		return 0, r.ctx.Err()
	}
	return copy(p, b[:n]), err
}

// readText is readInput of a text that a model is to read, which must not be empty.
func readText(ctx context.Context, con *console, flag, path string) (string, error) {
	text, err := readInput(ctx, con, path)
	if err != nil {
		return "", fmt.Errorf("--%s: %w", flag, err)
	}
	if strings.TrimSpace(text) == "" {
		return "", fmt.Errorf("--%s %s: %w: it holds no text", flag, path, dataset.ErrEmpty)
	}
	return text, nil
}
