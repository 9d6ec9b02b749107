package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"qtool/internal/source"
	"qtool/train"
)

// dataFlags say how records are read and what of them is learned.
func dataFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "format", Usage: "form of all records: " + strings.Join(train.Formats, ", "), DefaultText: "recognised by their keys"},
		&cli.StringFlag{Name: "text-field", Usage: "key of the text in JSON records"},
		&cli.StringFlag{Name: "prompt-field", Usage: "key of the prompt"},
		&cli.StringFlag{Name: "completion-field", Usage: "key of the completion"},
		&cli.StringFlag{Name: "messages-field", Usage: "key of the messages of a conversation"},
		&cli.StringFlag{Name: "system-field", Usage: "key of the system's message beside others"},
		&cli.StringSliceFlag{Name: "ignore-key", Usage: "pass over `KEY` of records and messages (repeat, or separate by commas)"},
		&cli.StringFlag{Name: "train-on", Usage: "what is learned: assistant (every answer), last (the last answer), all (prompts too), after:`MARKER` (what follows the last marker in the whole text)", DefaultText: "assistant"},
		&cli.StringFlag{Name: "long", Usage: "what becomes of records longer than --seq: skip, truncate-left, truncate-right, split, refuse", DefaultText: "skip"},
		&cli.BoolFlag{Name: "truncate", Usage: "the same as --long truncate-right"},
		&cli.BoolFlag{Name: "split-text", Usage: "cut longer {\"text\"} records into several"},
		&cli.StringFlag{Name: "chat-template", Usage: "write conversations, and prompts with answers, with this template: a `FILE` in Jinja, a name (" + strings.Join(train.ChatTemplates, ", ") + "), or none", DefaultText: "the model's own"},
		&cli.StringSliceFlag{Name: "template-var", Usage: "set a variable of the template, as in enable_thinking=false (`NAME=VALUE`, may be repeated)"},
		&cli.BoolFlag{Name: "keep-empty", Usage: "learn empty answers too: to stop at once"},
		&cli.BoolFlag{Name: "skip-bad", Usage: "leave out records that cannot be used, and count them"},
	}
}

// dataFlag is --data.
func dataFlag() cli.Flag {
	return &cli.StringSliceFlag{
		Name: "data", Aliases: []string{"d"},
		Usage: "learn from `DATA`: a file, a folder, or - for standard input; DATA:2 is seen twice in an epoch (may be repeated; default: embedded)",
		Action: func(_ *cli.Context, given []string) error {
			for _, data := range given {
				path, err := train.DataPath(data)
				if err != nil {
					return err
				}
				if err := source.Found("--data: ", path); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// setData takes the data flags.
func setData(c *cli.Context, j *train.Job) error {
	j.TextField, j.PromptField, j.CompletionField = c.String("text-field"), c.String("prompt-field"), c.String("completion-field")
	j.Data, j.Stdin = c.StringSlice("data"), &stdinReader{ctx: c.Context, in: c.App.Reader}
	j.Truncate, j.SplitText = c.Bool("truncate"), c.Bool("split-text")
	j.DataOptions = train.DataOptions{
		Format: c.String("format"), MessagesField: c.String("messages-field"), SystemField: c.String("system-field"), IgnoreKeys: c.StringSlice("ignore-key"),
		TrainOn: c.String("train-on"), Long: c.String("long"), KeepEmpty: c.Bool("keep-empty"), SkipBad: c.Bool("skip-bad"),
	}
	var err error
	if j.TemplateVars, err = templateVars(c); err != nil {
		return err
	}
	j.ChatTemplate = c.String("chat-template")
	if j.Truncate && c.IsSet("long") {
		return usagef("--truncate and --long both say what becomes of long records")
	}
	return nil
}

// printRecords says what the data are, and what of them is learned and what not.
func printRecords(con *console, r *train.Records) {
	say := con.say
	if len(r.Forms) > 0 {
		say("forms     %s", formsOf(r.Forms))
	}
	if r.Template != "" {
		say("template  %s", r.Template)
	}
	say("example   %s", marked(r.Shown))
	for _, note := range r.Notes {
		say("          %s", note)
	}
	for _, warning := range r.Warnings {
		say("warning   %s", warning)
	}
}

// formsOf lists forms with how many records have them.
func formsOf(forms map[string]int) string {
	var list []string
	for _, form := range slices.Sorted(maps.Keys(forms)) {
		list = append(list, fmt.Sprintf("%d %s", forms[form], form))
	}
	return strings.Join(list, ", ")
}

// mostMarked bounds the tokens of the example that is printed: those around the first that
// is learned.
const mostMarked = 120

// marked is an example as text, with [[…]] around what is learned.
func marked(tokens []train.Token) string {
	var b strings.Builder
	from := 0
	if first := slices.IndexFunc(tokens, func(t train.Token) bool { return t.Scored }); first > mostMarked/2 {
		from = first - mostMarked/2
		b.WriteString("…")
	}
	to := min(len(tokens), from+mostMarked)
	learned := false
	for _, t := range tokens[from:to] {
		if t.Scored != learned {
			b.WriteString(map[bool]string{true: "[[", false: "]]"}[t.Scored])
			learned = t.Scored
		}
		b.WriteString(t.Text)
	}
	if to < len(tokens) {
		b.WriteString("…")
	}
	if learned {
		b.WriteString("]]")
	}
	text := fmt.Sprintf("%q", strings.ToValidUTF8(b.String(), "\ufffd"))
	return text[1 : len(text)-1]
}
