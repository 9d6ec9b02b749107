package train

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"qtool/internal/chat"
	"qtool/internal/dataset"
	"qtool/internal/input"
	"qtool/internal/printable"
	"qtool/internal/records"
	"qtool/internal/tokenizer"
	"qtool/internal/usage"
)

// DataOptions say how records are read and what of them is learned. The zero value suits
// data in the usual forms.
type DataOptions struct {
	// Format is the form of all records, one of [Formats]; "" recognises it by keys.
	Format string
	// Keys of JSON records; "" are the usual ones.
	MessagesField, SystemField string
	IgnoreKeys                 []string // keys that may be passed over
	// TrainOn is what is learned: assistant, last, all or after:MARKER; "" is assistant.
	TrainOn string
	// Long is what becomes of records longer than a row: skip, truncate-left,
	// truncate-right, split or refuse; "" is skip.
	Long string
	// ChatTemplate is what conversations, and prompts with their answers, are written with:
	// the path of a file in Jinja, the name of a template that is built in, one of
	// [ChatTemplates], or "none", which leaves prompts and answers as they are and refuses
	// conversations. "" is the base's own; a base without one has ChatML for conversations.
	ChatTemplate string
	// TemplateVars are variables of the template, such as enable_thinking.
	TemplateVars map[string]any
	KeepEmpty    bool // learn empty answers: to stop at once
	SkipBad      bool // count records that cannot be used instead of failing
}

// DataPath is the path in one of the Data of a [Job], without its weight.
func DataPath(data string) (string, error) {
	source, err := records.ParseSource(data)
	return source.Path, err
}

// Formats are the names of forms that records may have.
var Formats = dataset.Formats()

// ChatTemplates are the names of the templates that are built in.
var ChatTemplates = chat.Names()

// noTemplate is the ChatTemplate that stands for none.
const noTemplate = "none"

// maxTemplate is more than any chat template has, in bytes.
const maxTemplate = 4 << 20

// useTemplate sets the template that conversations, and prompts with their answers, go
// through.
func (f *tuning) useTemplate(o *dataset.Options) (err error) {
	vocab := f.tok.Vocab()
	text := func(id int32) string {
		if id == tokenizer.None {
			return ""
		}
		return vocab.Tokens[id]
	}
	c := chat.Options{BOS: text(f.tok.BOS()), EOS: text(f.tok.EOS()), Vars: f.TemplateVars}
	name, source := f.ChatTemplate, vocab.ChatTemplate
	o.TemplatePairs = name != noTemplate && (name != "" || source != "")
	if t, ok := chat.Named(name, c); ok {
		o.Template = t
		return nil
	}
	if name != "" && name != noTemplate {
		if source, err = readTemplate(name); err != nil {
			return err
		}
		c.Name = name
	}
	for id, token := range vocab.Tokens {
		if f.tok.IsCutOut(int32(id)) && strings.Contains(source, token) {
			c.Markers = append(c.Markers, token)
		}
	}
	switch name {
	case noTemplate:
	case "":
		o.Template = chat.ForModel(source, c)
	default:
		if o.Template, err = chat.New(source, c); err != nil {
			return fmt.Errorf("--chat-template %s: %w", printable.Text(name), err)
		}
	}
	return nil
}

// readTemplate reads the template that --chat-template names.
func readTemplate(name string) (string, error) {
	source, err := input.ReadFile(name, maxTemplate)
	if errors.Is(err, fs.ErrNotExist) {
		return "", usage.Errorf("--chat-template %s is no file, and no template that is built in; these are: %s, and none", printable.Text(name), strings.Join(ChatTemplates, ", "))
	}
	if err != nil {
		return "", fmt.Errorf("--chat-template: %w", err)
	}
	return string(source), nil
}

// options are the DataOptions as package dataset has them.
func (d *DataOptions) options(o *dataset.Options) (err error) {
	o.Format, o.MessagesField, o.SystemField, o.IgnoreKeys = d.Format, d.MessagesField, d.SystemField, d.IgnoreKeys
	o.KeepEmpty, o.SkipBad = d.KeepEmpty, d.SkipBad
	if err := o.Check(); err != nil {
		return usage.Errorf("--format: %v", err)
	}
	if o.TrainOn, err = dataset.ParseTrainOn(d.TrainOn); err != nil {
		return usage.Errorf("--train-on: %v", err)
	}
	if d.Long != "" {
		if o.Long, err = dataset.ParseLong(d.Long); err != nil {
			return usage.Errorf("--long: %v", err)
		}
	}
	return nil
}
