// Package dialogue keeps a conversation with a model: it says which tokens the model is to read
// for the next answer, chooses the chat template, forgets the oldest of the conversation where the
// context is full, and makes messages of lines that users type. It computes nothing with the
// model, opens no models and never prints.
package dialogue

import (
	"errors"
	"fmt"
	"strings"

	"qtool/internal/chat"
	"qtool/internal/dataset"
	"qtool/internal/tokenizer"
)

// ErrTooLong is in the chain of the error about a message that leaves no room for an answer.
var ErrTooLong = errors.New("the context is too short")

// Dialogue is a conversation. The tokens of its prompts are those that training makes of the same
// messages.
type Dialogue struct {
	tok      *tokenizer.Tokenizer
	template *chat.Template // nil: every message is a text of its own
	system   string
	history  []chat.Message // of the user and the assistant in turn
}

// New begins a conversation. Without a template (nil) every message is a text by itself, which
// the model continues.
func New(tok *tokenizer.Tokenizer, template *chat.Template) *Dialogue {
	return &Dialogue{tok: tok, template: template}
}

// Turn is what the model is to read for an answer.
type Turn struct {
	Tokens    []int32
	Text      string // that the tokens are of
	Forgotten int    // exchanges that had to be left out of the history

	question string
	history  []chat.Message // that is still there
}

// Ask is the next turn of the conversation, in a context of so many tokens. If the whole history
// leaves less than room tokens for the answer, its oldest exchanges are left out until at most
// half of the context is taken, so that this happens seldom: each time, all is to be read again.
// [Dialogue.Keep] makes the turn part of the history; until then nothing has changed.
func (d *Dialogue) Ask(question string, context, room int) (*Turn, error) {
	t := &Turn{question: question, history: d.history}
	if err := t.read(d); err != nil {
		return nil, err
	}
	if len(t.Tokens)+max(1, room) > context {
		for len(t.history) > 0 && len(t.Tokens) > context/2 {
			t.history = t.history[2:]
			t.Forgotten++
			if err := t.read(d); err != nil {
				return nil, err
			}
		}
	}
	if n := len(t.Tokens); n >= context {
		return nil, fmt.Errorf("%w: the message alone makes a prompt of %d tokens, and the context has %d, with the answer", ErrTooLong, n, context)
	}
	return t, nil
}

// read makes the tokens of the turn.
func (t *Turn) read(d *Dialogue) (err error) {
	t.Text = t.question
	if d.template != nil {
		if t.Text, err = d.template.Render(d.conversation(t), true); err != nil {
			return err
		}
	}
	t.Tokens = dataset.Start(dataset.ForTokenizer(d.tok), t.Text)
	return nil
}

func (d *Dialogue) conversation(t *Turn) (c chat.Conversation) {
	if d.system != "" {
		c.Messages = append(c.Messages, chat.Message{Role: "system", Content: d.system})
	}
	c.Messages = append(c.Messages, t.history...)
	c.Messages = append(c.Messages, chat.Message{Role: "user", Content: t.question})
	return c
}

// Keep makes a turn and its answer, as far as it came, part of the conversation.
func (d *Dialogue) Keep(t *Turn, answer string) {
	if d.template == nil {
		return
	}
	c := d.conversation(t)
	message := d.template.Answer(t.Text, answer)
	// Templates that write a blank before an answer leave it to the model in the prompt. Of such
	// an answer the content is without it, as in the data that models learn from.
	for _, content := range []string{answer, strings.TrimLeft(answer, " "), strings.TrimSpace(answer)} {
		m := d.template.Answer(t.Text, content)
		text, err := d.template.Render(chat.Conversation{Messages: append(c.Messages[:len(c.Messages):len(c.Messages)], m)}, false)
		if err == nil && strings.HasPrefix(text, t.Text+strings.TrimRight(answer, " \n")) {
			message = m
			break
		}
	}
	d.history = append(t.history[:len(t.history):len(t.history)], chat.Message{Role: "user", Content: t.question}, message)
}

// Exchanges is the number of questions and answers in the conversation.
func (d *Dialogue) Exchanges() int { return len(d.history) / 2 }

// Template names the template for the user; "" if there is none.
func (d *Dialogue) Template() string {
	if d.template == nil {
		return ""
	}
	return d.template.String()
}

// Reset forgets all but the system message.
func (d *Dialogue) Reset() { d.history = nil }

// System is the system message, "" for none.
func (d *Dialogue) System() string { return d.system }

// SetSystem sets the system message, or takes it away if text is "". shown reports whether the
// template writes it. It fails where there is no template, or where the template refuses it; the
// message is then as before.
func (d *Dialogue) SetSystem(text string) (shown bool, err error) {
	if d.template == nil {
		return false, fmt.Errorf("%w: without a chat template there is no place for a system message", chat.ErrUnsupported)
	}
	before := d.system
	d.system = text
	t := Turn{question: "?"}
	if err := t.read(d); err != nil {
		d.system = before
		return false, err
	}
	return strings.Contains(t.Text, strings.TrimSpace(text)), nil
}

// Ends are the tokens and texts by which the template ends an answer. The tokens that end one by
// the vocabulary are not among them.
func (d *Dialogue) Ends() (tokens []int32, texts []string) {
	if d.template == nil {
		return nil, nil
	}
	training, err := d.template.Sequences(chat.Conversation{Messages: []chat.Message{
		{Role: "user", Content: "?"}, {Role: "assistant", Content: "!"},
	}}, func(int) bool { return true })
	stop := strings.TrimSpace(training.Stop)
	if err != nil || stop == "" {
		return nil, nil
	}
	switch id, ok := d.tok.Find(stop); {
	case !ok || !d.tok.IsCutOut(id):
		return nil, []string{stop}
	case d.tok.IsEOG(id):
		return nil, nil
	default:
		return []int32{id}, nil
	}
}
