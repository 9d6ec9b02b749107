// Package server talks to a running Ollama over HTTP: its version and models, blobs sent
// to it, models made of them.
//
// It knows six calls and no more of Ollama. It waits for slow machines as long as
// something moves, tries again what a cut connection ended, and believes neither an HTTP
// status nor a last line alone: every line of an answer is read.
package server

import (
	"errors"
	"fmt"
	"net/http"

	"qtool/internal/printable"
)

// ErrUnreachable is in the chain of the error about a server that does not answer.
//
//lint:ignore ST1005 Ollama is a name
var ErrUnreachable = errors.New("Ollama does not answer")

// Error is what a server said about a request that it did not fulfil.
type Error struct {
	Doing  string // such as "creating the model"
	Status int    // of HTTP; 200 for an error in the middle of an answer
	Text   string // the server's own words, "" if it had none
}

// Error quotes the server.
func (e *Error) Error() string {
	text := "it gave no reason"
	if e.Text != "" {
		text = "it says " + printable.Quote(e.Text)
	}
	if e.Status == http.StatusOK {
		return fmt.Sprintf("%s: Ollama refused: %s", e.Doing, text)
	}
	return fmt.Sprintf("%s: Ollama answered %d %s: %s", e.Doing, e.Status, http.StatusText(e.Status), text)
}
