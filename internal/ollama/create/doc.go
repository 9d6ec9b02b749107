// Package create makes models of Ollama out of a base and adapters: with a running server,
// or in its store. It knows which way a server takes, and makes sure that the model that
// came of it is the one that was meant.
//
// It merges nothing itself: who can hands it a function.
package create

import (
	"context"
	"fmt"

	"qtool/internal/ollama"
	"qtool/internal/usage"
)

// Via is a way to make a model.
type Via string

// The ways. Auto takes the first that the server accepts.
const (
	Auto    Via = "auto"
	Adapter Via = "adapter" // the server adds the adapter to the base
	Merge   Via = "merge"   // a model of base and adapters merged is sent to the server
	Store   Via = "store"   // blobs and manifest are written where the server looks for them
)

// Ways lists the ways there are, with merging or without.
func Ways(merging bool) []Via {
	if merging {
		return []Via{Auto, Adapter, Merge, Store}
	}
	return []Via{Auto, Adapter, Store}
}

// MergeFunc writes a GGUF file out: the model base with adapters merged into it. base is
// what a user gives as MODEL.
type MergeFunc func(ctx context.Context, base string, adapters []string, out string) error

// Job is a model to be made.
type Job struct {
	Name     ollama.Name
	Model    string   // the base: a GGUF file, or ollama:NAME
	Adapters []string // GGUF files

	Template, System string
	Licenses         []string
	Parameters       map[string]any // see [ParseParameters]

	Via      Via
	Merge    MergeFunc // nil: there is no merging
	Observer Observer
}

// Report says what was made, and how.
type Report struct {
	Name     string `json:"name"`
	Via      Via    `json:"via"`
	Server   string `json:"server,omitempty"`
	Version  string `json:"version,omitempty"`
	Store    string `json:"store,omitempty"`
	Replaced bool   `json:"replaced"`
}

// Observer is told how a job goes on. Its functions may be nil.
type Observer struct {
	Note  func(text string)
	Begin func(total int64, unit, task string) Bar
}

// Bar shows how far a task is.
type Bar interface {
	Set(done int64)
	Remark(format string, args ...any)
	Note(format string, args ...any)
	Done()
}

func (o Observer) note(format string, args ...any) {
	if o.Note != nil {
		o.Note(fmt.Sprintf(format, args...))
	}
}

func (o Observer) begin(total int64, unit, task string) Bar {
	if o.Begin != nil {
		return o.Begin(total, unit, task)
	}
	return noBar{}
}

type noBar struct{}

func (noBar) Set(int64)             {}
func (noBar) Remark(string, ...any) {}
func (noBar) Note(string, ...any)   {}
func (noBar) Done()                 {}

// check finds contradictions of the job.
func (j *Job) check() error {
	switch {
	case j.Model == "":
		return usage.Errorf("--model is missing: the base, a GGUF file or ollama:NAME")
	case len(j.Adapters) == 0 && (j.Via == Adapter || j.Via == Merge):
		return usage.Errorf("--via %s needs an --adapter", j.Via)
	case len(j.Adapters) > 1 && j.Via == Adapter:
		return usage.Errorf("Ollama takes one adapter with a model, and %d are given%s", len(j.Adapters), j.instead())
	case j.Via == Merge && j.Merge == nil:
		return usage.Errorf("--via merge is not offered")
	}
	return nil
}

// instead names the other ways to make a model with adapters.
func (j *Job) instead() string {
	if j.Merge != nil {
		return "; --via merge takes all of them, and so does --via store"
	}
	return "; --via store takes all of them"
}
