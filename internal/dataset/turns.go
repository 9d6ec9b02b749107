package dataset

import (
	"fmt"
	"slices"

	"qtool/internal/chat"
)

func (r chatRecord) tokenize(e *encoder, n *notices) ([]Example, error) {
	t := e.opts.Template
	if t == nil {
		return nil, fmt.Errorf("%w: %w", chat.ErrUnsupported, errNoTemplate)
	}
	n.empty += r.empty
	n.templated = true
	if e.opts.TrainOn.whole() {
		return r.tokenizeWhole(e, n)
	}
	if !slices.ContainsFunc(r.weights, func(w float32) bool { return w > 0 }) {
		_, err := t.Render(r.Conversation, false) // a record that is wrong is wrong though nothing of it is learned
		return nil, err
	}
	training, err := t.Sequences(r.Conversation, func(i int) bool { return r.weights[i] > 0 })
	if err != nil {
		return nil, err
	}
	if err := lost(training.Notes); err != nil {
		return nil, err
	}
	n.notes = append(n.notes, training.Notes...)
	w := turns{encoder: e, record: r, n: n}
	for _, s := range training.Sequences {
		if err := w.sequence(s); err != nil {
			return nil, err
		}
	}
	n.alone += max(0, len(w.examples)-1)
	return w.examples, nil
}

// lost refuses what a template leaves out of a conversation, where that changes what is
// learned: the record says it, so the user means it.
func lost(notes []chat.Note) error {
	keys := map[string]string{chat.LostReasoning: "reasoning_content", chat.LostCalls: "tool_calls", chat.LostTools: "tools"}
	for _, note := range notes {
		if key, ok := keys[note.Code]; ok {
			return fmt.Errorf("%w: %s; leave it out of the data, pass --ignore-key %s, or give a template that writes it with --chat-template", chat.ErrUnsupported, note.Text, key)
		}
	}
	return nil
}

// tokenizeWhole learns the rendered conversation.
func (r chatRecord) tokenizeWhole(e *encoder, n *notices) ([]Example, error) {
	for i, m := range r.Messages {
		if m.Role == "assistant" && r.weights[i] != r.weight {
			return nil, fmt.Errorf("%w: message %d has a weight of its own, which goes with --train-on assistant only", chat.ErrConversation, i+1)
		}
	}
	text, err := e.opts.Template.Render(r.Conversation, false)
	if err != nil {
		return nil, err
	}
	return e.whole(text, r.weight, n), nil
}

// turns makes examples of the sequences of one conversation.
//
// The tokens before an answer are those of the text before it, tokenized as a whole: that
// is what inference has. An answer whose prompt, tokenized so, does not begin with the
// tokens of the example at hand begins an example of its own. So does one that follows an
// answer whose marker is no special token: that answer is ended with EOS.
type turns struct {
	*encoder
	record   chatRecord
	n        *notices
	examples []Example
	doc      document
	before   prefix
	work     int // bytes tokenized
}

// maxWork bounds the text that one record may become by examples of its own.
const maxWork = 256 << 20

func (w *turns) sequence(s chat.Sequence) error {
	w.before = prefix{}
	answered := false // the text so far ends with an answer
	for i, segment := range s {
		weight := float32(0)
		if segment.Message >= 0 {
			weight = w.record.weights[segment.Message]
		}
		if weight == 0 {
			w.before.text = append(w.before.text, segment.Text...)
			answered = answered && segment.Text == ""
			continue
		}
		if !answered {
			if err := w.prompt(segment.Text); err != nil {
				return err
			}
		}
		ids := w.tok.Continue(segment.Text, true)
		w.doc.put(weight, ids...)
		w.before.text = append(w.before.text, segment.Text...)
		answered = true
		last := i == len(s)-1 || s[i+1].Message != segment.Message
		if closed := len(ids) > 0 && w.tok.Restarts(ids[len(ids)-1]); last && !closed {
			w.end(&w.doc, weight)
			w.flush()
		}
	}
	w.flush()
	return nil
}

// prompt brings the document to the tokens of the text before an answer.
func (w *turns) prompt(answer string) error {
	w.work += w.before.extend(w.encoder) + len(w.before.ids)/8
	if w.work > maxWork {
		return fmt.Errorf("%w: its answers need examples of their own, of %d MiB and more together; split it into several conversations", chat.ErrConversation, maxWork>>20)
	}
	if w.crossed(string(w.before.text[max(0, len(w.before.text)-2*borderReach):]), answer) {
		w.n.borders++
	}
	ids := w.withBOS(w.before.ids[:len(w.before.ids):len(w.before.ids)])
	if n := len(w.doc.ids); n > 0 && len(ids) >= n && slices.Equal(ids[:n], w.doc.ids) {
		w.doc.put(0, ids[n:]...)
		return nil
	}
	w.flush()
	w.doc.put(0, ids...)
	return nil
}

func (w *turns) flush() {
	w.examples = append(w.examples, w.doc.examples()...)
	w.doc = document{}
}

// prefix is the tokens of a text that grows.
type prefix struct {
	text   []byte
	ids    []int32
	starts []int
	done   int // bytes of the text that ids are of
}

// longestMarkup is more than the text of any special token has.
const longestMarkup = 256

// extend tokenizes the text that has come since, and reports how much text that took. It
// begins at the last special token that cannot be part of a longer one now.
func (p *prefix) extend(e *encoder) int {
	from := len(p.ids)
	for from--; from >= 0; from-- {
		if e.tok.Restarts(p.ids[from]) && p.done-p.starts[from] >= longestMarkup {
			break
		}
	}
	at := 0
	if from = max(from, 0); from > 0 {
		at = p.starts[from]
	}
	ids, starts := e.tok.Encode(string(p.text[at:]), true)
	p.ids = append(p.ids[:from], ids...)
	p.starts = p.starts[:from]
	for _, s := range starts {
		p.starts = append(p.starts, s+at)
	}
	p.done = len(p.text)
	return len(p.text) - at
}
