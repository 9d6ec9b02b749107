package chat

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"strings"

	"github.com/ardanlabs/jinja"
)

type value = jinja.Value

// Blocks of reasoning at the end of a prompt. A block is known by its name:
// <think>, <|START_THINKING|>, [THINK], <|channel>thought, "my reasoning steps".
const (
	thinkMarker = `(?:<[^<>\s]*(?i:think|thought|reason)[^<>\s]*>|\[/?(?i:think)\]|<[^<>\s]+>(?i:thought|thinking|analysis))`
	anyMarker   = `(?:<[^<>\s]+>|\[/[A-Z]+\])`
)

var (
	closedThinking = regexp.MustCompile(`^\s*` + thinkMarker + `\s*` + anyMarker + `\s*$`)
	closing        = regexp.MustCompile(`^\s*(?:</[^<>\s]*(?i:think|thought|reason)[^<>\s]*>|<[^<>\s]*END[^<>\s]*THINK[^<>\s]*>|\[/THINK\])\s*$`)
	openThinking   = regexp.MustCompile(`^\s*(?:` + thinkMarker + `|[^<>\[\]]*(?i:reasoning|thinking)[^<>\[\]]*)\s*$`)
	endsOpen       = regexp.MustCompile(`<[^<>/\s]*(?i:think|thought)[^<>\s]*>\s*$`)
	endOfThinking  = regexp.MustCompile(`</[^<>\s]*(?i:think|thought)[^<>\s]*>|<[^<>\s]*(?i:end)[^<>\s]*(?i:think)[^<>\s]*>|\[/THINK\]`)
	// A block at the end of a prompt: what opens it, and what closes it.
	lastThinking = regexp.MustCompile(`(` + thinkMarker + `)\s*(` + anyMarker + `)?\s*$`)
)

// undecided says that a turn cannot be told without a variable for thinking.
type undecided struct {
	message  int
	thinking bool // the variable should turn thinking on
	why      string
}

func (u undecided) Error() string {
	return fmt.Sprintf("%v: message %d: %s", ErrUnsupported, u.message+1, u.why)
}

func (u undecided) Unwrap() error { return ErrUnsupported }

// beyondThinking finds the answer of a turn whose rendering does not begin with
// its prompt. That is decided only where all that the prompt has in addition is
// an empty block of reasoning.
func (d *data) beyondThinking(i int, t *turn) (string, error) {
	at := d.sharedHeader(i, t)
	extra, answer := t.prompt[at:], t.full[at:]
	m := d.conversation.Messages[i]
	reasoning := cmp.Or(m.Reasoning, inlineReasoning(m.Content))
	reasoned := reasoning != "" && strings.Contains(answer, strings.TrimFunc(reasoning, isSpace))
	switch {
	case closing.MatchString(extra), closedThinking.MatchString(extra), endsWithBlock(t.prompt, at, true):
		if reasoned {
			return "", undecided{i, true, "it has reasoning, and the template's prompt has a closed block of reasoning already"}
		}
		if at > 0 && endsWithBlock(t.prompt, at, true) && !closedThinking.MatchString(extra) {
			return "", undecided{i, true, "the template closes the block of reasoning of its prompt in another way than before the rendered answer"}
		}
		t.notes = append(t.notes, Note{ClosedThinking, i, fmt.Sprintf(
			"the prompt of message %d ends with an empty block of reasoning that the rendered answer lacks; it is learned after that prompt, as at inference", i+1)})
		return withoutClosing(extra, answer), nil
	case openThinking.MatchString(extra), endsWithBlock(t.prompt, at, false):
		if reasoned && strings.HasPrefix(strings.TrimLeftFunc(answer, isSpace), strings.TrimFunc(reasoning, isSpace)) {
			t.notes = append(t.notes, Note{OpeningLeftOut, i, fmt.Sprintf(
				"the prompt of message %d opens the reasoning, of which the rendered answer lacks the opening; it is learned after that prompt, as at inference", i+1)})
			return answer, nil
		}
		return "", undecided{i, false, "the template's prompt opens a block of reasoning, and the answer has none"}
	}
	return "", fmt.Errorf("%w: message %d: the template shows it after another text than the prompt at inference ends with (%q), so that it does not say what was generated", ErrUnsupported, i+1, excerpt(extra))
}

