package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"qtool/gguf"
	"qtool/internal/input"
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
	type result struct {
		b   []byte
		err error
	}
	// Reading a terminal cannot be interrupted, so it is left behind when ctx ends.
	read := make(chan result, 1)
	go func() {
		b, err := input.ReadAll(con.in, "standard input", 0, maxText)
		read <- result{b, err}
	}()
	select {
	case r := <-read:
		return string(r.b), r.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// checkOutput refuses an output path that names one of the inputs: files, or
// folders that hold them. Paths that are "" do not count.
func checkOutput(output string, inputs ...string) error {
	if output == "" || output == "-" {
		return usagef("output %q is no name of a file", output)
	}
	out, err := os.Stat(output)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("output: %w", err)
	}
	if out.IsDir() {
		return usagef("output %s is a folder; give the name of a file", output)
	}
	for _, input := range inputs {
		files, err := filesOf(input)
		if err != nil {
			return err
		}
		for _, file := range files {
			if in, err := os.Stat(file); err == nil && os.SameFile(in, out) {
				return usagef("output %s is also an input; choose another name", output)
			}
		}
	}
	return nil
}

// filesOf lists path itself, or what is in it if it is a folder.
func filesOf(path string) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, err
	}
	entries, err := os.ReadDir(path)
	var files []string
	for _, e := range entries {
		files = append(files, filepath.Join(path, e.Name()))
	}
	return files, err
}

// sources lists the files that m was opened from: all shards of a split model.
func sources(path string, m gguf.Model) []string {
	if f, ok := m.(*gguf.File); ok {
		return f.Paths()
	}
	return []string{path}
}
