package dataset

import (
	"fmt"

	"qtool/internal/chat"
)

// FromChat makes a template of package chat one of this package.
func FromChat(t chat.Template) Template { return plainTurns{t} }

// plainTurns is a template that knows roles and contents only.
type plainTurns struct{ chat.Template }

func (p plainTurns) render(c Conversation, generate bool) (chat.Rendered, error) {
	unknown := func(i int, key string) error {
		return fmt.Errorf("%w: message %d has %q, which needs the model's own chat template", chat.ErrUnsupported, i+1, key)
	}
	if len(c.Tools) > 0 {
		return chat.Rendered{}, fmt.Errorf(`%w: the record has "tools", which need the model's own chat template`, chat.ErrUnsupported)
	}
	messages := make([]chat.Message, len(c.Messages))
	for i, m := range c.Messages {
		switch {
		case len(m.ToolCalls) > 0:
			return chat.Rendered{}, unknown(i, "tool_calls")
		case m.Reasoning != "":
			return chat.Rendered{}, unknown(i, "reasoning_content")
		case m.Name != "":
			return chat.Rendered{}, unknown(i, "name")
		}
		if m.Role == "developer" {
			m.Role = "system"
		}
		messages[i] = chat.Message{Role: m.Role, Content: m.Content}
	}
	return p.Template.Render(messages, chat.Options{Generate: generate})
}

func (p plainTurns) Render(c Conversation, generate bool) (string, error) {
	r, err := p.render(c, generate)
	return r.Text, err
}

func (p plainTurns) Sequences(c Conversation, learn func(int) bool) (Training, error) {
	r, err := p.render(c, false)
	if err != nil {
		return Training{}, err
	}
	var s Sequence
	at, spans := 0, r.Spans
	for i, m := range c.Messages {
		if m.Role != "assistant" {
			continue
		}
		if learn(i) {
			s = append(s, Segment{r.Text[at:spans[0].Start], -1}, Segment{r.Text[spans[0].Start:spans[0].End], i})
			at = spans[0].End
		}
		spans = spans[1:]
	}
	if s == nil {
		return Training{}, nil
	}
	return Training{Sequences: []Sequence{append(s, Segment{r.Text[at:], -1})}}, nil
}
