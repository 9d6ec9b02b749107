package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"

	"qtool/gguf"
)

// modelFile is a model whose files are open.
type modelFile interface {
	gguf.Model
	io.Closer
}

// openModel opens what users may give as MODEL: a GGUF file, the first shard of a
// split one, or a Hugging Face folder.
func openModel(path string) (modelFile, error) {
	if strings.HasPrefix(path, "ollama:") {
		return nil, unsupportedf("%s: models of Ollama's store cannot be opened yet; give the path of a .gguf file", path)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, unsupportedf("%s: Hugging Face folders cannot be opened yet", path)
	}
	if filepath.Ext(path) == ".safetensors" {
		return nil, usagef("%s is one file of a Hugging Face model; give its folder, %s", path, filepath.Dir(path))
	}
	return gguf.Open(path)
}
