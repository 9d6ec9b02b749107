package chat

import (
	"fmt"
	"strings"
)

// Note says what a template does to a conversation that the user may not expect.
type Note struct {
	Code    string // one of the constants
	Message int    // index of the message
	Text    string
}

// Codes of notes.
const (
	PerTurn        = "per-turn"        // each answer is an example of its own
	ClosedThinking = "closed-thinking" // the prompt ends with an empty block of reasoning
	OpeningLeftOut = "opening-left-out"
	InsideThinking = "inside-thinking" // the answer stands in an open block of reasoning
	Variable       = "variable"        // a variable of the template was set
	StopInside     = "stop-inside"     // the end marker occurs inside a turn
	LostContent    = "lost-content"
	LostReasoning  = "lost-reasoning"
	LostCalls      = "lost-calls"
	LostMessage    = "lost-message" // an earlier message is not in the prompt
	LostTools      = "lost-tools"   // the tools are not in the prompt
	Trimmed        = "trimmed"      // without its outer blanks
	Renamed        = "renamed-role" // a role that the template does not know was replaced
)

// losses collects the notes of turns, and looks whether all that the data have is
// in the text.
func (d *data) losses(turns []turn) []Note {
	var all []Note
	for _, t := range turns {
		all = append(all, t.notes...)
		if t.d != d && len(t.notes) == 0 {
			all = append(all, t.d.switched)
		}
		all = append(all, d.lost(t)...)
	}
	last := turns[len(turns)-1]
	if name := d.toolName(); name != "" && !strings.Contains(last.prompt, name) {
		all = append(all, Note{LostTools, last.message, fmt.Sprintf("the template leaves out the tools, such as %s", name)})
	}
	for j, m := range d.conversation.Messages[:last.message] {
		if role := d.t.role(m.Role); role != m.Role {
			all = append(all, Note{Renamed, j, fmt.Sprintf("message %d has the role %q, which the template does not know; it is written as %q", j+1, m.Role, role)})
		}
		if m.Role != "assistant" && !shown(last.prompt, m.Content) {
			all = append(all, Note{LostMessage, j, fmt.Sprintf("message %d, of the role %q, is not in the text that the template makes", j+1, m.Role)})
		}
	}
	return all
}

// toolName is the name of the first tool, "" if there is none.
func (d *data) toolName() string {
	tools := d.vars["tools"]
	if !tools.IsList() {
		return ""
	}
	tool := element(tools, 0)
	if !tool.IsDict() {
		return ""
	}
	if f, ok := tool.AsDict().Get("function"); ok && f.IsDict() {
		tool = f
	}
	if name, ok := tool.AsDict().Get("name"); ok && name.IsString() {
		return name.AsString()
	}
	return ""
}

// lost compares a turn with its message.
func (d *data) lost(t turn) []Note {
	var all []Note
	note := func(code, format string, args ...any) {
		all = append(all, Note{code, t.message, fmt.Sprintf("message %d: ", t.message+1) + fmt.Sprintf(format, args...)})
	}
	m := d.conversation.Messages[t.message]
	reasoning, content := m.Reasoning, m.Content
	if inline := inlineReasoning(content); inline != "" {
		reasoning = inline
		_, content, _ = strings.Cut(content, "</think>")
		content = strings.TrimLeftFunc(content, isSpace)
	}
	switch trimmed := strings.TrimFunc(content, isSpace); {
	case !shown(t.text, content):
		note(LostContent, "the template leaves out or changes its content")
	case trimmed != content && !strings.Contains(t.text, content):
		note(Trimmed, "the template removes blanks around its content")
	}
	if !shown(t.text, reasoning) {
		note(LostReasoning, "the template leaves out its reasoning")
	}
	for i, c := range m.ToolCalls {
		if !strings.Contains(t.text, c.Name) || strings.Count(t.text, c.Name) < sameCalls(m.ToolCalls[:i+1], c) {
			note(LostCalls, "the template leaves out the call of %s", c.Name)
		}
	}
	return all
}

// sameCalls counts the calls of the same tool.
func sameCalls(calls []ToolCall, c ToolCall) int {
	n := 0
	for _, other := range calls {
		if other.Name == c.Name {
			n++
		}
	}
	return n
}

// shown says whether a content is in a text but for blanks around it, or as a
// JSON string.
func shown(text, content string) bool {
	content = strings.TrimFunc(content, isSpace)
	if strings.Contains(text, content) {
		return true
	}
	w := jsonWriter{limit: func(int64) error { return nil }}
	if w.text(content) != nil {
		return false
	}
	return strings.Contains(text, strings.Trim(w.String(), `"`))
}
