package dialogue

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrInput is in the chain of errors about lines that make no message.
var ErrInput = errors.New("this is no message")

// Input is what a user said: a message, or a command.
type Input struct {
	Text    string // of the message
	Command string // without its slash; "" for a message
	Args    string // of the command
}

// quotes begin and end a message of several lines.
const quotes = `"""`

// Next makes an input of the next lines. line reads one without its end; more tells that it
// continues a message; what is pasted may be several lines at once. Empty lines are passed over. The rules:
//
//   - a line is a message;
//   - a line that ends with \ goes on in the next one;
//   - what stands between """ at the beginning of a line and """ at the end of one is a message as
//     it is, without the line ends next to the quotes;
//   - a line that begins with / is a command, but with // a message with one slash. A message of
//     several lines is neither.
//
// It returns io.EOF at the end, and any other error of line.
func Next(line func(more bool) (string, error)) (Input, error) {
	for {
		text, err := line(false)
		if err != nil {
			return Input{}, err
		}
		if body, ok := strings.CutPrefix(text, quotes); ok {
			return quoted(body, line)
		}
		for strings.HasSuffix(text, `\`) {
			next, err := line(true)
			if err != nil && err != io.EOF {
				return Input{}, err
			}
			text = strings.TrimSuffix(text, `\`) + "\n" + next
			if err == io.EOF {
				break
			}
		}
		switch {
		case strings.TrimSpace(text) == "":
		case strings.Contains(text, "\n"):
			return Input{Text: text}, nil
		case strings.HasPrefix(text, "//"):
			return Input{Text: text[1:]}, nil
		case strings.HasPrefix(text, "/"):
			name, args, _ := strings.Cut(text[1:], " ")
			return Input{Command: strings.TrimSpace(name), Args: strings.TrimSpace(args)}, nil
		default:
			return Input{Text: text}, nil
		}
	}
}

// quoted reads a message up to the quotes that end it.
func quoted(body string, line func(more bool) (string, error)) (Input, error) {
	for !strings.HasSuffix(strings.TrimRight(body, " \t"), quotes) {
		next, err := line(true)
		if err == io.EOF {
			return Input{}, fmt.Errorf(`%w: it begins with """, and no line ends with these`, ErrInput)
		}
		if err != nil {
			return Input{}, err
		}
		body += "\n" + next
	}
	text := strings.TrimSuffix(strings.TrimRight(body, " \t"), quotes)
	return Input{Text: strings.TrimSuffix(strings.TrimPrefix(text, "\n"), "\n")}, nil
}
