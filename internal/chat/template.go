package chat

import (
	"errors"
	"fmt"
	"slices"
)

// ErrUnsupported is in the chain of every error about a template or a
// conversation that is valid but cannot be rendered yet.
var ErrUnsupported = errors.New("unsupported chat template")

// ErrConversation is in the chain of every error about messages that make no
// conversation, such as an unknown role.
var ErrConversation = errors.New("invalid conversation")

// Message is one turn.
type Message struct {
	Role    string // one of [Roles]
	Content string
}

// Roles are the roles a message may have.
func Roles() []string { return []string{"system", "user", "assistant", "tool"} }

// Span is a range of bytes [Start, End) of a rendered text.
type Span struct{ Start, End int }

// Rendered is a conversation as text.
type Rendered struct {
	Text string
	// Spans are what the assistant must learn to write, in order: the content of
	// each of its turns with the end-of-turn marker, without the header.
	Spans []Span
	// EndOfTurn is the marker that closes a turn. A vocabulary that does not hold
	// it as one token needs another way to know that the answer is over.
	EndOfTurn string
}

// Options of one rendering.
type Options struct {
	// Generate appends the header of an assistant turn, for the model to continue.
	Generate bool
}

// Template turns messages into text. String names it for the user.
type Template interface {
	fmt.Stringer
	// Render fails with [ErrConversation] or [ErrUnsupported].
	Render(messages []Message, opts Options) (Rendered, error)
}

func check(messages []Message) error {
	if len(messages) == 0 {
		return fmt.Errorf("%w: it has no messages", ErrConversation)
	}
	for i, m := range messages {
		if !slices.Contains(Roles(), m.Role) {
			return fmt.Errorf("%w: message %d has the role %q; expected one of %q", ErrConversation, i+1, m.Role, Roles())
		}
		if m.Role == "system" && i > 0 {
			return fmt.Errorf("%w: message %d is a system message; only the first may be one", ErrConversation, i+1)
		}
	}
	return nil
}
