package dialogue

import (
	"fmt"
	"slices"

	"qtool/fixtures"
	"qtool/gguf"
	"qtool/internal/chat"
	"qtool/internal/dataset"
	"qtool/internal/printable"
	"qtool/internal/tokenizer"
	"qtool/lora"
)

// Choice is what decides on the template of a conversation.
type Choice struct {
	Name     string         // a template that is built in, a file in Jinja, or "none"; "" to choose
	Vars     map[string]any // variables of the template
	Embedded bool           // the model is the one that the program carries
	Adapters []*gguf.Metadata
}

// Chosen is a template, nil for none, and why.
type Chosen struct {
	Template *chat.Template
	Why      string
}

// Choose chooses the template: the one that is named, or else the one with which the adapters
// were trained, or else the model's own. A model without any gets ChatML if its vocabulary has the
// markers of ChatML, and no template if it has not: markers that a model never saw mislead it.
func Choose(tok *tokenizer.Tokenizer, c Choice) (Chosen, error) {
	if c.Name != "" {
		return named(tok, c, c.Name, "--chat-template")
	}
	for _, md := range c.Adapters {
		if name, ok := trainedWith(md, c.Embedded); ok {
			return byAdapter(tok, c, name)
		}
	}
	return byModel(tok, c)
}

// question stands for the template of the embedded model.
const question = "question"

// named is the template of a name.
func named(tok *tokenizer.Tokenizer, c Choice, name, why string) (Chosen, error) {
	t, err := dataset.TemplateOf(tok, name, c.Vars)
	return Chosen{t, why}, err
}

// byModel is the template that suits the model.
func byModel(tok *tokenizer.Tokenizer, c Choice) (Chosen, error) {
	switch {
	case c.Embedded:
		t, err := dataset.TemplateFrom(tok, "the embedded model's questions, each by itself", fixtures.ChatTemplate, c.Vars)
		return Chosen{t, "the model learned these"}, err
	case tok.Vocab().ChatTemplate != "":
		return named(tok, c, "", "")
	}
	for _, marker := range []string{"<|im_start|>", "<|im_end|>"} {
		if id, ok := tok.Find(marker); !ok || !tok.IsCutOut(id) {
			return Chosen{nil, "the model has no template"}, nil
		}
	}
	return named(tok, c, "chatml", "the model has no template, but the markers of this one")
}

// modelsOwn is recorded for the template of the base.
const modelsOwn = "model"

// trainedWith is the template that the examples of an adapter went through: "model", a name, or
// "none". It is not ok where the adapter does not say.
func trainedWith(md *gguf.Metadata, embedded bool) (name string, ok bool) {
	switch t, ok := lora.RecordedTraining(md); {
	case t.Template != "":
		return t.Template, true
	case embedded && slices.Equal(t.Data, []string{"embedded"}):
		return question, true
	default:
		return dataset.NoTemplate, ok
	}
}

// byAdapter is the template that an adapter was trained with.
func byAdapter(tok *tokenizer.Tokenizer, c Choice, name string) (Chosen, error) {
	const why = "the adapter was trained with it"
	switch {
	case name == modelsOwn || name == question:
		return byModel(tok, c)
	case name == dataset.NoTemplate:
		return Chosen{nil, "the adapter was trained without one"}, nil
	}
	if t, ok := chat.Named(name, chat.Options{}); ok && t != nil {
		return named(tok, c, name, why)
	}
	chosen, err := byModel(tok, c)
	chosen.Why = fmt.Sprintf("the adapter was trained with %s, which --chat-template can give", printable.Quote(name))
	return chosen, err
}
