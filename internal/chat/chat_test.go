package chat

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"qtool/internal/sharedtest"

	"github.com/google/go-cmp/cmp"
)

func TestChatMLSpansAreTheAssistantsContentAndEndOfTurn(t *testing.T) {
	out, err := ChatML().Render([]Message{
		{"system", "Be brief."}, {"user", "Hi"}, {"assistant", "Hello!"}, {"tool", "21"}, {"assistant", ""},
	}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n" +
		"<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>tool\n21<|im_end|>\n<|im_start|>assistant\n<|im_end|>\n"
	if d := cmp.Diff(want, out.Text); d != "" {
		t.Error(d)
	}
	var got []string
	for _, s := range out.Spans {
		got = append(got, out.Text[s.Start:s.End])
	}
	if d := cmp.Diff([]string{"Hello!<|im_end|>", "<|im_end|>"}, got); d != "" {
		t.Error(d)
	}
}

func TestBadConversationsAreRefusedByMessage(t *testing.T) {
	for name, c := range map[string]struct {
		messages []Message
		says     string
	}{
		"none":        {nil, "no messages"},
		"role":        {[]Message{{"user", "a"}, {"bot", "b"}}, `message 2 has the role "bot"`},
		"late system": {[]Message{{"user", "a"}, {"system", "b"}}, "message 2 is a system message"},
	} {
		_, err := ChatML().Render(c.messages, Options{})
		if !errors.Is(err, ErrConversation) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCommonFormsOfChatMLAreTakenWithTheirDefaultSystemMessage(t *testing.T) {
	loop := "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
	first := "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nBe kind.<|im_end|>\\n' }}{% endif %}"
	user := "<|im_start|>user\na<|im_end|>\n"
	for _, c := range []struct{ source, want string }{
		{" ", user},
		{loop, user},
		{"{{- bos_token }}" + loop, "<s>" + user},
		{first + loop, "<|im_start|>system\nBe kind.<|im_end|>\n" + user},
		{strings.ReplaceAll(first+loop, `\n`, "\n"), "<|im_start|>system\nBe kind.<|im_end|>\n" + user},
	} {
		out, err := ForModel(c.source, "<s>").Render([]Message{{"user", "a"}}, Options{})
		if err != nil || out.Text != c.want {
			t.Errorf("%s: %q, %v", c.source, out.Text, err)
		}
	}
}

func TestTemplatesThatAreNotPlainChatMLAreRefusedOnRendering(t *testing.T) {
	for _, source := range []string{
		"{% for m in messages %}[INST] {{ m.content }} [/INST]{% endfor %}",
		"{{ '<|im_start|>system\\nToday is ' + date + '<|im_end|>\\n' }}",
		"{{ '<|im_start|>' + m.role + '\\n<think></think>' + m.content + '<|im_end|>\\n' }}",
	} {
		_, err := ForModel(source, "<s>").Render([]Message{{"user", "a"}}, Options{})
		if !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", source, err)
		}
	}
}

// The rendered cases were made by Jinja from real templates, with <|BOS|> as the
// BOS token's text.
func TestEveryRealTemplateTakenAsChatMLRendersLikeJinja(t *testing.T) {
	var golden struct {
		Conversations map[string][]Message
		Cases         []struct {
			Template, Conversation string
			Generate               bool `json:"add_generation_prompt"`
			Text                   *string
		}
	}
	if err := json.Unmarshal(sharedtest.Read(t, "golden/chat-cases.json"), &golden); err != nil {
		t.Fatal(err)
	}
	taken := map[string]bool{}
	for _, c := range golden.Cases {
		source, err := os.ReadFile(filepath.Join(sharedtest.Path(t, "data/chat-templates"), c.Template))
		if err != nil {
			t.Fatal(err)
		}
		template := ForModel(string(source), "<|BOS|>")
		if _, refused := template.(unsupported); refused || c.Conversation == "tools" || c.Text == nil {
			continue
		}
		taken[c.Template] = true
		out, err := template.Render(golden.Conversations[c.Conversation], Options{Generate: c.Generate})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(*c.Text, out.Text); d != "" {
			t.Errorf("%s, %s: %s", c.Template, c.Conversation, d)
		}
	}
	want := []string{"LFM2-8B-A1B.jinja", "MiMo-VL.jinja", "Qwen-Qwen2.5-7B-Instruct.jinja"}
	if d := cmp.Diff(want, slices.Sorted(maps.Keys(taken))); d != "" {
		t.Error(d)
	}
}
