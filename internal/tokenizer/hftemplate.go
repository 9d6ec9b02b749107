package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// A NamedTemplate is a chat template for a special purpose.
type NamedTemplate struct{ Name, Text string }

// readChatTemplates takes those of tokenizer_config.json, else chat_template.json. A
// file chat_template.jinja, with the folder additional_chat_templates, wins over
// both, as in transformers: it is the one that is kept up to date.
func (c *hfConfig) readChatTemplates(fsys fs.FS) error {
	if raw := c.tokenizer.ChatTemplate; raw != nil {
		c.takeTemplates(*raw)
	} else {
		var wrapped struct {
			ChatTemplate json.RawMessage `json:"chat_template"`
		}
		if _, err := readJSON(fsys, "chat_template.json", &wrapped); err != nil {
			return err
		}
		c.takeTemplates(wrapped.ChatTemplate)
	}
	text, err := readFile(fsys, "chat_template.jinja")
	if err != nil || text == nil {
		return err
	}
	if c.chatTemplate != "" && c.chatTemplate != string(text) {
		c.remarks = append(c.remarks, "the folder has two chat templates that differ; chat_template.jinja is taken, that of the JSON file is not")
	}
	c.chatTemplate = string(text)
	return c.readAdditional(fsys)
}

// takeTemplates takes one template or a list of named ones, of which "default" is
// the usual one.
func (c *hfConfig) takeTemplates(data json.RawMessage) {
	var named []struct {
		Name     string  `json:"name"`
		Template *string `json:"template"`
	}
	if json.Unmarshal(data, &c.chatTemplate) == nil || json.Unmarshal(data, &named) != nil {
		return
	}
	for _, n := range named {
		if n.Template != nil {
			c.addTemplate(n.Name, *n.Template)
		}
	}
}

func (c *hfConfig) readAdditional(fsys fs.FS) error {
	const dir, suffix = "additional_chat_templates", ".jinja"
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading %s: %w", dir, err)
	}
	for _, e := range entries {
		name, isTemplate := strings.CutSuffix(e.Name(), suffix)
		if !isTemplate || strings.HasPrefix(name, ".") {
			continue
		}
		text, err := readFile(fsys, dir+"/"+e.Name())
		if err != nil {
			return err
		}
		c.addTemplate(name, string(text))
	}
	return nil
}

// addTemplate keeps a template by its name, of which only ASCII letters and digits
// can be part of a key; the others become "_". The last of a name counts.
func (c *hfConfig) addTemplate(name, text string) {
	name = strings.Map(func(r rune) rune {
		if 'a' <= r|0x20 && r|0x20 <= 'z' || '0' <= r && r <= '9' {
			return r
		}
		return '_'
	}, name)
	at := slices.IndexFunc(c.chatTemplates, func(t NamedTemplate) bool { return t.Name == name })
	switch {
	case name == "":
	case name == "default":
		c.chatTemplate = text
	case at >= 0:
		c.chatTemplates[at].Text = text
	default:
		c.chatTemplates = append(c.chatTemplates, NamedTemplate{name, text})
	}
}
