// Package ollama reads and extends the folders in which Ollama keeps its models: names,
// manifests, blobs, and the names of tensors and keys that only Ollama's blobs have.
//
// It takes files as hostile: nothing read from a manifest becomes a path without being
// checked, and what is read is bounded. It never deletes, and never talks to a server:
// that is package server.
package ollama

import "errors"

var (
	// ErrInvalid is in the chain of every error about a store whose files are damaged,
	// missing or break the rules of their format.
	ErrInvalid = errors.New("invalid model in Ollama's store")
	// ErrUnsupported is in the chain of every error about a model that is whole but of a
	// kind that cannot be read.
	ErrUnsupported = errors.New("unsupported model of Ollama")
	// ErrNotFound is in the chain of the error about a name that no store has.
	//lint:ignore ST1005 Ollama is a name
	ErrNotFound = errors.New("Ollama keeps no model")
)
