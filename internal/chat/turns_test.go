package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"qtool/internal/sharedtest"

	"github.com/google/go-cmp/cmp"
)

// goldenTurns is the reference of what the assistant generated; its "about"
// explains the fields.
type goldenTurns struct {
	Tools         json.RawMessage
	Conversations map[string]struct {
		Messages []rawMessage
		Tools    bool
		Vars     map[string]any
	}
	Raw       map[string]struct{ Messages json.RawMessage } `json:"-"`
	Templates map[string]struct {
		Vars  map[string]any
		Stops []string
		Texts [][]any
		Cases map[string]goldenCase
	}
}

type goldenCase struct {
	Verdict string
	Turns   []goldenTurn
}

type goldenTurn struct {
	Message    int
	Class      string
	Prompt     any
	Completion []string
	PastEnd    string           `json:"past_end"`
	PrefixIf   []map[string]any `json:"prefix_if"`
	Lost       []string
	Trimmed    bool
	StopInside bool  `json:"stop_inside"`
	Inside     bool  `json:"inside_think"`
	PromptLost []int `json:"prompt_lost"`
}

func readGoldenTurns(t testing.TB) goldenTurns {
	t.Helper()
	var g goldenTurns
	if err := json.Unmarshal(sharedtest.Read(t, "golden/chat-turns.json"), &g); err != nil {
		t.Fatal(err)
	}
	raw := struct {
		Conversations *map[string]struct{ Messages json.RawMessage }
	}{&g.Raw}
	if err := json.Unmarshal(sharedtest.Read(t, "golden/chat-turns.json"), &raw); err != nil {
		t.Fatal(err)
	}
	return g
}

func (g goldenTurns) conversation(t testing.TB, name string) Conversation {
	c := g.Conversations[name]
	out := Conversation{Vars: c.Vars}
	for _, m := range c.Messages {
		out.Messages = append(out.Messages, m.message(t))
	}
	if c.Tools {
		out.Tools = g.Tools
	}
	return out
}

// text is text number ref of a template.
func (g goldenTurns) text(template string, ref any) string {
	n, ok := ref.(float64)
	if !ok {
		return ""
	}
	entry := g.Templates[template].Texts[int(n)]
	shared := ""
	if from := entry[0].(float64); from >= 0 {
		shared = g.text(template, from)[:int(entry[1].(float64))]
	}
	return shared + entry[2].(string)
}

// asRecorded is a conversation as the reference has it: with arguments as strings,
// contents as lists of parts, and reasoning under the key it has there.
func (g goldenTurns) asRecorded(t testing.TB, template *Template, name string) *data {
	t.Helper()
	d, err := template.data(g.conversation(t, name))
	if err != nil {
		t.Fatal(err)
	}
	messages, err := fromJSON(g.Raw[name].Messages)
	if err != nil {
		t.Fatal(err)
	}
	d.messages = messages.AsList().Items
	return d
}

// judged are the cases in which this package does otherwise than was recorded.
var judged = map[string]string{
	"deepseek-ai-DeepSeek-V3.2.jinja, tools_string":          "Jinja2 has no filter from_json; llama.cpp does, and so do we",
	"deepseek-ai-DeepSeek-V4.jinja, tools_string":            "the same",
	"deepseek-ai-DeepSeek-V4-Flash-0731.jinja, tools_string": "the same",
	"tencent-Hy3.jinja, two_assistants, all": "the first answer's end is shown only after the prompt of the second, " +
		"so one sequence would learn it twice or not at all; each is an example of its own",
}

func TestSequencesAreWhatWasGeneratedInEveryRealTemplate(t *testing.T) {
	g := readGoldenTurns(t)
	turns, bad := 0, 0
	for _, name := range slices.Sorted(maps.Keys(g.Templates)) {
		template := realTemplate(t, name, g.Templates[name].Vars)
		ends := map[string]bool{"": true}
		for _, stop := range g.Templates[name].Stops {
			ends[stop] = true
		}
		for _, c := range g.Templates[name].Cases {
			for _, turn := range c.Turns {
				ends[turn.PastEnd] = true
			}
		}
		for _, conversation := range slices.Sorted(maps.Keys(g.Templates[name].Cases)) {
			d := g.asRecorded(t, template, conversation)
			want := g.Templates[name].Cases[conversation]
			for _, turn := range want.Turns {
				turns++
				training, err := d.sequences(func(i int) bool { return i == turn.Message })
				problem := turn.compare(g.text(name, turn.Prompt), ends, conversation != "parts", training, err)
				if problem != "" && judged[name+", "+conversation] == "" {
					bad++
					t.Errorf("%s, %s, message %d: %s", name, conversation, turn.Message, problem)
				}
			}
			training, err := d.sequences(func(int) bool { return true })
			problem := want.compare(training, err)
			if problem != "" && judged[name+", "+conversation] == "" && judged[name+", "+conversation+", all"] == "" {
				bad++
				t.Errorf("%s, %s: %s", name, conversation, problem)
			}
		}
	}
	t.Logf("%d turns, %d wrong", turns, bad)
}

