package dataset

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"qtool/internal/chat"
)

// encoder tokenizes records.
type encoder struct {
	tok  Tokenizer
	opts *Options
}

// notices are what is to be said of a record besides its examples.
type notices struct {
	borders   int // spans that begin where one text of prompt and answer has a token across
	alone     int // answers that became examples of their own
	empty     int // answers with nothing in them
	unmarked  bool
	templated bool // it went through the template
	notes     []chat.Note
}

// start is the tokens of a text that begins a document: with BOS, unless it brings its own.
func (e *encoder) start(text string) []int32 {
	ids, _ := e.tok.Encode(text, true)
	return e.withBOS(ids)
}

func (e *encoder) withBOS(ids []int32) []int32 {
	if bos := e.tok.BOS(); bos >= 0 && (len(ids) == 0 || ids[0] != bos) {
		return slices.Insert(ids, 0, bos)
	}
	return ids
}

// end closes a document with EOS, unless it brought its own.
func (e *encoder) end(d *document, weight float32) {
	if eos := e.tok.EOS(); eos >= 0 && (len(d.ids) == 0 || d.ids[len(d.ids)-1] != eos) {
		d.put(weight, eos)
	}
}

// whole is a text of which all is learned, or what follows the marker.
func (e *encoder) whole(text string, weight float32, n *notices) []Example {
	if e.opts.TrainOn.mode == learnAfter {
		marker := e.opts.TrainOn.marker
		at := strings.LastIndex(text, marker)
		if at < 0 {
			n.unmarked = true
			return nil
		}
		at += len(marker)
		return e.continued(text[:at], text[at:], weight, n)
	}
	var d document
	ids := e.start(text)
	if len(ids) > 0 && ids[0] == e.tok.BOS() {
		d.put(0, ids[0])
		ids = ids[1:]
	}
	d.put(weight, ids...)
	e.end(&d, weight)
	return d.examples()
}

// continued is a text that is read and one that the model is to continue it with. Each is
// tokenized alone, as they are at inference: there the prompt is complete before the
// first token of the answer is drawn. After an empty prompt the answer begins the text.
func (e *encoder) continued(prompt, answer string, weight float32, n *notices) []Example {
	if blankText(answer) {
		if n.empty++; !e.opts.KeepEmpty {
			return nil
		}
	}
	var d document
	if prompt == "" {
		if bos := e.tok.BOS(); bos >= 0 {
			d.put(0, bos)
		}
		ids := e.start(answer)
		d.put(weight, ids[len(d.ids):]...)
	} else {
		d.put(0, e.start(prompt)...)
		d.put(weight, e.tok.Continue(answer, true)...)
		if e.crossed(prompt, answer) {
			n.borders++
		}
	}
	e.end(&d, weight)
	return d.examples()
}

// borderReach is how much text on either side decides whether a token crosses a border, to
// the end of a word that is not longer still.
const borderReach = 40

// crossed is whether the tokens of before and after as one text are others than those of
// each alone.
func (e *encoder) crossed(before, after string) bool {
	from, to := max(0, len(before)-borderReach), min(len(after), borderReach)
	for from > 0 && from > len(before)-2*borderReach && !(blank(before[from]) && !blank(before[from-1])) {
		from--
	}
	for from > 0 && !utf8.RuneStart(before[from]) {
		from--
	}
	for to < len(after) && to < 2*borderReach && !blank(after[to]) {
		to++
	}
	for to < len(after) && !utf8.RuneStart(after[to]) {
		to++
	}
	before, after = before[from:], after[:to]
	joint := e.tok.Continue(before+after, true)
	return !slices.Equal(joint, append(e.tok.Continue(before, true), e.tok.Continue(after, true)...))
}

func (r textRecord) tokenize(e *encoder, n *notices) ([]Example, error) {
	if blankText(r.text) {
		if n.empty++; !e.opts.KeepEmpty {
			return nil, nil
		}
	}
	return e.whole(r.text, r.weight, n), nil
}

func (r pairRecord) tokenize(e *encoder, n *notices) ([]Example, error) {
	if e.opts.TrainOn.whole() {
		return textRecord{r.prompt + r.completion, r.weight}.tokenize(e, n)
	}
	return e.continued(r.prompt, r.completion, r.weight, n), nil
}

func (r tokenRecord) tokenize(e *encoder, _ *notices) ([]Example, error) {
	size := e.tok.Size()
	for i, id := range r.ids {
		if id < 0 || int(id) >= size {
			return nil, fmt.Errorf(`"input_ids" has %d at index %d; the vocabulary has the ids 0 to %d`, id, i, size-1)
		}
		if l := r.labels[i]; l != Unscored && (l < 0 || int(l) >= size) {
			return nil, fmt.Errorf(`"labels" has %d at index %d; expected -100 or an id of the vocabulary, 0 to %d`, l, i, size-1)
		}
	}
	n := len(r.labels) - 1
	for n > 0 && r.labels[n] == Unscored {
		n--
	}
	if n <= 0 || r.weight == 0 {
		return nil, nil
	}
	weights := slices.Repeat([]float32{r.weight}, n)
	return []Example{NewExample(r.ids[:n], r.labels[1:n+1], weights)}, nil
}

// errNoTemplate is about a conversation where there is no template.
var errNoTemplate = errors.New("it is a conversation, which needs a chat template; name one with --chat-template, such as chatml")