// endsWithBlock says whether a prompt ends with a block of reasoning, closed or
// open, that begins at the latest where prompt and rendering part.
func endsWithBlock(prompt string, at int, closed bool) bool {
	from := max(0, len(prompt)-200)
	m := lastThinking.FindStringSubmatchIndex(prompt[from:])
	return m != nil && from+m[0] <= at && (m[4] >= 0) == closed && !endOfThinking.MatchString(prompt[from+m[2]:from+m[3]])
}

// inlineReasoning is what a content has between <think> and </think> at its
// beginning.
func inlineReasoning(content string) string {
	inner, ok := strings.CutPrefix(strings.TrimLeftFunc(content, isSpace), "<think>")
	reasoning, _, closed := strings.Cut(inner, "</think>")
	if !ok || !closed {
		return ""
	}
	return strings.TrimFunc(reasoning, isSpace)
}

// excerpt is the end of a text, for messages.
func excerpt(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return "…" + strings.ToValidUTF8(s[len(s)-most:], "")
}

// sharedHeader is how far prompt and rendering agree before the answer: not into
// an answer that begins like the prompt by chance, nor into a marker.
func (d *data) sharedHeader(i int, t *turn) int {
	at := common(t.prompt, t.full)
	m := d.conversation.Messages[i]
	m.Content = sentinel
	if list, err := d.replaced(i+1, i, m); err == nil {
		if text, err := d.renderList(list, false); err == nil {
			at = min(at, common(t.prompt, text))
		}
	}
	for _, marker := range markerPattern.FindAllStringIndex(t.prompt[:min(len(t.prompt), at+80)], -1) {
		if marker[0] < at && at < marker[1] {
			return marker[0]
		}
	}
	return at
}

// common is the length of the common prefix.
func common(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// withoutClosing removes the marker that closes the prompt's block of reasoning
// from the beginning of an answer.
func withoutClosing(extra, answer string) string {
	all := markerPattern.FindAllString(extra, -1)
	if len(all) > 1 {
		return strings.TrimPrefix(answer, all[len(all)-1])
	}
	return answer
}

// insideThinking says whether the prompt opens a block that the answer does not
// close.
func (t *turn) insideThinking() bool {
	open := endsOpen.FindString(t.prompt[max(0, len(t.prompt)-100):])
	return open != "" && !endOfThinking.MatchString(open) && !endOfThinking.MatchString(t.text)
}

// switches are the variables by which templates turn thinking on and off.
var switches = []struct {
	name    string
	on, off any
}{
	{"enable_thinking", true, false},
	{"thinking", true, false},
	{"thinking_mode", "enabled", "disabled"},
	{"reasoning", true, false},
	{"think", true, false},
}

// switchThinking decides a turn with a variable of the template. One that the
// user has set is left alone.
func (d *data) switchThinking(i int, u undecided) (turn, error) {
	for _, s := range switches {
		if _, isSet := d.vars[s.name]; isSet || !d.t.lowered.used["v_"+s.name] {
			continue
		}
		v := s.off
		if u.thinking {
			v = s.on
		}
		other := *d
		other.prompts, other.wholes = nil, nil
		other.vars = maps.Clone(d.vars)
		other.vars[s.name] = jinja.FromGoValue(v)
		other.key += fmt.Sprintf("%s=%v;", s.name, v)
		other.switched = Note{Variable, i, fmt.Sprintf("message %d: %s; the template's variable %s was set to %v", i+1, u.why, s.name, v)}
		t, err := other.turn(i)
		if err == nil && !t.insideThinking() && strings.HasPrefix(t.full, t.prompt) {
			return t, nil
		}
	}
	hint := "; leave the conversation out, or give it as prompt and completion"
	for _, s := range switches {
		if _, isSet := d.vars[s.name]; isSet && d.t.lowered.used["v_"+s.name] {
			hint = fmt.Sprintf("; the variable %s is set, another value may help", s.name)
		}
	}
	return turn{}, fmt.Errorf("%w%s", u, hint)
}
