package dataset

import (
	"encoding/json"
	"fmt"
)

// Message is one message of a conversation.
type Message struct {
	Role, Content string
	NoContent     bool // it has null for a content, or none
	Reasoning     string
	Name          string
	ToolCallID    string
	ToolCalls     []ToolCall
}

// ToolCall is one call of a tool by the assistant.
type ToolCall struct {
	ID, Name  string
	Arguments json.RawMessage
}

// Conversation is what a template renders.
type Conversation struct {
	Messages []Message
	Tools    json.RawMessage // the array as given; nil for none
	Vars     map[string]any  // variables of the template
}

// Template renders conversations. It is safe for concurrent use. String names it for the
// user.
type Template interface {
	fmt.Stringer
	// Render is the text of a conversation, with the header of an answer if generate.
	Render(c Conversation, generate bool) (string, error)
	// Sequences are the texts to train on so that the messages i of the assistant for
	// which learn(i) is true are learned as inference meets them.
	Sequences(c Conversation, learn func(message int) bool) (Training, error)
}

// Training is what to train on of one conversation.
type Training struct {
	Sequences []Sequence
	Notes     []Note
}

// Sequence is one text in segments.
type Sequence []Segment

// Segment is text that was generated as message Message, with the marker that ended it; -1
// is text that is only read.
type Segment struct {
	Text    string
	Message int
}

// Note is something a user should know about how message Message was rendered.
type Note struct {
	Code    string
	Message int
	Text    string
}