// compare says how one turn learned by itself differs from the record; joined: the
// texts are as the notes compare them, not in parts.
func (turn goldenTurn) compare(prompt string, ends map[string]bool, joined bool, got Training, err error) string {
	if turn.Completion == nil {
		switch {
		case errors.Is(err, ErrUnsupported):
			return ""
		case err == nil && turn.PrefixIf != nil && has(got, Variable):
			return ""
		}
		return fmt.Sprintf("class %s; expected a refusal, got %v, %v", turn.Class, got, err)
	}
	if err != nil {
		return fmt.Sprintf("expected %q, got %v", turn.Completion, err)
	}
	text := got.Sequences[0].Text()
	rest, ok := strings.CutPrefix(text, prompt+turn.Completion[0]+turn.Completion[1])
	if !ok {
		return fmt.Sprintf("expected %q, got %q", turn.Completion, got.Sequences[0][len(got.Sequences[0])-1].Text)
	}
	if rest != "" && (turn.Completion[1] != "" || !ends[strings.TrimSpace(rest)] || turn.PastEnd != "" && rest != turn.PastEnd) {
		return fmt.Sprintf("expected %q, got %q more (recorded: %q)", turn.Completion, rest, turn.PastEnd)
	}
	for code, recorded := range turn.flags() {
		if recorded && !has(got, code) && !(code == Trimmed && has(got, LostContent)) {
			return fmt.Sprintf("no note says %s: %v", code, got.Notes)
		}
		if !recorded && has(got, code) && joined {
			return fmt.Sprintf("a note says %s: %v", code, got.Notes)
		}
	}
	return ""
}

// flags are the notes that a turn must have.
func (turn goldenTurn) flags() map[string]bool {
	return map[string]bool{
		LostContent: slices.Contains(turn.Lost, "content"), LostReasoning: slices.Contains(turn.Lost, "reasoning"),
		LostCalls: slices.Contains(turn.Lost, "tool_calls"), Trimmed: turn.Trimmed, StopInside: turn.StopInside,
		InsideThinking: turn.Inside, LostMessage: turn.PromptLost != nil,
	}
}

func has(t Training, code string) bool {
	return slices.ContainsFunc(t.Notes, func(n Note) bool { return n.Code == code })
}

// compare says whether all turns together are one sequence where they can be.
func (c goldenCase) compare(got Training, err error) string {
	decided := !slices.ContainsFunc(c.Turns, func(t goldenTurn) bool { return t.Completion == nil })
	switch {
	case !decided && (errors.Is(err, ErrUnsupported) || has(got, Variable)):
		return ""
	case err != nil:
		return fmt.Sprintf("verdict %s: %v", c.Verdict, err)
	case c.Verdict == "one" && len(got.Sequences) != 1:
		return fmt.Sprintf("verdict one, got %d sequences: %v", len(got.Sequences), got.Notes)
	case c.Verdict != "one" && len(c.Turns) > 1 && len(got.Sequences) != len(c.Turns):
		return fmt.Sprintf("verdict %s, got %d sequences for %d turns", c.Verdict, len(got.Sequences), len(c.Turns))
	}
	return ""
}

// Arguments as a string, and reasoning under another key, are the same data.
func TestTheSameInOtherFieldsGivesTheSame(t *testing.T) {
	g := readGoldenTurns(t)
	for name := range g.Templates {
		for conversation, same := range map[string]string{"tools_string": "tools", "thinking_key": "reasoning_content"} {
			template := realTemplate(t, name, g.Templates[name].Vars)
			got, gotErr := template.Sequences(g.conversation(t, conversation), everything)
			want, wantErr := template.Sequences(g.conversation(t, same), everything)
			if d := cmp.Diff(want, got); d != "" || fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
				t.Errorf("%s, %s: %s, %v, %v", name, conversation, d, gotErr, wantErr)
			}
			decided := !slices.ContainsFunc(g.Templates[name].Cases[conversation].Turns, func(t goldenTurn) bool { return t.Completion == nil })
			if conversation == "tools_string" && decided && gotErr != nil {
				t.Errorf("%s, %s: %v", name, conversation, gotErr)
			}
		}
	}
}

// What follows from one rendering must be what rendering by itself gives.
func TestRenderingsThatFollowAreThoseByThemselves(t *testing.T) {
	g := readGoldenTurns(t)
	followed, all := map[string]int{}, map[string]int{}
	for name := range g.Templates {
		template := realTemplate(t, name, g.Templates[name].Vars)
		for conversation := range g.Templates[name].Cases {
			d := g.asRecorded(t, template, conversation)
			last := len(d.messages) - 1
			if err := d.follow(last); err != nil {
				t.Fatal(err)
			}
			for i := 1; i < last; i++ {
				if text, ok := d.prompts.of(i, d.wholes); ok {
					followed[name]++
					if want, err := d.render(i, true); err != nil || text != want {
						t.Errorf("%s, %s, prompt of %d: %q, expected %q, %v", name, conversation, i, text, want, err)
					}
				}
				if text, ok := d.wholes.of(i+1, d.wholes); ok {
					if want, err := d.render(i+1, false); err != nil || text != want {
						t.Errorf("%s, %s, up to %d: %q, expected %q, %v", name, conversation, i, text, want, err)
					}
				}
				all[name]++
			}
		}
	}
	t.Logf("prompts that follow, by template: %v of %v", followed, all)
	if followed["Qwen-Qwen2.5-7B-Instruct.jinja"] == 0 || followed["meta-llama-Llama-3.2-3B-Instruct.jinja"] == 0 {
		t.Error("nothing follows in the simplest templates")
	}
}
