// Package source opens what users give as MODEL.
package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"qtool/gguf"
	"qtool/internal/convert"
	"qtool/internal/usage"
)

// ErrUnsupported is in the chain of the error about a model that may be there but cannot
// be opened.
var ErrUnsupported = errors.New("unsupported model")

// Model is a model whose files are open.
type Model interface {
	gguf.Model
	io.Closer
}

// Source is a model as the user names it.
type Source struct {
	Path string
	Pre  string // the pre-tokenizer, if it is a folder; "" to find it
}

// Open opens a GGUF file, the first shard of a split one, or a Hugging Face folder.
func Open(s Source) (Model, error) {
	path := s.Path
	if strings.HasPrefix(path, "ollama:") {
		return nil, &unsupported{path + ": models of Ollama's store cannot be opened yet; give the path of a .gguf file"}
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
	return opened(gguf.Open(path))
}

// OpenShapes is Open for what needs no data; of a GGUF file none is mapped.
func OpenShapes(s Source) (Model, error) {
	if info, err := os.Stat(s.Path); err == nil && info.Mode().IsRegular() {
		return opened(gguf.Open(s.Path, gguf.WithoutData()))
	}
	return Open(s)
}

// opened keeps a nil pointer from becoming an interface that is not nil.
func opened[M Model](m M, err error) (Model, error) {
	if err != nil {
		return nil, err
	}
	return m, nil
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

type unsupported struct{ text string }

func (e *unsupported) Error() string { return e.text }
func (e *unsupported) Unwrap() error { return ErrUnsupported }
