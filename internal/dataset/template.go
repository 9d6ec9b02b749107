package dataset

import (
	"encoding/json"
	"fmt"
)

// Message is one message of a conversation.
type Message struct {
	Role, Content, Reasoning, Name, ToolCallID string
	ToolCalls                                  []ToolCall
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
	// EndOfTurn is the text of the marker that the segments of answers end with, "" if
	// the template has none.
	EndOfTurn string
	Notes     []Note
}

// Sequence is one text in segments.
type Sequence []Segment

// Segment is text that message Message, the assistant's, was generated as; -1 is text
// that is only read.
type Segment struct {
	Text    string
	Message int
}

// Note is something a user should know about how a conversation was rendered.
type Note struct{ Code, Text string }
