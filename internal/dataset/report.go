package dataset

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"qtool/internal/chat"
	"qtool/internal/printable"
	"qtool/train/run"
)

// Report counts what the data gave.
type Report = run.Records

// Token is one token of an example as it is shown.
type Token = run.Token

// Show is an example token by token. A token is scored if it must be predicted.
func Show(ex *Example, tok Tokenizer) []Token {
	targets, weights := ex.AppendTargets(nil), ex.AppendWeights(nil)
	out := make([]Token, len(ex.IDs))
	for i, id := range ex.IDs {
		t := Token{ID: id}
		if i > 0 && targets[i-1] != Unscored {
			t.Scored, t.ID = true, targets[i-1]
			if w := weights[i-1]; w != 1 {
				t.Weight = w
			}
		}
		t.Text = string(tok.Piece(t.ID))
		out[i] = t
	}
	return out
}

// Limits on what a report names.
const (
	mostPlaces = 5
	mostKeys   = 50
)

// tally is a report as it grows, over records in order.
type tally struct {
	Report
	unknown map[string]bool // unused keys that are not known to say nothing
	rewrote map[string]*said
	unmark  int // records without the marker of --train-on after:
	pairs   int // templated records that were not conversations
}

// said is a note of a template, with how many records it is about.
type said struct {
	text  string
	at    string // the first of them
	count int
}

func count(m *map[string]int, key string, n int) {
	if *m == nil {
		*m = map[string]int{}
	}
	(*m)[key] += n
}

// name keeps the first few places.
func name(list *[]string, place string) {
	if len(*list) < mostPlaces {
		*list = append(*list, place)
	}
}

// passOver counts a key that is not used.
func (t *tally) passOver(k unusedKey, n int) {
	if _, there := t.UnusedKeys[k.key]; !there && len(t.UnusedKeys) >= mostKeys {
		k.key = "…"
	}
	count(&t.UnusedKeys, k.key, n)
	if !k.known {
		if t.unknown == nil {
			t.unknown = map[string]bool{}
		}
		t.unknown[k.key] = true
	}
}

// note counts a note of a template.
func (t *tally) note(code string, s said) {
	if t.rewrote == nil {
		t.rewrote = map[string]*said{}
	}
	if old := t.rewrote[code]; old != nil {
		old.count += s.count
		return
	}
	t.rewrote[code] = &s
}

// add adds the tally of records that follow.
func (t *tally) add(o *tally) {
	for _, n := range []struct{ to, from *int }{
		{&t.Records, &o.Records}, {&t.Examples, &o.Examples}, {&t.Tokens, &o.Tokens}, {&t.Scored, &o.Scored},
		{&t.Truncated, &o.Truncated}, {&t.AnswersCut, &o.AnswersCut}, {&t.Windowed, &o.Windowed}, {&t.Prose, &o.Prose}, {&t.TooLong, &o.TooLong},
		{&t.Skipped, &o.Skipped}, {&t.Empty, &o.Empty}, {&t.Bad, &o.Bad}, {&t.Borders, &o.Borders}, {&t.Separate, &o.Separate},
		{&t.Weighted, &o.Weighted}, {&t.Templated, &o.Templated}, {&t.unmark, &o.unmark}, {&t.pairs, &o.pairs},
	} {
		*n.to += *n.from
	}
	t.Longest = max(t.Longest, o.Longest)
	for form, n := range o.Forms {
		count(&t.Forms, form, n)
	}
	for _, key := range slices.Sorted(maps.Keys(o.UnusedKeys)) {
		t.passOver(unusedKey{key, !o.unknown[key]}, o.UnusedKeys[key])
	}
	for code, s := range o.rewrote {
		t.note(code, *s)
	}
	for _, l := range []struct{ to, from *[]string }{{&t.TooLongAt, &o.TooLongAt}, {&t.EmptyAt, &o.EmptyAt}, {&t.BadAt, &o.BadAt}} {
		for _, place := range *l.from {
			name(l.to, place)
		}
	}
}

