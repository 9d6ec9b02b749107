package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"qtool/internal/printable"
)

// Request says what model is to be made, and of what.
type Request struct {
	Model string `json:"model"`
	// From is a model that the server has; else Files are blobs by the names of their files.
	From     string            `json:"from,omitempty"`
	Files    map[string]string `json:"files,omitempty"`
	Adapters map[string]string `json:"adapters,omitempty"`

	Template   string         `json:"template,omitempty"`
	System     string         `json:"system,omitempty"`
	Licenses   []string       `json:"license,omitempty"`
	Parameters map[string]any `json:"parameters,omitempty"`
	// Renderer and Parser name code of Ollama that stands in for a template.
	Renderer string `json:"renderer,omitempty"`
	Parser   string `json:"parser,omitempty"`
}

// line is one line of the answer to a [Request].
type line struct {
	Status    string `json:"status"`
	Error     string `json:"error"`
	Total     int64  `json:"total"`
	Completed int64  `json:"completed"`
}

// Create makes a model of blobs that the server has. It has been made if the result is
// nil: an error in any line, or an answer that ends before it says so, is one.
func (c *Client) Create(ctx context.Context, r Request, w Watch) error {
	doing := "creating " + r.Model
	return c.retry(ctx, w.note, func() error {
		return c.guard(ctx, func(ctx context.Context, report func(func())) error {
			resp, err := c.do(ctx, doing, http.MethodPost, "/api/create", r)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			lines := bufio.NewScanner(resp.Body)
			lines.Buffer(nil, maxLine)
			success, err := readLines(doing, lines, func(text string) { report(func() { w.status(text) }) })
			switch {
			case err != nil && !errors.As(err, new(*Error)):
				return c.cut(ctx, doing, err)
			case err == nil && !success:
				return c.cut(ctx, doing, fmt.Errorf("the answer ends without success: %w", io.ErrUnexpectedEOF))
			}
			return err
		})
	})
}

// readLines reads all lines, and returns the first error among them. status is told the
// others. success says that the last line was that of success.
func readLines(doing string, lines *bufio.Scanner, status func(string)) (success bool, first error) {
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			continue
		}
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			l.Error = "a line that is not its JSON: " + printable.Quote(lines.Text())
		}
		success = l.Status == "success" && l.Error == ""
		switch {
		case l.Error != "" && first == nil:
			first = &Error{doing, http.StatusOK, l.Error}
		case l.Total > 0:
			status(fmt.Sprintf("%s: %d%%", l.Status, int(100*float64(l.Completed)/float64(l.Total))))
		default:
			status(l.Status)
		}
	}
	if first == nil {
		first = lines.Err()
	}
	return success, first
}
