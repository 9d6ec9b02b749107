package chat

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReasoningIsTakenApartWhereTheTemplateAsksForIt(t *testing.T) {
	asks, err := New(`{% for m in messages %}{{ m.reasoning_content }}{{ m.content }}{% endfor %}`, Options{})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := New(`{% for m in messages %}{{ m.content }}{% endfor %}`, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name               string
		template           *Template
		prompt, text       string
		reasoning, content string
	}{
		{"no reasoning", asks, "<|im_start|>assistant\n", "Yes.", "", "Yes."},
		{"a block", asks, "<|im_start|>assistant\n", "<think>\nHm.\n</think>\n\nYes.", "Hm.", "Yes."},
		{"opened by the prompt", asks, "<|im_start|>assistant\n<think>\n", "Hm.\n</think>\n\nYes.", "Hm.", "Yes."},
		{"cut off", asks, "<|im_start|>assistant\n<think>\n", "Hm, let", "Hm, let", ""},
		{"closed by the prompt", asks, "<|im_start|>assistant\n<think>\n\n</think>\n\n", "Yes.", "", "Yes."},
		{"[THINK]", asks, "[/INST]", "[THINK]Hm.[/THINK]Yes.", "Hm.", "Yes."},
		{"a tag that is spoken of", asks, "x", "Use <think> for that.", "", "Use <think> for that."},
		{"a template that takes contents alone", plain, "x<think>\n", "Hm.</think>Yes.", "", "<think>\nHm.</think>Yes."},
		{"and no reasoning", plain, "x", "Yes.", "", "Yes."},
		{"gpt-oss", asks, "<|start|>assistant", "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.", "Hm.", "Yes."},
		{"gpt-oss, cut off", asks, "<|start|>assistant", "<|channel|>analysis<|message|>Hm", "Hm", ""},
	} {
		got := c.template.Answer(c.prompt, c.text)
		if diff := cmp.Diff(Message{Role: "assistant", Reasoning: c.reasoning, Content: c.content}, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}