// finish writes in words what the counts say.
func (t *tally) finish(o *Options, tok Tokenizer) {
	note := func(n int, format string, args ...any) {
		if n > 0 {
			t.Notes = append(t.Notes, fmt.Sprintf(format, args...))
		}
	}
	warn := func(n int, format string, args ...any) {
		if n > 0 {
			t.Warnings = append(t.Warnings, fmt.Sprintf(format, args...))
		}
	}
	if t.Templated > 0 && o.Template != nil {
		t.Template = o.Template.String()
	}
	note(t.pairs, "%s of prompt and answer went through the chat template, as they will at inference; --chat-template none trains on them as they are", someRecords(t.pairs))
	note(t.Separate, "%s of conversations with several became examples of their own: the model meets such an answer after other tokens than a common sequence has before it", answers(t.Separate))
	note(t.Borders, "%s with a border that a token would cross if prompt and answer were one text; each side was tokenized alone, as at inference", answers(t.Borders))
	note(t.Windowed, "%s %s cut into windows of %d tokens", someRecords(t.Windowed), were(t.Windowed), o.Seq)
	note(t.Weighted, "%s with weights other than 1", plural(t.Weighted, "example"))
	t.notesOfTemplate(note, warn)
	warn(t.TooLong, "%s longer than %d tokens %s left out (%s); raise --seq to %d to learn all, or cut what is long with --long truncate-left, truncate-right or split",
		plural(t.TooLong, "example"), o.Seq, were(t.TooLong), places(t.TooLongAt, t.TooLong), t.Longest)
	note(t.Truncated, "%s %s cut to %d tokens", plural(t.Truncated, "example"), were(t.Truncated), o.Seq)
	warn(t.AnswersCut, "%s lost tokens of answers when cut; raise --seq to %d to learn them whole", plural(t.AnswersCut, "example"), t.Longest)
	if t.Empty > 0 {
		what := "left out; with --keep-empty they teach the model to stop at once"
		if o.KeepEmpty {
			what = "learned: the model will stop at once"
		}
		warn(t.Empty, "%s with nothing in them %s %s (%s)", answers(t.Empty), were(t.Empty), what, places(t.EmptyAt, t.Empty))
	}
	warn(t.Bad, "%s could not be used and %s skipped (%s)", someRecords(t.Bad), were(t.Bad), strings.Join(t.BadAt, "; "))
	warn(t.unmark, "%s without the marker %q of --train-on: nothing of that is learned", someRecords(t.unmark), o.TrainOn.marker)
	t.warnOfKeys(warn)
	t.warnOfMarkers(o, tok, warn)
}

// wantsCare are the codes of notes about what is probably not meant.
var wantsCare = []string{chat.LostContent, chat.LostMessage, chat.InsideThinking, chat.StopInside}

// notesOfTemplate adds what the template noted.
func (t *tally) notesOfTemplate(note, warn func(int, string, ...any)) {
	for _, code := range slices.Sorted(maps.Keys(t.rewrote)) {
		say := note
		if slices.Contains(wantsCare, code) {
			say = warn
		}
		s := t.rewrote[code]
		say(1, "%s: %s (first %s)", someRecords(s.count), s.text, s.at)
	}
}

// warnOfKeys names the keys that were not used.
func (t *tally) warnOfKeys(warn func(int, string, ...any)) {
	unknown := slices.Sorted(maps.Keys(t.unknown))
	warn(len(unknown), "keys that are not known and were not used: %s; leave them out, or pass --ignore-key if that is meant", strings.Join(printable.Texts(unknown), ", "))
}

func someRecords(n int) string { return plural(n, "record") }

// were is the verb for n things.
func were(n int) string {
	if n == 1 {
		return "was"
	}
	return "were"
}

func answers(n int) string { return plural(n, "answer") }

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// places names the first of n places.
func places(first []string, n int) string {
	s := strings.Join(first, ", ")
	if n > len(first) {
		s = cmp.Or(s, "somewhere") + ", …"
	}
	return s
}
