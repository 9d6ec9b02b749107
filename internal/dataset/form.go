package dataset

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// form is one way to write a record.
type form struct {
	name  string
	keys  []string // all of which must be there
	parse func(p *parser, f *fields, keys []string) (record, error)
}

func (f form) String() string { return `{"` + strings.Join(f.keys, `","`) + `"}` }

func (f form) fits(o object) bool {
	for _, k := range f.keys {
		if _, ok := o[k]; !ok {
			return false
		}
	}
	return true
}

// missing is the first key that o lacks.
func (f form) missing(o object) string {
	for _, k := range f.keys {
		if _, ok := o[k]; !ok {
			return k
		}
	}
	return ""
}

// usual lists the accepted forms; a record that fits several is the first of them.
var usual = []form{
	{"tokens", []string{"input_ids"}, parseTokens},
	{"preference", []string{"chosen", "rejected"}, refusePreference},
	{"preference", []string{"chosen"}, refusePreference},
	{"preference", []string{"rejected"}, refusePreference},
	{"messages", []string{"messages"}, parseMessages},
	{"sharegpt", []string{"conversations"}, parseMessages},
	{"sharegpt", []string{"conversation"}, parseMessages},
	{"prompt-completion", []string{"prompt", "completion"}, parsePrompt},
	{"alpaca", []string{"instruction", "output"}, parseInstruction},
	{"instruction-response", []string{"instruction", "response"}, parseInstruction},
	{"question-answer", []string{"question", "answer"}, parseQuestion},
	{"query-response", []string{"query", "response"}, parseQuestion},
	{"prompt-response", []string{"prompt", "response"}, parsePrompt},
	{"text", []string{"text"}, parseText},
}

// Formats are the names that [Options].Format takes.
func Formats() (names []string) {
	for _, f := range usual {
		if !slices.Contains(names, f.name) && f.name != "preference" {
			names = append(names, f.name)
		}
	}
	return names
}

// forms lists the forms to try. One whose keys the user named comes before all others.
func (o *Options) forms() ([]form, error) {
	forms := slices.Clone(usual)
	if o.TextField != "" {
		forms = slices.Insert(forms, 0, form{"text", []string{o.TextField}, parseText})
	}
	if o.PromptField != "" || o.CompletionField != "" {
		forms = slices.Insert(forms, 0, form{"prompt-completion", []string{cmp.Or(o.PromptField, "prompt"), cmp.Or(o.CompletionField, "completion")}, parsePrompt})
	}
	if o.MessagesField != "" {
		forms = slices.Insert(forms, 0, form{"messages", []string{o.MessagesField}, parseMessages})
	}
	if o.Format == "" {
		return forms, nil
	}
	forms = slices.DeleteFunc(forms, func(f form) bool { return f.name != o.Format })
	if len(forms) == 0 || o.Format == "preference" {
		return nil, fmt.Errorf("the format %q of records is not known; expected one of %s", o.Format, strings.Join(Formats(), ", "))
	}
	return forms, nil
}

// Check finds options that make no sense.
func (o *Options) Check() error {
	_, err := o.forms()
	return err
}

// parser reads objects as records.
type parser struct {
	opts   *Options
	forms  []form
	unused []unusedKey // of the record at hand
}

// parsed is a record and the name of its form.
type parsed struct {
	record
	form string
}

// parse reads an object as a record of the first form that fits. strings says that all
// values are strings, as in a table.
func (p *parser) parse(at place, o object, strings bool) (parsed, error) {
	p.unused = p.unused[:0]
	o = p.withoutIgnored(o)
	i := slices.IndexFunc(p.forms, func(f form) bool { return f.fits(o) })
	if i < 0 {
		return parsed{}, bad(at, "%s", p.unknown(o))
	}
	form := p.forms[i]
	f := &fields{object: o, strings: strings}
	if err := refuseKTO(f); err != nil {
		return parsed{}, bad(at, "%v", err)
	}
	r, err := form.parse(p, f, form.keys)
	if err != nil {
		return parsed{}, bad(at, "%v", err)
	}
	if err := p.checkKeys(f, form, r); err != nil {
		return parsed{}, bad(at, "%v", err)
	}
	return parsed{r, form.name}, nil
}

// unknown says why no form fits.
func (p *parser) unknown(o object) string {
	var b strings.Builder
	fmt.Fprintf(&b, "the record has the keys %q; expected ", firstKeys(o))
	accepted := make([]string, 0, len(p.forms))
	lacks := ""
	for _, f := range p.forms {
		if f.name == "preference" {
			continue
		}
		accepted = append(accepted, f.String())
		if _, begins := o[f.keys[0]]; begins && lacks == "" && len(f.keys) > 1 {
			lacks = fmt.Sprintf("; for %s it lacks %q", f, f.missing(o))
		}
	}
	if len(accepted) > 1 {
		b.WriteString("one of the forms ")
	}
	b.WriteString(strings.Join(accepted, ", ") + lacks)
	b.WriteString("; --prompt-field, --completion-field, --messages-field and --text-field name other keys")
	return b.String()
}
