package chat

import (
	"errors"
	"strings"
	"testing"
	"time"

	"qtool/internal/sharedtest"
)

// Whatever a template and a conversation hold, there is a text or one of the
// three errors, soon; and every sequence is a prompt and what follows it.
func FuzzTemplate(f *testing.F) {
	for _, source := range named {
		f.Add(source, "question", "<think>\nwhy\n</think>\n\nanswer", true)
	}
	for _, name := range []string{"Qwen-Qwen3-0.6B.jinja", "openai-gpt-oss-120b.jinja", "Apertus-8B-Instruct.jinja", "mistralai-Mistral-Nemo-Instruct-2407.jinja"} {
		f.Add(string(sharedtest.Read(f, "data/chat-templates/"+name)), "{{ q }}", "a<|im_end|>", false)
	}
	for _, source := range runaways {
		if len(source) < 1000 {
			f.Add(source, "q", "a", true)
		}
	}
	f.Fuzz(func(t *testing.T, source, question, answer string, calls bool) {
		if len(source) > 20000 || len(question)+len(answer) > 2000 {
			t.Skip()
		}
		start := time.Now()
		template, err := New(source, Options{BOS: "<s>", EOS: "</s>", Now: goldenNow})
		if err != nil {
			if !errors.Is(err, ErrTemplate) {
				t.Fatal(err)
			}
			return
		}
		c := Conversation{Messages: []Message{{Role: "system", Content: "s"}, {Role: "user", Content: question}, {Role: "assistant", Content: answer, Reasoning: question},
			{Role: "user", Content: answer}, {Role: "assistant", Content: answer}}}
		if calls {
			c.Messages[2].ToolCalls = []ToolCall{{ID: "1", Name: "f", Arguments: []byte(`{"a":[1,2.5,"x"]}`)}}
		}
		training, err := template.Sequences(c, everything)
		if err != nil && !errors.Is(err, ErrTemplate) && !errors.Is(err, ErrUnsupported) && !errors.Is(err, ErrConversation) {
			t.Fatal(err)
		}
		for _, s := range training.Sequences {
			if s[len(s)-1].Message < 0 || len(training.Sequences) > 1 && len(s) > 2 {
				t.Fatalf("a sequence that ends with what is not learned, or with more than one answer: %q", s.Text())
			}
		}
		if len(training.Sequences) == 1 && len(generated(training)) == 2 {
			whole, err := template.Render(c, false)
			if text := training.Sequences[0].Text(); err != nil || !strings.HasPrefix(text, whole) && !strings.HasPrefix(whole, text) {
				t.Fatalf("one sequence %q is not the rendering %q, %v", text, whole, err)
			}
		}
		if took := time.Since(start); took > time.Minute {
			t.Fatalf("it took %v", took)
		}
	})
}
