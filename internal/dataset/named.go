package dataset

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"qtool/internal/chat"
	"qtool/internal/input"
	"qtool/internal/printable"
	"qtool/internal/tokenizer"
	"qtool/internal/usage"
)

// NoTemplate is the name that stands for no template, in [TemplateOf].
const NoTemplate = "none"

// maxTemplate is more than any chat template has, in bytes.
const maxTemplate = 4 << 20

// TemplateOf is the template for a model's tokenizer that a name stands for: that of a template
// that is built in, or of a file in Jinja; "" for the model's own, or ChatML if it has none; or
// [NoTemplate], which gives nil. Errors name the flag --chat-template.
func TemplateOf(tok *tokenizer.Tokenizer, name string, vars map[string]any) (*chat.Template, error) {
	source := tok.Vocab().ChatTemplate
	switch {
	case name == NoTemplate:
		return nil, nil
	case name == "":
		return chat.ForModel(source, templateOptions(tok, source, vars)), nil
	}
	if t, ok := chat.Named(name, templateOptions(tok, "", vars)); ok {
		return t, nil
	}
	source, err := readTemplate(name)
	if err != nil {
		return nil, err
	}
	t, err := TemplateFrom(tok, name, source, vars)
	if err != nil {
		return nil, fmt.Errorf("--chat-template %s: %w", printable.Text(name), err)
	}
	return t, nil
}

// TemplateFrom is the template of a source in Jinja, made for a model's tokenizer.
func TemplateFrom(tok *tokenizer.Tokenizer, name, source string, vars map[string]any) (*chat.Template, error) {
	o := templateOptions(tok, source, vars)
	o.Name = name
	return chat.New(source, o)
}

// templateOptions is what a template in source asks of a model.
func templateOptions(tok *tokenizer.Tokenizer, source string, vars map[string]any) chat.Options {
	vocab := tok.Vocab()
	text := func(id int32) string {
		if id == tokenizer.None {
			return ""
		}
		return vocab.Tokens[id]
	}
	o := chat.Options{BOS: text(tok.BOS()), EOS: text(tok.EOS()), Vars: vars}
	for id, token := range vocab.Tokens {
		if tok.IsCutOut(int32(id)) && strings.Contains(source, token) {
			o.Markers = append(o.Markers, token)
		}
	}
	return o
}

// readTemplate reads the template that --chat-template names.
func readTemplate(name string) (string, error) {
	source, err := input.ReadFile(name, maxTemplate)
	if errors.Is(err, fs.ErrNotExist) {
		return "", usage.Errorf("--chat-template %s is no file, and no template that is built in; these are: %s, and none", printable.Text(name), strings.Join(chat.Names(), ", "))
	}
	if err != nil {
		return "", fmt.Errorf("--chat-template: %w", err)
	}
	return string(source), nil
}

// Start is the tokens of a text that begins a document: with BOS, unless it brings its own.
func Start(tok Tokenizer, text string) []int32 {
	e := encoder{tok: tok}
	return e.start(text)
}
