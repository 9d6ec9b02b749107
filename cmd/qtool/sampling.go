package main

import (
	"github.com/urfave/cli/v2"

	"qtool/internal/chat"
	"qtool/internal/dialogue"
	"qtool/internal/infer"
	"qtool/internal/source"
)

// samplingFlags say how tokens are drawn and when a text ends. Names, order and defaults are
// those of llama.cpp's tools, but for the seed.
func samplingFlags(maxTokens int) []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "max-tokens", Aliases: []string{"n"}, Value: maxTokens, Usage: "generate `N` tokens at most; -1 is no limit"},
		&cli.Float64Flag{Name: "temperature", Aliases: []string{"temp"}, Value: 0.8, Usage: "draw with temperature `T`; 0 takes the most likely token"},
		&cli.IntFlag{Name: "top-k", Value: 40, Usage: "draw among the `K` most likely tokens; 0 is all"},
		&cli.Float64Flag{Name: "top-p", Value: 0.95, Usage: "draw among the fewest tokens of probability `P` together; 1 is all"},
		&cli.Float64Flag{Name: "min-p", Value: 0.05, Usage: "draw among tokens of `P` times the largest probability; 0 is all"},
		&cli.Float64Flag{Name: "repeat-penalty", Value: 1, Usage: "make repeated tokens less likely by the factor `F`; 1 is off"},
		&cli.IntFlag{Name: "repeat-last-n", Value: infer.DefaultRepeatLast, Usage: "repeated are the last `N` tokens; 0 is none, -1 all"},
		&cli.Uint64Flag{Name: "seed", Value: 42, Usage: "seed of the random choice"},
		&cli.StringSliceFlag{Name: "stop", Usage: "end before `TEXT`; may be repeated"},
	}
}

// generateOptions are what samplingFlags say.
func generateOptions(c *cli.Context) (infer.GenerateOptions, error) {
	opt := infer.GenerateOptions{
		Sampling: infer.Sampling{
			Temperature: c.Float64("temperature"), TopK: c.Int("top-k"), TopP: c.Float64("top-p"), MinP: c.Float64("min-p"),
			RepeatPenalty: c.Float64("repeat-penalty"), RepeatLast: c.Int("repeat-last-n"), Seed: c.Uint64("seed"),
		},
		MaxTokens: c.Int("max-tokens"),
	}
	for _, stop := range c.StringSlice("stop") {
		opt.Stop = append(opt.Stop, escaped(c, stop))
	}
	if err := opt.Check(); err != nil {
		return opt, usagef("%s: --%v", c.Command.Name, err)
	}
	return opt, nil
}

// templateFlags say how messages are written.
func templateFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "system", Usage: "begin the conversation with the system message `TEXT`"},
		&cli.StringFlag{Name: "chat-template", Usage: "write messages with this template: a `FILE` in Jinja, a built-in name, or none", DefaultText: "the adapter's or the model's own"},
		&cli.StringSliceFlag{Name: "template-var", Usage: "set a variable of the template, as in enable_thinking=false (`NAME=VALUE`; may be repeated)"},
	}
}

// templateVars are what --template-var says.
func templateVars(c *cli.Context) (vars map[string]any, err error) {
	for _, text := range c.StringSlice("template-var") {
		name, value, err := chat.ParseVar(text)
		if err != nil {
			return nil, usagef("--template-var: %v", err)
		}
		if vars == nil {
			vars = map[string]any{}
		}
		vars[name] = value
	}
	return vars, nil
}

// newDialogue begins a conversation with the model at path, by templateFlags. Ends of turns that
// the template has besides those of the vocabulary are added to opt.
func newDialogue(c *cli.Context, con *console, l *loaded, path string, opt *infer.GenerateOptions) (*dialogue.Dialogue, error) {
	tok, err := l.tokenizer()
	if err != nil {
		return nil, err
	}
	choice := dialogue.Choice{Name: c.String("chat-template"), Embedded: path == source.Embedded}
	if choice.Vars, err = templateVars(c); err != nil {
		return nil, err
	}
	for _, a := range l.adapters.List {
		choice.Adapters = append(choice.Adapters, a.Metadata())
	}
	chosen, err := dialogue.Choose(tok, choice)
	if err != nil {
		return nil, err
	}
	d := dialogue.New(tok, chosen.Template)
	con.sayText("template: " + describeTemplate(chosen))
	if system := c.String("system"); system != "" {
		shown, err := d.SetSystem(escaped(c, system))
		if err != nil {
			return nil, usagef("--system: %v", err)
		}
		if !shown {
			con.say("warning: the template leaves the system message out")
		}
	}
	tokens, texts := d.Ends()
	opt.Ends, opt.Stop = append(opt.Ends, tokens...), append(opt.Stop, texts...)
	return d, nil
}

// describeTemplate tells which template was chosen, and why if that is not plain.
func describeTemplate(chosen dialogue.Chosen) string {
	text := "none: each message is a text by itself, which the model continues"
	if chosen.Template != nil {
		text = chosen.Template.String()
	}
	if chosen.Why != "" && chosen.Why != "--chat-template" {
		text += "; " + chosen.Why
	}
	return text
}
