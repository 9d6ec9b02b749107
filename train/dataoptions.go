package train

import (
	"qtool/internal/chat"
	"qtool/internal/dataset"
	"qtool/internal/records"
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

// useTemplate sets the template that conversations, and prompts with their answers, go
// through.
func (f *tuning) useTemplate(o *dataset.Options) error {
	name := f.ChatTemplate
	o.TemplatePairs = name != dataset.NoTemplate && (name != "" || f.tok.Vocab().ChatTemplate != "")
	t, err := dataset.TemplateOf(f.tok, name, f.TemplateVars)
	if t != nil {
		o.Template = t
	}
	return err
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
