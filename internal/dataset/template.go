package dataset

import (
	"fmt"

	"qtool/internal/chat"
)

// Template renders conversations, as a [chat.Template] does. It is safe for concurrent
// use. String names it for the user.
type Template interface {
	fmt.Stringer
	// Render is the text of a conversation, with the header of an answer if generate.
	Render(c chat.Conversation, generate bool) (string, error)
	// Sequences are the texts to train on so that the messages i of the assistant for
	// which learn(i) is true are learned as inference meets them.
	Sequences(c chat.Conversation, learn func(message int) bool) (chat.Training, error)
}
