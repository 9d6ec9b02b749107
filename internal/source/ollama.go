package source

import (
	"fmt"
	"strings"

	"qtool/gguf"
	"qtool/internal/ollama"
)

// AdapterRule says what happens to the adapters that a model of Ollama has. The zero value
// refuses such a model: its weights alone are not what Ollama runs.
type AdapterRule int

// The rules.
const (
	RefuseAdapters AdapterRule = iota
	LeaveAdapters              // they are left out, which Source.Note is told
	KeepAdapters               // the caller attaches those that [Adapters] lists
)

// IsOllama reports whether path is the name of a model that Ollama keeps.
func IsOllama(path string) bool { return strings.HasPrefix(path, ollama.Scheme) }

// Paths are the files of the model that path names, for who must not write to them.
// Those of a model that cannot be found are path itself; the [Embedded] one has none.
func Paths(path string) []string {
	switch {
	case path == Embedded:
		return nil
	case IsOllama(path):
		if _, f, err := ollama.Resolve(path); err == nil {
			return append([]string{f.Weights}, f.Adapters...)
		}
	}
	return []string{path}
}

// Adapters are the adapter files with which Ollama runs the model of that name; none if
// path is anything else.
func Adapters(path string) ([]string, error) {
	if !IsOllama(path) {
		return nil, nil
	}
	_, f, err := ollama.Resolve(path)
	if err != nil {
		return nil, err
	}
	return f.Adapters, nil
}

// stored is a model of Ollama's store, shown by the names of llama.cpp.
type stored struct {
	gguf.Model
	file *gguf.File
}

// Close closes the file.
func (s stored) Close() error { return s.file.Close() }

func openOllama(s Source, opts []gguf.OpenOption) (Model, error) {
	note := func(format string, args ...any) {
		if s.Note != nil {
			s.Note(s.Path + ": " + fmt.Sprintf(format, args...))
		}
	}
	_, files, err := ollama.Resolve(s.Path)
	if err != nil {
		return nil, err
	}
	if n := len(files.Adapters); n > 0 {
		list := strings.Join(files.Adapters, ", ")
		switch s.Adapters {
		case RefuseAdapters:
			return nil, fmt.Errorf("%s: %w: Ollama runs it with an adapter, and its weights alone are another model: give the base that it was made from, "+
				"or its weights %s as MODEL; the adapter is %s", s.Path, ollama.ErrUnsupported, files.Weights, list)
		case LeaveAdapters:
			note("Ollama runs this model with %d adapter(s), which are not looked at: %s", n, list)
		}
	}
	if files.Projector != "" {
		note("its encoder of images is left out: qtool reads text alone")
	}
	f, err := gguf.Open(files.Weights, opts...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Path, err)
	}
	m, remarks, err := ollama.Translate(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", s.Path, err)
	}
	for _, r := range remarks {
		note("%s", r)
	}
	if m == gguf.Model(f) {
		return f, nil
	}
	return stored{m, f}, nil
}

// File is the GGUF file that m was opened from; nil if it is none.
func File(m gguf.Model) *gguf.File {
	switch m := m.(type) {
	case *gguf.File:
		return m
	case stored:
		return m.file
	}
	return nil
}
