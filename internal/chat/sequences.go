package chat

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Segment is a text that is tokenized by itself.
type Segment struct {
	Text string
	// Message is the index of the assistant's message that the text was generated
	// for; -1 for what was only read.
	Message int
}

// Sequence is a text to train on.
type Sequence []Segment

// Text is the whole text of a sequence.
func (s Sequence) Text() string {
	var w strings.Builder
	for _, segment := range s {
		w.WriteString(segment.Text)
	}
	return w.String()
}

// Training is what a conversation gives.
type Training struct {
	Sequences []Sequence
	Notes     []Note
	// Stop is the text that ends the last answer learned, such as <|im_end|>; "" if
	// the template has none, and then an answer needs the EOS token to end.
	Stop string
}

// Sequences returns the texts to train on, so that the assistant's messages i for
// which learn(i) is true are learned as inference meets them: after the prompt
// that the template makes of the messages before, up to the marker that ends a
// turn, which is learned too.
//
// It is one sequence where the rendering of the whole conversation holds every
// turn after its prompt; where it shows a past turn otherwise, every turn is a
// sequence of its own, and a note says so. It fails with [ErrUnsupported] where
// the template refuses the conversation or does not decide what was generated.
func (t *Template) Sequences(c Conversation, learn func(message int) bool) (Training, error) {
	d, err := t.data(c)
	if err != nil {
		return Training{}, err
	}
	return d.sequences(learn)
}

func (d *data) sequences(learn func(message int) bool) (Training, error) {
	var learned []int
	for i, m := range d.conversation.Messages {
		if m.Role == "assistant" && learn(i) {
			learned = append(learned, i)
		}
	}
	if len(learned) == 0 {
		return Training{}, nil
	}
	turns, err := d.turns(learned)
	if err != nil {
		return Training{}, err
	}
	out := Training{Notes: d.losses(turns), Stop: turns[len(turns)-1].ending.stop}
	if whole, why := d.whole(turns); why == "" {
		out.Sequences = []Sequence{whole}
		return out, nil
	} else if len(turns) > 1 {
		out.Notes = append(out.Notes, Note{PerTurn, turns[0].message, why + "; each of the answers is an example of its own"})
	}
	for _, turn := range turns {
		out.Sequences = append(out.Sequences, Sequence{{turn.prompt, -1}, {turn.text, turn.message}})
	}
	return out, nil
}

// turn is what is known of one learned message.
type turn struct {
	message int
	d       *data  // with the variables that it was rendered with
	prompt  string // what inference sees
	text    string // what the model generates, with the stop marker
	full    string // the rendering up to and with the message
	ending  ending
	notes   []Note
}

// turns decides every learned message. A message that needs a variable gets it,
// and then all messages if that suits them too.
func (d *data) turns(learned []int) ([]turn, error) {
	if err := d.follow(learned[len(learned)-1]); err != nil {
		return nil, err
	}
	all := make([]turn, 0, len(learned))
	var switched *data
	for _, i := range learned {
		one, err := d.turn(i)
		var u undecided
		if errors.As(err, &u) {
			one, err = d.switchThinking(i, u)
		}
		if err != nil {
			return nil, err
		}
		if one.d != d {
			switched = one.d
		}
		all = append(all, one)
	}
	if switched == nil {
		return all, nil
	}
	same := make([]turn, 0, len(learned))
	if err := switched.follow(learned[len(learned)-1]); err != nil {
		return nil, err
	}
	for _, i := range learned {
		one, err := switched.turn(i)
		if err != nil {
			return all, nil
		}
		same = append(same, one)
	}
	same[0].notes = append(same[0].notes, switched.switched)
	return same, nil
}

