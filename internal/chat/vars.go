package chat

import (
	"encoding/json"
	"fmt"
	"strings"

	"qtool/internal/printable"
)

// ParseVar reads a variable of a template written as name=value. The value is
// JSON if it can be read as such (true, 3, "text", {"a":1}), else a text.
func ParseVar(text string) (name string, value any, err error) {
	name, raw, ok := strings.Cut(text, "=")
	if n := nameLength(name); !ok || n == 0 || n != len(name) {
		return "", nil, fmt.Errorf("%s is no variable of a template; expected name=value, such as enable_thinking=false", printable.Text(text))
	}
	switch strings.TrimFunc(raw, isSpace) {
	case "True":
		return name, true, nil
	case "False":
		return name, false, nil
	case "None":
		return name, nil, nil
	}
	if _, err := fromJSON([]byte(raw)); err == nil {
		return name, json.RawMessage(raw), nil
	}
	return name, raw, nil
}
