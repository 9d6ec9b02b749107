package chat

import (
	"fmt"
	"regexp"
	"strings"
)

// ForModel returns the template to use with a model: source is its own template
// in Jinja ("" if it has none), bos the text of its BOS token ("" if it has none).
// A template that renders plain conversations as ChatML is taken as ChatML with
// the template's default system message. The Render of what is returned for any
// other template fails with [ErrUnsupported].
func ForModel(source, bos string) Template {
	if strings.TrimSpace(source) == "" {
		return ChatML()
	}
	if why := unlikeChatML(source); why != "" {
		return unsupported{why}
	}
	c := chatML{name: "ChatML (the model's template)"}
	if m := defaultSystem.FindStringSubmatch(source); m != nil {
		c.system = m[1]
	}
	if writesBOS.MatchString(source) {
		c.bos = bos
	}
	return c
}

var (
	// A literal that holds a whole system turn is the default: '<|im_start|>system\nYou are …<|im_end|>\n'.
	// Newlines in literals are escapes or real ones.
	defaultSystem = regexp.MustCompile(`<\|im_start\|>system(?:\\n|\n)([^{}'"\\]+)<\|im_end\|>(?:\\n|\n)`)
	// A literal in which text follows the header of the system turn.
	systemText = regexp.MustCompile(`<\|im_start\|>system(?:\\n|\n)[^'"{\n]`)
	macro      = regexp.MustCompile(`\{%-?\s*macro\b`)
	writesBOS  = regexp.MustCompile(`\{\{-?\s*bos_token\b`)
)

// unlikeChatML says why a template is not ChatML, "" if it is.
func unlikeChatML(source string) string {
	switch {
	case !strings.Contains(source, startOfTurn) || !strings.Contains(source, endOfTurn):
		return "the model has a chat template that is not ChatML"
	case strings.Contains(source, "think>"):
		return "the model's chat template is ChatML with blocks of reasoning"
	case macro.MatchString(source):
		return "the model's chat template is ChatML with macros that may add to it"
	case len(systemText.FindAllString(source, -1)) > len(defaultSystem.FindAllString(source, -1)):
		return "the model's chat template is ChatML with a system message of its own making"
	}
	return ""
}

// unsupported stands for a template that cannot be rendered. It is a template,
// not an error, so that only those who have conversations meet the refusal.
type unsupported struct{ why string }

func (u unsupported) String() string { return "unsupported (" + u.why + ")" }

func (u unsupported) Render([]Message, Options) (Rendered, error) {
	return Rendered{}, fmt.Errorf(`%w: %s, and only ChatML can be rendered so far; give the data as {"prompt","completion"} or {"text"} records in the model's own format`, ErrUnsupported, u.why)
}
