package chat

import (
	"regexp"
	"strings"
)

// ending is how a turn ends: its last marker, and what the template writes after
// it, which the model does not generate.
type ending struct {
	stop, after string
	// past: a turn shows the marker only once another follows, so that it is
	// missing in the rendering that ends with the turn.
	past bool
	// history is the marker that ends the turn once another follows, if that is
	// another one.
	history string
}

// suffix is what a rendering that ends with the turn ends with.
func (e ending) suffix() string {
	if e.past {
		return e.after
	}
	return e.stop + e.after
}

// cut returns the generated text of what follows the prompt.
func (e ending) cut(rest string) string {
	text := strings.TrimSuffix(rest, e.after)
	if e.past {
		return text + e.stop
	}
	return text
}

// inside says whether a marker that ends turns is in a generated text before its
// end.
func (e ending) inside(text string) bool {
	text = strings.TrimSuffix(text, e.stop)
	stop := strings.TrimFunc(e.stop, isSpace)
	return stop != "" && strings.Contains(text, stop) || e.history != "" && strings.Contains(text, e.history)
}

// Sentinels stand for contents whose place in a rendering is sought. They have no
// character that templates or markers have, no blank, and nothing to escape.
const (
	sentinel     = "⸨qtool·1⸩"
	userSentinel = "⸨qtool·2⸩"
)

// markerPattern is what special tokens look like.
var markerPattern = regexp.MustCompile(`<[^<>\s]{1,60}>|\[/?[A-Z_]{2,40}\]`)

// firstMarker finds the first special token in a text: one of those given, or
// what looks like one.
func firstMarker(text string, markers []string) (start, end int, ok bool) {
	start, end = len(text), 0
	if at := markerPattern.FindStringIndex(text); at != nil {
		start, end, ok = at[0], at[1], true
	}
	for _, m := range markers {
		if at := strings.Index(text, m); m != "" && at >= 0 && (at < start || at == start && at+len(m) > end) {
			start, end, ok = at, at+len(m), true
		}
	}
	return start, end, ok
}

type span struct{ start, end int }

// markerSpans returns where the special tokens of a text are.
func markerSpans(text string, markers []string) []span {
	var all []span
	for from := 0; ; {
		start, end, ok := firstMarker(text[from:], markers)
		if !ok {
			return all
		}
		all = append(all, span{from + start, from + end})
		from += end
	}
}

// ending finds how message i ends when it is the last one; rest is what follows
// its prompt. What was found before for turns of its kind holds as long as the
// rendering ends with it.
func (d *data) ending(i int, rest string) (ending, error) {
	m := d.conversation.Messages[i]
	key := endingKey{d.key, len(m.ToolCalls) > 0}
	if e, ok := d.t.endings.Load(key); ok {
		if known := e.(ending); known.suffix() != "" && strings.HasSuffix(rest, known.suffix()) {
			return known, nil
		}
	}
	plain := d.plainEnding(i)
	e := plain
	if key.calls {
		e = d.callEnding(i, rest, plain)
		e.history = plain.history
	}
	if !strings.HasSuffix(rest, e.suffix()) {
		// The template ends this turn in a way of its own: with its last marker.
		e = lastMarkerEnding(rest, d.t.options.Markers)
	}
	d.t.endings.Store(key, e)
	return e, nil
}

type endingKey struct {
	vars  string
	calls bool
}

// plainEnding finds the marker after a plain answer in the place of message i.
func (d *data) plainEnding(i int) ending {
	answer := Message{Role: "assistant", Content: sentinel}
	tail, ok := d.after(sentinel, i, false, answer)
	if !ok {
		return d.eosEnding()
	}
	past, ok := d.after(sentinel, i, false, answer, Message{Role: "user", Content: userSentinel})
	past, _, found := strings.Cut(past, userSentinel)
	start, end, marked := firstMarker(past, d.t.options.Markers)
	marked = marked && ok && found
	if !blank(tail) {
		e := d.splitTail(i, tail)
		if marked && !strings.Contains(past, e.stop) {
			e.history = past[start:end]
		}
		return e
	}
	if marked && strings.HasPrefix(past, tail) {
		return ending{stop: past[:end], after: tail, past: true}
	}
	if tail != "" {
		return ending{stop: tail}
	}
	return d.eosEnding()
}

