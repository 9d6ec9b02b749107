// Package source opens what users give as MODEL.
package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/convert"
	"qtool/internal/ollama"
	"qtool/internal/usage"
)

// Model is a model whose files are open.
type Model interface {
	gguf.Model
	io.Closer
}

// Source is a model as the user names it.
type Source struct {
	Path string
	Pre  string // the pre-tokenizer, if it is a folder; "" to find it
	// Adapters says what to do where the name is one of Ollama's, of a model with adapters.
	Adapters AdapterRule
	// Note, unless nil, is told what of the model was left out.
	Note func(text string)
}

// Embedded is the name of the small model that the program carries in itself. A file or
// folder of that name is given as ./embedded.
const Embedded = "embedded"

// Open opens a GGUF file, the first shard of a split one, a Hugging Face folder, the
// weights of a model that Ollama keeps on this machine, or the [Embedded] model.
func Open(s Source) (Model, error) { return open(s) }

func open(s Source, opts ...gguf.OpenOption) (Model, error) {
	path := s.Path
	switch {
	case path == Embedded:
		if s.Note != nil && Found("", path) == nil {
			s.Note("embedded is the model that qtool carries; the file or folder of that name here is ./embedded")
		}
		return opened(fixtures.Base())
	case IsOllama(path):
		return openOllama(s, opts)
	}
	if err := Found("", path); err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("opening the model: %w", err)
	case info.IsDir():
		return opened(convert.OpenWith(path, convert.Options{Pre: s.Pre}))
	case filepath.Ext(path) == ".safetensors":
		return nil, usage.Errorf("%s is one file of a Hugging Face model; give its folder, %s", path, filepath.Dir(path))
	}
	return opened(gguf.Open(path, opts...))
}

// OpenShapes is Open for what needs no data; of a GGUF file none is mapped.
func OpenShapes(s Source) (Model, error) { return open(s, gguf.WithoutData()) }

// opened keeps a nil pointer from becoming an interface that is not nil.
func opened[M Model](m M, err error) (Model, error) {
	if err != nil {
		return nil, err
	}
	return m, nil
}

// FoundModel is [Found] for what may also be the name of a model that Ollama keeps, or of
// the [Embedded] one.
func FoundModel(where, path string) error {
	switch {
	case path == Embedded:
		return nil
	case IsOllama(path):
		if _, _, err := ollama.Resolve(path); err != nil {
			return fmt.Errorf("%s%w", where, err)
		}
		return nil
	}
	return Found(where, path)
}

// Found is an error, begun with where, if there is nothing at path. "-" is standard input.
func Found(where, path string) error {
	if path == "-" {
		return nil
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%sthere is no file or folder %s", where, path)
	}
	return nil
}
