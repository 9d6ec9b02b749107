package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"qtool/internal/atomicfile"
	"qtool/internal/input"
	"qtool/internal/ollama"
	"qtool/internal/ollama/create"
	"qtool/internal/ollama/server"
	"qtool/internal/outputs"
	"qtool/internal/printable"
	"qtool/internal/shell"
	"qtool/internal/source"
)

func ollamaCreateCommand(merge create.MergeFunc) *cli.Command {
	var ways []string
	for _, w := range create.Ways(merge != nil) {
		ways = append(ways, string(w))
	}
	merging, automatic := "", "the adapter is added by the server"
	if merge != nil {
		merging = "\nmerge    merge the adapters into the base and send the result to the server"
		automatic = "adapter, or merge where the server takes no adapters"
	}
	return &cli.Command{
		Name:  "create",
		Usage: "make a model of Ollama out of a base and adapters",
		UsageText: `qtool ollama create NAME --model BASE [--adapter A] [flags]

qtool ollama create me/tuned --model ollama:qwen3:0.6b --adapter mine.gguf
qtool ollama create me/tuned --model base.gguf --adapter mine.gguf --system "You are a pirate." --parameter temperature=0.7
qtool ollama create me/tuned --model base.gguf --adapter mine.gguf --via store`,
		Description: `BASE is ollama:NAME[:TAG] or a GGUF file. --via is one of:
auto     ` + automatic + `
adapter  have the running server add the adapter to the base, which keeps its bytes` + merging + `
store    write the model into Ollama's folder of models, without a server

A model of the same name is replaced. What the server has already is not sent again, and
an upload that was cut off is tried again. The address of the server is that of --host,
else of OLLAMA_HOST, else 127.0.0.1:11434.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "model", Aliases: []string{"m"}, Usage: "the `BASE`"},
			inputsFlag(&cli.StringSliceFlag{Name: "adapter", Aliases: []string{"lora"}, Usage: "the adapter `A` (a .gguf file); may be repeated"}),
			&cli.StringFlag{Name: "system", Usage: "the system prompt `S`; @FILE reads it from a file"},
			&cli.StringFlag{Name: "template", Usage: "the template `T`, in Ollama's language; @FILE reads it from a file"},
			&cli.StringSliceFlag{Name: "license", Usage: "the license `TEXT`; @FILE reads it from a file; may be repeated"},
			&cli.StringSliceFlag{Name: "parameter", Aliases: []string{"p"}, Usage: "a parameter `NAME=VALUE`, such as temperature=0.7 or stop=END; may be repeated"},
			&cli.StringFlag{Name: "host", Usage: "the `URL` of the server", DefaultText: "that of OLLAMA_HOST"},
			&cli.StringFlag{Name: "via", Value: ways[0], Usage: "how: `WAY` is " + strings.Join(ways[:len(ways)-1], ", ") + " or " + ways[len(ways)-1], Action: func(_ *cli.Context, way string) error {
				if !slices.Contains(ways, way) {
					return usagef("--via %q: expected one of %s", way, strings.Join(ways, ", "))
				}
				return nil
			}},
			&cli.StringFlag{Name: "modelfile", Usage: "write a Modelfile for ollama create -f to `FILE` instead"},
			jsonFlag(),
		},
		Action: func(c *cli.Context) error { return runOllamaCreate(c, merge) },
	}
}

func runOllamaCreate(c *cli.Context, merge create.MergeFunc) error {
	con := newConsole(c)
	j, err := ollamaJob(c, con, merge)
	if err != nil {
		return err
	}
	address, err := server.Address(cmp.Or(c.String("host"), server.Environment()))
	if err != nil {
		return err
	}
	if file := c.String("modelfile"); file != "" {
		return writeModelfile(con, j, file)
	}
	r, err := j.Run(c.Context, server.New(address))
	if err != nil {
		return err
	}
	if con.json {
		return con.printJSON(r)
	}
	printCreated(con.out, r)
	return nil
}

// ollamaJob is what the flags ask for.
func ollamaJob(c *cli.Context, con *console, merge create.MergeFunc) (*create.Job, error) {
	args, err := arguments(c, "NAME")
	if err != nil {
		return nil, err
	}
	j := &create.Job{Model: c.String("model"), Adapters: c.StringSlice("adapter"), Via: create.Via(c.String("via")), Merge: merge}
	if j.Name, err = ollama.ParseName(strings.TrimPrefix(args[0], ollama.Scheme)); err != nil {
		return nil, err
	}
	if j.Parameters, err = create.ParseParameters(c.StringSlice("parameter")); err != nil {
		return nil, err
	}
	for flag, field := range map[string]*string{"system": &j.System, "template": &j.Template} {
		if *field, err = textOrFile(flag, c.String(flag)); err != nil {
			return nil, err
		}
	}
	for _, l := range c.StringSlice("license") {
		text, err := textOrFile("license", l)
		if err != nil {
			return nil, err
		}
		j.Licenses = append(j.Licenses, text)
	}
	j.Observer = createObserver(con)
	return j, nil
}

// createObserver shows on a console how a model of Ollama is made.
func createObserver(con *console) create.Observer {
	return create.Observer{Note: con.sayText, Begin: func(total int64, unit, task string) create.Bar {
		bar := con.progress()
		bar.Start(total, unit, task)
		return bar
	}}
}

// maxShortText is the most bytes of a template, system prompt or license.
const maxShortText = 1 << 20

// textOrFile is the value of a flag, or the text of the file that it names after "@".
func textOrFile(flag, value string) (string, error) {
	path, isFile := strings.CutPrefix(value, "@")
	if !isFile {
		return value, nil
	}
	if err := source.Found("--"+flag+": ", path); err != nil {
		return "", err
	}
	b, err := input.ReadFile(path, maxShortText)
	if err != nil {
		return "", fmt.Errorf("--%s: %w", flag, err)
	}
	return string(b), nil
}

func printCreated(out io.Writer, r *create.Report) {
	did := "created"
	if r.Replaced {
		did = "replaced"
	}
	switch r.Via {
	case create.Store:
		fmt.Fprintf(out, "%s %s in the store %s\n", did, r.Name, r.Store)
	default:
		how := map[create.Via]string{create.Auto: "", create.Adapter: ", as the base with an adapter", create.Merge: ", as base and adapters merged"}[r.Via]
		fmt.Fprintf(out, "%s %s with Ollama %s at %s%s\n", did, r.Name, printable.Text(r.Version), r.Server, how)
	}
	fmt.Fprintf(out, "chat with it: ollama run %s\n", r.Name)
}

func writeModelfile(con *console, j *create.Job, path string) error {
	if err := outputs.Check(append(source.Paths(j.Model), j.Adapters...), path); err != nil {
		return err
	}
	text, err := j.Modelfile()
	if err != nil {
		return err
	}
	f, err := atomicfile.Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := io.WriteString(f, text); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := f.Commit(); err != nil {
		return err
	}
	if con.json {
		return con.printJSON(map[string]string{"modelfile": path})
	}
	fmt.Fprintf(con.out, "wrote %s\nmake the model: %s\n", path, shell.Line("ollama", "create", j.Name.String(), "-f", shell.Path(path)))
	return nil
}
