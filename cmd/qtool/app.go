package main

import (
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

func newApp(stdin io.Reader, stdout, stderr io.Writer) *cli.App {
	app := &cli.App{
		Name:      "qtool",
		Usage:     "quantize and fine-tune language models in GGUF, on any CPU",
		UsageText: "qtool COMMAND [flags] [arguments]",
		Description: `MODEL is a .gguf file (of a split model: the first shard), a Hugging Face folder,
ollama:NAME[:TAG], a model that Ollama keeps on this machine, or embedded, the small
model that qtool carries in itself.

qtool finetune --adapter out.gguf
qtool chat embedded --lora out.gguf
qtool quantize --type Q8_0 model.gguf model-q8.gguf
qtool generate model-q8.gguf --prompt "Once upon a time"

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 corrupt or invalid input,
4 unsupported, 5 verification mismatch, 70 out of memory or an internal error,
130 interrupted.`,
		Commands: []*cli.Command{
			inspectCommand(),
			dataCommand(),
			finetuneCommand(mergeByCommand(stderr)),
			quantizeCommand(),
			loraCommand(),
			imatrixCommand(),
			generateCommand(),
			chatCommand(),
			perplexityCommand(),
			logitsCommand(),
			tokenizeCommand(),
			splitCommand(),
			joinCommand(),
			verifyCommand(),
			diffCommand(),
			ollamaCommand(mergeByCommand(stderr)),
			benchCommand(),
			versionCommand(),
		},
		Reader: stdin, Writer: stdout, ErrWriter: stderr,
		HideVersion:               true,
		DisableSliceFlagSeparator: true,
		ExitErrHandler:            func(*cli.Context, error) {}, // run prints and decides
		Action: func(*cli.Context) error {
			return usagef("no command given; qtool help lists them")
		},
	}
	finishCommands(app.Commands)
	return app
}

// finishCommands gives every command what all have.
func finishCommands(commands []*cli.Command) {
	for _, c := range commands {
		finishCommands(c.Subcommands)
		if len(c.Subcommands) == 0 {
			c.Flags = append(c.Flags, consoleFlags()...)
		}
		c.HideHelpCommand = true
		for _, f := range c.Flags {
			if b, ok := f.(*cli.BoolFlag); ok {
				b.DisableDefaultText = true // "(default: false)" says nothing
			}
		}
		c.OnUsageError = func(_ *cli.Context, err error, _ bool) error {
			return usagef("%s: %v", c.Name, err)
		}
	}
}

// orderArgs puts a command line into the only order that the flag library reads
// without ignoring anything: command, flags, "--", arguments. Flags that all
// commands have may also stand before the command.
func orderArgs(app *cli.App, args []string) ([]string, error) {
	early, rest, err := separate(consoleFlags(), args, true)
	if err != nil {
		return nil, usagef("%v; flags of a command follow it, as in: qtool inspect --json model.gguf", err)
	}
	if len(rest) == 0 {
		return early, nil
	}
	name := rest[0]
	if name == "help" || name == "h" {
		return rest, nil
	}
	path, command, rest, err := findCommand(app.Commands, rest)
	if err != nil {
		return nil, err
	}
	flags, positional, err := separate(command.Flags, rest, false)
	if err != nil {
		name := strings.Join(path, " ")
		return nil, usagef("%s: %v; see qtool %s --help", name, err, name)
	}
	if len(command.Subcommands) > 0 { // without its subcommand; it prints its help
		return slices.Concat(path, flags), nil
	}
	return slices.Concat(path, early, flags, []string{"--"}, positional), nil
}

// findCommand takes the names of a command and its subcommand off args.
func findCommand(commands []*cli.Command, args []string) (path []string, command *cli.Command, rest []string, err error) {
	for len(args) > 0 && (command == nil || !strings.HasPrefix(args[0], "-")) {
		i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(args[0]) })
		if i < 0 {
			return nil, nil, nil, usagef("there is no command %q; qtool %s lists them",
				strings.Join(append(path, args[0]), " "), strings.Join(append(path, "--help"), " "))
		}
		command = commands[i]
		path, args, commands = append(path, args[0]), args[1:], command.Subcommands
		if len(commands) == 0 {
			break
		}
	}
	return path, command, args, nil
}

// separate divides args into flags with their values and everything else. With
// untilPositional, everything from the first argument that is no flag on is left
// as it is.
func separate(known []cli.Flag, args []string, untilPositional bool) (flags, rest []string, err error) {
	seen := map[cli.Flag]string{}
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			return flags, append(rest, args[i+1:]...), nil
		case len(arg) < 2 || arg[0] != '-':
			if untilPositional {
				return flags, args[i:], nil
			}
			rest = append(rest, arg)
			continue
		}
		name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		flag := findFlag(known, name)
		if flag == nil {
			return nil, nil, usagef("there is no flag %s%s", arg, didYouMean(known, name))
		}
		takesValue := flag.TakesValue()
		if before, again := seen[flag]; again && !repeatable(flag) && (takesValue || before != arg) {
			return nil, nil, usagef("the flag --%s is given twice; give it once", flag.Names()[0])
		}
		seen[flag] = arg
		flags = append(flags, arg)
		if takesValue && !hasValue {
			if i++; i == len(args) {
				return nil, nil, usagef("the flag %s needs a value", arg)
			}
			flags = append(flags, args[i])
		}
	}
	return flags, rest, nil
}

// findFlag is the flag called name, nil if there is none.
func findFlag(known []cli.Flag, name string) cli.DocGenerationFlag {
	for _, f := range append([]cli.Flag{cli.HelpFlag}, known...) {
		if slices.Contains(f.Names(), name) {
			return f.(cli.DocGenerationFlag)
		}
	}
	return nil
}

// repeatable tells whether a flag collects what it is given several times.
func repeatable(f cli.Flag) bool {
	d, ok := f.(cli.DocGenerationSliceFlag)
	return ok && d.IsSliceFlag()
}

// didYouMean names the flag most like name, if they at least begin alike.
func didYouMean(known []cli.Flag, name string) string {
	like := strings.TrimLeft(cli.SuggestFlag(known, name, false), "-")
	if like == "" || name == "" || like[0] != name[0] {
		return ""
	}
	return " (did you mean --" + like + "?)"
}

// arguments returns the arguments that are no flags, which names lists; those in
// brackets may be missing.
func arguments(c *cli.Context, names ...string) ([]string, error) {
	got := c.Args().Slice()
	usage := strings.TrimRight(c.Command.HelpName+" "+strings.Join(names, " "), " ")
	for i, name := range names {
		if i >= len(got) && !strings.HasPrefix(name, "[") {
			return nil, usagef("%s: %s is missing; usage: %s", c.Command.Name, name, usage)
		}
	}
	if len(got) > len(names) {
		return nil, usagef("%s: unexpected argument %q; usage: %s", c.Command.Name, got[len(names)], usage)
	}
	return got, nil
}
