package dataset

import (
	"fmt"

	"qtool/internal/chat"
)

// Conversations are those of package chat.
type (
	Message      = chat.Message
	ToolCall     = chat.ToolCall
	Conversation = chat.Conversation
	Training     = chat.Training
	Sequence     = chat.Sequence
	Segment      = chat.Segment
	Note         = chat.Note
)

// Template renders conversations, as [chat.Template] does. It is safe for concurrent use.
// String names it for the user.
type Template interface {
	fmt.Stringer
	// Render is the text of a conversation, with the header of an answer if generate.
	Render(c Conversation, generate bool) (string, error)
	// Sequences are the texts to train on so that the messages i of the assistant for
	// which learn(i) is true are learned as inference meets them.
	Sequences(c Conversation, learn func(message int) bool) (Training, error)
}