func (d *data) eosEnding() ending { return ending{stop: d.t.options.EOS, past: d.t.options.EOS != ""} }

// splitTail splits what follows an answer into the stop marker and the rest. If
// the markers after a message of the user are there too, the stop is among those:
// the last one if the text ends with it, else the first, because what follows is
// the header of another turn or a token that history does not have. A template
// that ends messages of the user in another way ends answers with the first marker.
func (d *data) splitTail(i int, tail string) ending {
	markers := markerSpans(tail, d.t.options.Markers)
	if len(markers) == 0 {
		trimmed := strings.TrimLeftFunc(tail, isSpace)
		return endingAt(tail, span{len(tail) - len(trimmed), len(strings.TrimRightFunc(tail, isSpace))})
	}
	user, _ := d.after(userSentinel, i, true)
	ends := markerSpans(user, d.t.options.Markers)
	if len(ends) == 0 {
		return endingAt(tail, markers[0])
	}
	for at, m := range markers {
		if tail[m.start:m.end] != user[ends[0].start:ends[0].end] {
			continue
		}
		last, j := m, 1
		for ; at+j < len(markers) && j < len(ends); j++ {
			next := markers[at+j]
			if tail[last.end:next.end] != user[ends[j-1].end:ends[j].end] {
				break
			}
			last = next
		}
		if blank(tail[last.end:]) && j < len(ends) {
			return endingAt(tail, last)
		}
		return endingAt(tail, m)
	}
	return endingAt(tail, markers[0])
}

func endingAt(tail string, stop span) ending {
	return ending{stop: tail[stop.start:stop.end], after: tail[stop.end:]}
}

// callEnding finds the marker after calls of tools.
func (d *data) callEnding(i int, rest string, plain ending) ending {
	markers := d.t.options.Markers
	if stop := strings.TrimLeftFunc(plain.stop, isSpace); stop != "" && !blank(stop) {
		if at := strings.LastIndex(rest, stop); at >= 0 {
			tail := rest[at+len(stop):]
			if strings.TrimFunc(tail, isSpace) == "" || tail == plain.after {
				return ending{stop: stop, after: tail}
			}
		}
	}
	e := lastMarkerEnding(rest, markers)
	if e.stop == "" || strings.HasPrefix(e.stop, "</") {
		m := d.conversation.Messages[i]
		result := Message{Role: "tool", Content: userSentinel, Name: m.ToolCalls[0].Name, ToolCallID: m.ToolCalls[0].ID}
		if list, err := d.replaced(i+1, i, m, result); err == nil {
			if text, err := d.renderList(list, false); err == nil {
				return d.pastCall(text, rest, e)
			}
		}
	}
	return e
}

// pastCall finds the marker that ends a turn with calls once a result follows.
func (d *data) pastCall(text, rest string, absent ending) ending {
	before, _, found := strings.Cut(text, userSentinel)
	at := strings.LastIndex(before, rest)
	if !found || at < 0 || rest == "" {
		return absent
	}
	tail := before[at+len(rest):]
	if _, end, ok := firstMarker(tail, d.t.options.Markers); ok {
		return ending{stop: tail[:end], past: true}
	}
	return absent
}

// lastMarkerEnding ends a turn with the last marker of its text.
func lastMarkerEnding(rest string, markers []string) ending {
	all := markerSpans(rest, markers)
	if len(all) == 0 || !blank(rest[all[len(all)-1].end:]) {
		return ending{}
	}
	return endingAt(rest, all[len(all)-1])
}

// after renders the messages before i and what is given, and returns what
// follows the last occurrence of a mark. Without messages given, the content of
// the last message before i is replaced by the mark.
func (d *data) after(mark string, i int, generate bool, more ...Message) (string, bool) {
	list := d.messages[:i:i]
	if len(more) == 0 {
		if i == 0 {
			return "", false
		}
		m := d.conversation.Messages[i-1]
		m.Content = mark
		replaced, err := d.replaced(i, i-1, m)
		if err != nil {
			return "", false
		}
		list = replaced
	}
	for _, m := range more {
		v, err := d.message(m)
		if err != nil {
			return "", false
		}
		list = append(list, v)
	}
	text, err := d.renderList(list, generate)
	if err != nil {
		return "", false
	}
	at := strings.LastIndex(text, mark)
	if at < 0 {
		return "", false
	}
	return text[at+len(mark):], true
}
