package chat

import (
	"errors"
	"fmt"

	"qtool/internal/printable"
)

// ErrTemplate is in the chain of every error about a template that is no valid
// Jinja, or needs more time or memory than a chat template may.
var ErrTemplate = errors.New("invalid chat template")

// ErrUnsupported is in the chain of every error about a conversation that is
// valid but that the template refuses, fails on, or does not decide.
var ErrUnsupported = errors.New("the chat template cannot be used")

// ErrConversation is in the chain of every error about messages that make no
// conversation.
var ErrConversation = errors.New("invalid conversation")

// templateError is about the source of a template; line 0 is unknown.
func templateError(line int, format string, args ...any) error {
	text := printable.Text(fmt.Sprintf(format, args...))
	if line > 0 {
		return fmt.Errorf("%w: line %d: %s", ErrTemplate, line, text)
	}
	return fmt.Errorf("%w: %s", ErrTemplate, text)
}

// refusal is what a template says with raise_exception.
type refusal struct{ message string }

func (r refusal) Error() string { return printable.Text(r.message) }

// failed is an operation that Python would not do, such as adding a number to a
// string.
type failed struct{ message string }

func (f failed) Error() string { return printable.Text(f.message) }

func failure(format string, args ...any) error { return failed{fmt.Sprintf(format, args...)} }

// exceeded says which bound a rendering passed.
func exceeded(what string) error {
	return fmt.Errorf("%w: %s, as no chat template does; rendering was stopped", ErrTemplate, what)
}

// explain turns an error of rendering into one for the user.
func explain(err error) error {
	var r refusal
	switch {
	case errors.Is(err, ErrTemplate):
		return err
	case errors.As(err, &r):
		return fmt.Errorf("%w: it refuses this conversation: %s", ErrUnsupported, r)
	}
	var f failed
	if errors.As(err, &f) {
		return fmt.Errorf("%w: it fails on this conversation: %w", ErrUnsupported, f)
	}
	return fmt.Errorf("%w: it fails on this conversation: %s", ErrUnsupported, printable.Text(err.Error()))
}
