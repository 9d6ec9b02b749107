package chat

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"qtool/internal/sharedtest"

	"github.com/google/go-cmp/cmp"
)

// goldenNow is the time at which the reference renderings were made.
var goldenNow = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// realTemplate compiles a template of the reference data, with its settings.
func realTemplate(t testing.TB, name string, vars map[string]any) *Template {
	t.Helper()
	source := sharedtest.Read(t, filepath.Join("data/chat-templates", name))
	template, err := New(string(source), Options{Name: name, BOS: "<|BOS|>", EOS: "<|EOS|>", Now: goldenNow, Vars: vars})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return template
}

// rawMessage is a message as the reference data has it.
type rawMessage struct {
	Role             string
	Content          json.RawMessage
	ReasoningContent string `json:"reasoning_content"`
	Thinking         string
	Name             string
	ToolCallID       string `json:"tool_call_id"`
	ToolCalls        []struct {
		ID       string
		Function struct {
			Name      string
			Arguments json.RawMessage
		}
	} `json:"tool_calls"`
}

func (m rawMessage) message(t testing.TB) Message {
	t.Helper()
	out := Message{Role: m.Role, Reasoning: m.ReasoningContent + m.Thinking, Name: m.Name, ToolCallID: m.ToolCallID}
	var parts []struct{ Text string }
	switch {
	case string(m.Content) == "null" || m.Content == nil:
		out.NoContent = true
	case json.Unmarshal(m.Content, &parts) == nil:
		for _, p := range parts {
			out.Content += p.Text
		}
	default:
		if err := json.Unmarshal(m.Content, &out.Content); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range m.ToolCalls {
		out.ToolCalls = append(out.ToolCalls, ToolCall{ID: c.ID, Name: c.Function.Name, Arguments: c.Function.Arguments})
	}
	return out
}

func TestEveryRealTemplateRendersLikeJinja(t *testing.T) {
	var golden struct {
		Conversations map[string][]rawMessage
		Tools         json.RawMessage
		Cases         []struct {
			Template, Conversation string
			Generate               bool `json:"add_generation_prompt"`
			Text                   *string
			Refused                *string
		}
	}
	if err := json.Unmarshal(sharedtest.Read(t, "golden/chat-cases.json"), &golden); err != nil {
		t.Fatal(err)
	}
	templates := map[string]*Template{}
	for _, c := range golden.Cases {
		if templates[c.Template] == nil {
			templates[c.Template] = realTemplate(t, c.Template, nil)
		}
		var conversation Conversation
		for _, m := range golden.Conversations[c.Conversation] {
			conversation.Messages = append(conversation.Messages, m.message(t))
		}
		if c.Conversation == "tools" {
			conversation.Tools = golden.Tools
		}
		text, err := templates[c.Template].Render(conversation, c.Generate)
		switch {
		case c.Refused != nil:
			if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), *c.Refused) {
				t.Errorf("%s, %s: %q, %v; expected the refusal %q", c.Template, c.Conversation, text, err, *c.Refused)
			}
		case err != nil:
			t.Errorf("%s, %s: %v", c.Template, c.Conversation, err)
		case text != *c.Text:
			t.Errorf("%s, %s: %s", c.Template, c.Conversation, cmp.Diff(*c.Text, text))
		}
	}
}
