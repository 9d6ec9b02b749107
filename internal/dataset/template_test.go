package dataset

import (
	"fmt"
	"strings"

	"qtool/internal/chat"
)

// allTemplate is a template that writes all that a conversation has.
type allTemplate struct {
	end       string // of turns; "" is <|im_end|>
	separator string // between a header and what follows, "" is a line break
	forgets   bool   // past turns lose their reasoning, so that each answer is a sequence
}

func (allTemplate) String() string { return "everything" }

func (t allTemplate) header(role string) string {
	if t.separator != "" {
		return "<|im_start|>" + role + t.separator
	}
	return "<|im_start|>" + role + "\n"
}

func (t allTemplate) body(m chat.Message, past bool) string {
	var b strings.Builder
	if m.Reasoning != "" && !(past && t.forgets) {
		b.WriteString("{" + m.Reasoning + "}")
	}
	b.WriteString(m.Content)
	for _, c := range m.ToolCalls {
		fmt.Fprintf(&b, "[%s %s %s]", c.ID, c.Name, c.Arguments)
	}
	if t.end == "" {
		return b.String() + "<|im_end|>"
	}
	return b.String() + t.end
}

// segments are the whole conversation, of which those messages that learn wants are generated.
func (t allTemplate) segments(c chat.Conversation, learn func(int) bool) (s chat.Sequence, err error) {
	read := ""
	if c.Tools != nil {
		read = "tools=" + string(c.Tools) + "\n"
	}
	for i, m := range c.Messages {
		if m.Role == "nobody" {
			return nil, fmt.Errorf("%w: nobody speaks", chat.ErrUnsupported)
		}
		read += t.header(m.Role)
		if m.Name != "" || m.ToolCallID != "" {
			read += "(" + m.Name + m.ToolCallID + ")"
		}
		if body := t.body(m, i < len(c.Messages)-1); learn(i) {
			s = append(s, chat.Segment{Text: read, Message: -1}, chat.Segment{Text: body, Message: i})
			read = "\n"
		} else {
			read += body + "\n"
		}
	}
	return append(s, chat.Segment{Text: read, Message: -1}), nil
}

func (t allTemplate) Render(c chat.Conversation, generate bool) (string, error) {
	s, err := t.segments(c, func(int) bool { return false })
	if err != nil {
		return "", err
	}
	text := s[0].Text
	if generate {
		text += t.header("assistant")
	}
	return text, nil
}

func (t allTemplate) Sequences(c chat.Conversation, learn func(int) bool) (out chat.Training, err error) {
	if !t.forgets {
		s, err := t.segments(c, learn)
		return chat.Training{Sequences: []chat.Sequence{s}}, err
	}
	for i := range c.Messages {
		if !learn(i) {
			continue
		}
		upTo := chat.Conversation{Messages: c.Messages[:i+1], Tools: c.Tools}
		s, err := t.segments(upTo, func(j int) bool { return j == i })
		if err != nil {
			return out, err
		}
		out.Sequences = append(out.Sequences, s)
	}
	out.Notes = []chat.Note{{Code: chat.PerTurn, Text: "past answers lose their reasoning"}}
	return out, nil
}