// whole makes one sequence of all turns, or says why it cannot.
func (d *data) whole(turns []turn) (Sequence, string) {
	last := turns[len(turns)-1]
	var s Sequence
	at := 0
	for i, turn := range turns {
		if turn.d != last.d {
			return nil, "the answers need different variables of the template"
		}
		if !strings.HasPrefix(last.full, turn.prompt) || len(turn.prompt) < at {
			return nil, fmt.Sprintf("the template shows what is before message %d otherwise than inference sees it there", turn.message+1)
		}
		if i < len(turns)-1 {
			text, ok := turn.in(last.full[len(turn.prompt):])
			if !ok {
				return nil, fmt.Sprintf("the template shows message %d otherwise than it is generated once others follow", turn.message+1)
			}
			turn.text = text
		}
		if read := turn.prompt[at:]; read != "" {
			s = append(s, Segment{read, -1})
		}
		s = append(s, Segment{turn.text, turn.message})
		at = len(turn.prompt) + len(turn.text)
	}
	return s, ""
}

// in finds the turn's text at the beginning of a later rendering. A template
// without a marker for the end of a turn ends it with the header of whatever
// comes next.
func (t turn) in(later string) (string, bool) {
	if strings.HasPrefix(later, t.text) {
		return t.text, true
	}
	body := strings.TrimSuffix(t.text, t.ending.stop)
	if !t.ending.past || !strings.HasPrefix(later, body) {
		return "", false
	}
	at, end, ok := firstMarker(later[len(body):], t.d.t.options.Markers)
	if !ok || at > 0 {
		return "", false
	}
	return later[:len(body)+end], true
}

// follow makes the renderings for the last message, from which those for the
// messages before it may follow.
// It fails only if the template is at fault: what one conversation is refused for
// may not matter to the others.
func (d *data) follow(last int) error {
	var err error
	if d.prompts, err = d.trace(last, true); errors.Is(err, ErrTemplate) {
		return err
	} else if err != nil {
		d.prompts = nil
	}
	if d.wholes, err = d.trace(last+1, false); errors.Is(err, ErrTemplate) {
		return err
	} else if err != nil {
		d.wholes = nil
	}
	return nil
}

// prompt is what inference sees before message i.
func (d *data) prompt(i int) (string, error) {
	if text, ok := d.prompts.of(i, d.wholes); ok {
		return text, nil
	}
	return d.render(i, true)
}

// upTo is the rendering up to and with message i.
func (d *data) upTo(i int) (string, error) {
	if text, ok := d.wholes.of(i+1, d.wholes); ok {
		return text, nil
	}
	return d.render(i+1, false)
}

// turn decides what was generated for message i.
func (d *data) turn(i int) (turn, error) {
	t := turn{message: i, d: d}
	var err error
	if t.prompt, err = d.prompt(i); err != nil {
		return t, fmt.Errorf("rendering the prompt of message %d: %w", i+1, err)
	}
	if t.full, err = d.upTo(i); err != nil {
		return t, fmt.Errorf("rendering message %d: %w", i+1, err)
	}
	rest, isPrefix := strings.CutPrefix(t.full, t.prompt)
	if !isPrefix {
		if rest, err = d.beyondThinking(i, &t); err != nil {
			return t, err
		}
	}
	if t.ending, err = d.ending(i, rest); err != nil {
		return t, err
	}
	t.text = t.ending.cut(rest)
	if isPrefix && t.insideThinking() {
		t.notes = append(t.notes, Note{InsideThinking, i, fmt.Sprintf("the prompt of message %d opens a block of reasoning that the answer does not close", i+1)})
	}
	if t.ending.inside(t.text) {
		t.notes = append(t.notes, Note{StopInside, i, fmt.Sprintf("message %d has a marker that ends a turn before its end", i+1)})
	}
	return t, nil
}

// replaced is the list of the first n messages with message i replaced, and more
// after them.
func (d *data) replaced(n, i int, m Message, more ...Message) ([]value, error) {
	list := slices.Clone(d.messages[:n])
	v, err := d.message(m)
	if err != nil {
		return nil, err
	}
	list[i] = v
	for _, m := range more {
		v, err := d.message(m)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}
