package chat

import (
	"fmt"
	"strings"
)

const (
	startOfTurn = "<|im_start|>"
	endOfTurn   = "<|im_end|>"
)

// chatML writes each message as
//
//	<|im_start|>role\ncontent<|im_end|>\n
type chatML struct {
	name   string
	bos    string // written before the first turn, often ""
	system string // content of the system turn of a conversation that has none, "" for no turn
	tools  bool   // whether tool messages are turns like any other
}

// ChatML is the format for models that have no template of their own.
func ChatML() Template {
	return chatML{name: "ChatML (the model has no template)", tools: true}
}

func (c chatML) String() string { return c.name }

func (c chatML) Render(messages []Message, opts Options) (Rendered, error) {
	if err := check(messages); err != nil {
		return Rendered{}, err
	}
	var text strings.Builder
	out := Rendered{EndOfTurn: endOfTurn}
	turn := func(role, content string) Span {
		text.WriteString(startOfTurn + role + "\n")
		start := text.Len()
		text.WriteString(content + endOfTurn)
		end := text.Len()
		text.WriteString("\n")
		return Span{start, end}
	}
	text.WriteString(c.bos)
	if c.system != "" && messages[0].Role != "system" {
		turn("system", c.system)
	}
	for i, m := range messages {
		if m.Role == "tool" && !c.tools {
			return Rendered{}, fmt.Errorf("%w: message %d is a tool's, which the model's own template writes in a form of its own; leave such conversations out", ErrUnsupported, i+1)
		}
		span := turn(m.Role, m.Content)
		if m.Role == "assistant" {
			out.Spans = append(out.Spans, span)
		}
	}
	if opts.Generate {
		text.WriteString(startOfTurn + "assistant\n")
	}
	out.Text = text.String()
	return out, nil
}
