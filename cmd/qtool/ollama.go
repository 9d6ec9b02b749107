package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"qtool/internal/ollama"
	"qtool/internal/ollama/create"
	"qtool/internal/printable"
)

// ollamaCommand has the commands about Ollama. merge merges adapters into a base; without
// it nothing is offered that needs it.
func ollamaCommand(merge create.MergeFunc) *cli.Command {
	return &cli.Command{
		Name:      "ollama",
		Usage:     "models that Ollama keeps, and new ones for it",
		UsageText: "qtool ollama COMMAND [flags] [arguments]",
		Description: `Every command takes ollama:NAME[:TAG] as MODEL.

qtool ollama list
qtool finetune --model ollama:qwen3:0.6b --data chats.jsonl --adapter mine.gguf
qtool ollama create me/tuned --model ollama:qwen3:0.6b --adapter mine.gguf`,
		Subcommands: []*cli.Command{ollamaListCommand(), ollamaCreateCommand(merge)},
	}
}

func ollamaListCommand() *cli.Command {
	return &cli.Command{
		Name:  "list",
		Usage: "list the models that Ollama keeps on this machine",
		UsageText: `qtool ollama list [--json]

qtool ollama list`,
		Description: `The models are those of the folder in OLLAMA_MODELS, or else of your own store, that
of the system service, and those of other users as far as they can be read. NAME is
what follows "ollama:" where another command takes a MODEL. No server is asked.`,
		Flags:  []cli.Flag{jsonFlag()},
		Action: runOllamaList,
	}
}

// ollamaModel is a model of the list.
type ollamaModel struct {
	Name       string    `json:"name"`
	ID         string    `json:"id"`
	Store      string    `json:"store"`
	Owner      string    `json:"owner"`
	Family     string    `json:"family"`
	Parameters string    `json:"parameters"`
	Type       string    `json:"type"`
	Bytes      int64     `json:"bytes"`
	Adapters   int       `json:"adapters"`
	Modified   time.Time `json:"modified"`
	Fault      string    `json:"fault,omitempty"` // why it cannot be opened
}

func runOllamaList(c *cli.Context) error {
	if _, err := arguments(c); err != nil {
		return err
	}
	con := newConsole(c)
	models := []ollamaModel{}
	stores := ollama.Stores()
	if len(stores) == 0 {
		con.say("no store of Ollama is seen on this machine; OLLAMA_MODELS names one that lies elsewhere")
	}
	for _, s := range stores {
		list, err := ollama.List(s)
		if err != nil {
			if len(stores) == 1 {
				return fmt.Errorf("the store %s: %w", s.Dir, err)
			}
			con.say("the store %s is left out: %v", s.Dir, err)
		}
		for _, l := range list {
			models = append(models, describeOllama(l))
		}
	}
	if con.json {
		return con.printJSON(map[string]any{"models": models})
	}
	printOllama(con.out, models)
	return nil
}

func describeOllama(l ollama.Listed) ollamaModel {
	m := ollamaModel{Name: l.Name.String(), Store: l.Store.Dir, Owner: l.Store.Owner}
	if l.Fault != nil {
		m.Fault = l.Fault.Error()
	}
	if l.Model != nil {
		const shortID = 12 // digits, as in Ollama's own list
		m.ID, m.Bytes, m.Modified = l.Model.Digest[:shortID], l.Model.Manifest.Size(), l.Model.Modified
		m.Family, m.Parameters, m.Type = l.Model.Config.Family, l.Model.Config.Parameters, l.Model.Config.FileType
		m.Adapters = l.Model.Adapters()
	}
	return m
}

func printOllama(out io.Writer, models []ollamaModel) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tID\tFAMILY\tPARAMETERS\tTYPE\tSIZE\tADAPTERS\tSTORE")
	for _, m := range models {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", m.Name, m.ID, printable.Text(m.Family), printable.Text(m.Parameters), printable.Text(m.Type),
			printable.Bytes(m.Bytes), m.Adapters, m.Owner)
		if m.Fault != "" {
			fmt.Fprintf(w, "  cannot be opened: %s\n", printable.Escape(m.Fault))
		}
	}
	w.Flush()
}
