package main

import (
	"cmp"
	"fmt"

	"github.com/urfave/cli/v2"

	"qtool/internal/ollama"
	"qtool/internal/ollama/create"
	"qtool/internal/ollama/server"
	"qtool/internal/shell"
	"qtool/internal/source"
	"qtool/train"
)

// ollamaAfter is the model of Ollama that is to be made of a trained adapter or model.
type ollamaAfter struct {
	con    *console
	job    *create.Job
	client *server.Client
}

// checkOllamaAfter finds out before the training whether what --ollama asks for can be made
// after it; nil without that flag.
func checkOllamaAfter(c *cli.Context, j *train.Job, merge create.MergeFunc) (*ollamaAfter, error) {
	name := c.String("ollama")
	if name == "" {
		return nil, nil
	}
	con := newConsole(c)
	a := &ollamaAfter{con: con, job: &create.Job{Model: cmp.Or(j.Model, source.Embedded), Via: create.Auto, Merge: merge, Observer: createObserver(con)}}
	var err error
	if a.job.Name, err = ollama.ParseName(name); err != nil {
		return nil, err
	}
	address, err := server.Address(server.Environment())
	if err != nil {
		return nil, err
	}
	a.client = server.New(address)
	if j.Full == "" {
		if err := a.job.CheckBase(); err != nil {
			return nil, err
		}
	}
	if _, err := a.client.Version(c.Context); err != nil {
		return nil, fmt.Errorf("--ollama: %w", err)
	}
	if j.Full != "" {
		a.job.Model = j.Full
	} else {
		a.job.Adapters = []string{j.Adapter}
	}
	return a, nil
}

// make makes the model once the training is done. a may be nil.
func (a *ollamaAfter) make(c *cli.Context) error {
	if a == nil {
		return nil
	}
	r, err := a.job.Run(c.Context, a.client)
	if err != nil {
		again := []string{"qtool", "ollama", "create", a.job.Name.String(), "--model", shell.Path(a.job.Model)}
		for _, path := range a.job.Adapters {
			again = append(again, "--adapter", shell.Path(path))
		}
		return fmt.Errorf("the training is done and its result written, but no model of Ollama was made: %w; try again with: %s", err, shell.Line(again...))
	}
	if a.con.json { // stdout has the report of the training alone
		a.con.say("created %s; chat with it: ollama run %[1]s", r.Name)
		return nil
	}
	printCreated(a.con.out, r)
	return nil
}
