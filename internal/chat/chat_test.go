package chat

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func everything(int) bool { return true }

// generated are the texts that a training learns, in order.
func generated(t Training) []string {
	var all []string
	for _, s := range t.Sequences {
		for _, segment := range s {
			if segment.Message >= 0 {
				all = append(all, segment.Text)
			}
		}
	}
	return all
}

func TestChatMLLearnsTheAssistantsContentAndEndOfTurn(t *testing.T) {
	c := Conversation{Messages: []Message{
		{Role: "system", Content: "Be brief."}, {Role: "user", Content: "Hi"}, {Role: "assistant", Content: "Hello!"},
		{Role: "tool", Content: "21"}, {Role: "assistant"}, {Role: "user", Content: "more"},
	}}
	training, err := ChatML(Options{}).Sequences(c, everything)
	if err != nil || len(training.Sequences) != 1 {
		t.Fatal(training, err)
	}
	want := "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n" +
		"<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>tool\n21<|im_end|>\n<|im_start|>assistant\n<|im_end|>"
	if d := cmp.Diff(want, training.Sequences[0].Text()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"Hello!<|im_end|>", "<|im_end|>"}, generated(training)); d != "" {
		t.Error(d)
	}
	if training.Stop != "<|im_end|>" || training.Notes != nil {
		t.Error(training.Stop, training.Notes)
	}
}

func TestBadConversationsAreRefusedByMessage(t *testing.T) {
	user := Message{Role: "user", Content: "a"}
	for name, c := range map[string]struct {
		conversation Conversation
		says         string
	}{
		"none":      {Conversation{}, "no messages"},
		"role":      {Conversation{Messages: []Message{user, {Role: "bot"}}}, `message 2 has the role "bot"`},
		"arguments": {Conversation{Messages: []Message{user, {Role: "assistant", ToolCalls: []ToolCall{{Name: "f", Arguments: json.RawMessage("{")}}}}}, "message 2: call 1"},
		"number":    {Conversation{Messages: []Message{{Role: "assistant", ToolCalls: []ToolCall{{Name: "f", Arguments: json.RawMessage(`{"a":123456789012345678901}`)}}}}}, "64 bits"},
		"tools":     {Conversation{Messages: []Message{user}, Tools: json.RawMessage("[1")}, "tools"},
		"variable":  {Conversation{Messages: []Message{user}, Vars: map[string]any{"f": func() {}}}, `variable "f"`},
	} {
		_, err := ChatML(Options{}).Render(c.conversation, false)
		if !errors.Is(err, ErrConversation) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnInvalidTemplateFailsOnlyWhenUsed(t *testing.T) {
	template := ForModel("{% if %}", Options{})
	_, err := template.Sequences(Conversation{Messages: []Message{{Role: "user"}}}, everything)
	if !errors.Is(err, ErrTemplate) || !strings.Contains(err.Error(), "line 1") {
		t.Error(err)
	}
	if ForModel(" \n", Options{}).String() != ChatML(Options{}).String() {
		t.Error("a blank template is none")
	}
}

// What is written in another way means the same.
func TestArgumentsReasoningAndRolesAreMappedOntoWhatTheTemplateKnows(t *testing.T) {
	template, err := New(`{% for m in messages %}{{ '<' + m.role + '>' }}{% if m.thinking %}{{ '(' + m.thinking + ')' }}{% endif %}{{ m.content or '' }}`+
		`{% for c in m.tool_calls %}{{ c.function.name }}{% for k, v in c.function.arguments.items() %}{{ k ~ '=' ~ v }}{% endfor %}{% endfor %}</s>{% endfor %}`+
		`{% if add_generation_prompt %}<assistant>{% endif %}`, Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := Conversation{Messages: []Message{
		{Role: "developer", Content: "d"}, {Role: "assistant", Reasoning: "r", NoContent: true, ToolCalls: []ToolCall{
			{Name: "f", Arguments: json.RawMessage(`"{\"b\":1,\"a\":2.50}"`)}, {Name: "g"}}},
		{Role: "function", Content: "x"},
	}}
	text, err := template.Render(c, true)
	if want := "<system>d</s><assistant>(r)fb=1a=2.5g</s><tool>x</s><assistant>"; err != nil || text != want {
		t.Errorf("%q, %v", text, err)
	}
	training, err := template.Sequences(c, everything)
	if err != nil || !has(training, Renamed) {
		t.Error(training, err)
	}
}

func TestEveryBuiltInTemplateLearnsPlainChatInOneSequence(t *testing.T) {
	for _, name := range Names() {
		template, _ := Named(name, Options{BOS: "<s>", EOS: "</s>"})
		c := Conversation{Messages: []Message{{Role: "system", Content: "Rules."}, {Role: "user", Content: "Q1"}, {Role: "assistant", Content: "A1"},
			{Role: "user", Content: "Q2"}, {Role: "assistant", Content: "A2"}}}
		training, err := template.Sequences(c, everything)
		if err != nil || len(training.Sequences) != 1 || len(training.Notes) != 0 || training.Stop == "" {
			t.Errorf("%s: %v, %v", name, training, err)
			continue
		}
		for i, text := range generated(training) {
			body, ok := strings.CutSuffix(text, training.Stop)
			if !ok || strings.TrimSpace(body) != []string{"A1", "A2"}[i] {
				t.Errorf("%s: %q, stop %q", name, text, training.Stop)
			}
		}
	}
	if _, ok := Named("none", Options{}); ok {
		t.Error("an unknown name is taken")
	}
}

func TestVariablesAreReadFromNameAndValue(t *testing.T) {
	for text, want := range map[string]any{
		"a=true": json.RawMessage("true"), "a=False": false, "a=None": nil, "a=3": json.RawMessage("3"), `a="3"`: json.RawMessage(`"3"`),
		"a=low": "low", "a=": "", "a=b=c": "b=c", `a={"b":[1]}`: json.RawMessage(`{"b":[1]}`),
	} {
		name, got, err := ParseVar(text)
		if err != nil || name != "a" || cmp.Diff(want, got) != "" {
			t.Errorf("%s: %q %v %v", text, name, got, err)
		}
	}
	for _, text := range []string{"", "a", "=b", "a b=c", "1=2", "a.b=c"} {
		if _, _, err := ParseVar(text); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}
