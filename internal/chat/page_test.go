package chat

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/chat-templates.md")

const pageIntroduction = `# Chat templates, one by one

What ` + "`qtool finetune`" + ` makes of conversations with the templates of 65 models, found by rendering them ([internal/chat](../internal/chat/doc.go)).
` + "`go test ./internal/chat -update`" + ` writes this page.

* **one**: the whole conversation is one sequence, in which every answer is learned after just the prompt that inference would see.
* **per turn**: the template shows a past answer otherwise than it was generated, so each answer is a sequence of its own.
* A variable with its value: the template's prompt opens or closes a block of reasoning that the answer does not fit, and this variable was set. ` + "`--template-var`" + ` sets it for good.
* **refused**: the template does not say what the model generates.
* *after an empty block of reasoning*: the prompt ends with one, which the rendered answer lacks.
* The last column is what the template leaves out of a conversation; a run says so, too.

| template | stop marker | chat | with reasoning | with tools | left out |
|---|---|---|---|---|---|
`

// The page shows the conversations of the reference data that have reasoning and
// tools, and a plain one with a system message if the template takes it.
func TestThePageOfTemplatesIsCurrent(t *testing.T) {
	const path = "../../docs/chat-templates.md"
	g := readGoldenTurns(t)
	var page strings.Builder
	page.WriteString(pageIntroduction)
	for _, name := range slices.Sorted(maps.Keys(g.Templates)) {
		template := realTemplate(t, name, g.Templates[name].Vars)
		stop, left := "", map[string]bool{}
		show := func(conversation string) string {
			training, err := template.Sequences(g.conversation(t, conversation), everything)
			if err == nil && stop == "" {
				stop = training.Stop
			}
			return outcome(training, err, left)
		}
		plain := show("three")
		if strings.HasPrefix(plain, "refused") {
			if without := show("repeated"); !strings.HasPrefix(without, "refused") {
				plain = without + "; with a system message " + plain
			}
		}
		fmt.Fprintf(&page, "| %s | %s | %s | %s | %s | %s |\n", strings.TrimSuffix(name, ".jinja"), code(stop), plain, show("reasoning_content"), show("tools_text"),
			strings.Join(slices.Sorted(maps.Keys(left)), ", "))
	}
	if *update {
		if err := os.WriteFile(path, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != page.String() {
		t.Error("docs/chat-templates.md is not what the templates give; go test ./internal/chat -update writes it")
	}
}

// code shows a marker in a table.
func code(marker string) string {
	if marker == "" {
		return "—"
	}
	return "`" + strings.NewReplacer("|", `\|`, "\n", "⏎").Replace(marker) + "`"
}

// outcome says in a word or two what became of a conversation.
func outcome(training Training, err error, left map[string]bool) string {
	if err != nil {
		reason := err.Error()
		for _, u := range []error{ErrUnsupported, ErrTemplate} {
			if errors.Is(err, u) {
				reason = strings.ReplaceAll(reason, u.Error()+": ", "")
			}
		}
		if _, after, ok := strings.Cut(reason, "rendering "); ok {
			_, reason, _ = strings.Cut(after, ": ")
		}
		if before, rest, ok := strings.Cut(reason, ": "); ok && strings.HasPrefix(before, "message ") {
			reason = rest
		}
		reason, _, _ = strings.Cut(reason, "; leave")
		reason, _, _ = strings.Cut(reason, ` ("`)
		if len(reason) > 110 {
			reason = strings.ToValidUTF8(reason[:110], "") + "…"
		}
		return "refused: " + strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(reason)
	}
	words := []string{"one"}
	if len(training.Sequences) > 1 {
		words[0] = "per turn"
	}
	add := func(word string) {
		if !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	for _, n := range training.Notes {
		switch n.Code {
		case Variable:
			_, set, _ := strings.Cut(n.Text, "variable ")
			add("`" + strings.ReplaceAll(set, " was set to ", "=") + "`")
		case ClosedThinking:
			add("*after an empty block of reasoning*")
		case InsideThinking:
			add("*inside an open block of reasoning*")
		case LostContent, LostReasoning, LostCalls, LostTools, LostMessage:
			left[map[string]string{LostContent: "content", LostReasoning: "reasoning", LostCalls: "calls", LostTools: "tools", LostMessage: "messages"}[n.Code]] = true
		}
	}
	return strings.Join(words, ", ")
}
