package chat

import (
	"strings"

	"github.com/ardanlabs/jinja"
)

// trace watches one rendering to prove that shorter conversations render alike.
//
// Most templates go through the messages once, in a loop that looks at each
// message and at those before it only. Then the rendering of the first k messages
// runs exactly as that of all of them up to the end of iteration k-1, and goes on
// with what follows the loop; so its text is the text up to there and the text
// after the loop, neither of which has to be rendered again. That holds if
//
//   - the list of messages, or a slice of it without its first ones, is looped
//     over once, to its end;
//   - nothing else that depends on its length is asked for (a later message, the
//     last one, the length, loop.last);
//   - the loop leaves nothing behind (no attribute of a namespace, no list that
//     grows), so that what follows it is the same after any number of messages.
//
// Every use of the list of messages, of its slices and of the loop's variable is
// an argument of one of our functions, and all of them pass by here. What is not
// known to be harmless ends the proof, and every turn is rendered by itself.
type trace struct {
	lists   map[*jinja.List]int // the list of messages and slices of it, with the index of their first
	offset  int                 // the largest of these
	loops   int                 // over messages, so far
	entered bool                // such a loop was just begun
	loop    *jinja.Dict         // its variable
	at      int                 // the message that the loop is at, -1 outside
	first   int                 // the message that it began with
	written int                 // bytes of output so far
	starts  []int               // output before each of the loop's messages
	end     int                 // output when the loop was left
	broken  bool
}

func newTrace(messages *jinja.List) *trace {
	return &trace{lists: map[*jinja.List]int{messages: 0}, at: -1}
}

// typeTests look at the type of a list only.
var typeTests = map[string]bool{
	"is_defined": true, "is_undefined": true, "is_none": true, "is_string": true, "is_mapping": true, "is_iterable": true,
	"is_sequence": true, "missing": true,
}

// loopFacts are what a loop's variable knows without what comes later.
var loopFacts = map[string]bool{"index": true, "index0": true, "first": true, "previtem": true, "cycle": true}

// call looks at a call before it is done.
func (t *trace) call(name string, args []jinja.Value, kw kwargs) {
	switch name {
	case "v_joiner", "v_cycler":
		t.broken = true
	case "setattr", "push":
		t.broken = t.broken || t.at >= 0
	case "enter":
		t.enter(args[0].AsDict())
		return
	case "leave":
		t.leave()
		return
	}
	for i, a := range args {
		if t.follows(a) && (i > 0 || !t.allows(name, args)) {
			t.broken = true
		}
	}
	for _, a := range kw {
		t.broken = t.broken || t.follows(a)
	}
}

// follows says whether a value is what is traced.
func (t *trace) follows(v jinja.Value) bool {
	switch {
	case v.IsDict():
		return v.AsDict() == t.loop
	case v.IsList():
		_, ok := t.lists[v.AsList()]
		return ok
	}
	return false
}

// allows says whether a use of args[0] gives the same for shorter conversations.
func (t *trace) allows(name string, args []jinja.Value) bool {
	if args[0].IsDict() {
		isAccess := name == "attr" || name == "item" || name == "method"
		return isAccess && args[1].IsString() && loopFacts[args[1].AsString()]
	}
	list := args[0].AsList()
	switch name {
	case "item":
		at, ok := integerOf(args[1])
		return ok && at >= 0 && at < list.Len() && t.lists[list]+at <= max(t.at, t.offset)
	case "slice":
		start, ok := integerOf(args[1])
		return ok && start >= 0 && args[2].IsNone() && args[3].IsNone() && t.loops == 0
	case "iter":
		return t.loops == 0 && len(args) == 3 // one at the top, without a condition
	}
	return typeTests[name]
}

// made follows what a call gave.
func (t *trace) made(name string, args []jinja.Value, v jinja.Value, top bool) {
	switch {
	case name == "out" && top:
		t.written += len(v.AsString())
	case name == "slice" && t.follows(args[0]) && v.IsList():
		start, _ := integerOf(args[1])
		from := t.lists[args[0].AsList()] + start
		t.lists[v.AsList()] = from
		t.offset = max(t.offset, from)
	case name == "iter" && t.follows(args[0]):
		t.loops++
		t.entered = true
		t.first = t.lists[args[0].AsList()]
	}
}

// enter begins an iteration of a loop at the top of the template.
func (t *trace) enter(loop *jinja.Dict) {
	if t.entered {
		t.entered, t.loop = false, loop
	}
	if loop == t.loop {
		t.at = t.first + len(t.starts)
		t.starts = append(t.starts, t.written)
	}
}

// leave ends a loop at the top of the template.
func (t *trace) leave() {
	if t.loop != nil || t.entered {
		t.end = t.written
	}
	t.entered, t.loop, t.at = false, nil, -1
}

// traced is a rendering of n messages that the renderings of fewer follow from.
type traced struct {
	*trace
	text string
	n    int
}

// of returns the rendering of the first k messages, if it follows. It is cut from
// within where that has the same text, so that nothing is copied.
func (t *traced) of(k int, within *traced) (string, bool) {
	switch {
	case t == nil:
		return "", false
	case k == t.n:
		return t.text, true
	case t.broken || t.loops != 1 || k <= t.offset || k > t.n || t.first+len(t.starts) != t.n:
		return "", false
	}
	at, rest := t.starts[k-t.first], t.text[t.end:]
	if within != nil && strings.HasPrefix(within.text, t.text[:at]) && strings.HasPrefix(within.text[at:], rest) {
		return within.text[:at+len(rest)], true
	}
	return t.text[:at] + rest, true
}

// trace renders the first n messages so that shorter renderings may follow.
func (d *data) trace(n int, generate bool) (*traced, error) {
	messages := d.messages[:n]
	if d.t.lowered.mutates {
		text, err := d.render(n, generate)
		return &traced{trace: &trace{broken: true}, text: text, n: n}, err
	}
	vars, list := d.variables(messages, generate)
	watch := newTrace(list)
	text, err := d.t.render(vars, d.sizes[n], watch)
	if watch.written != len(text) {
		watch.broken = true
	}
	return &traced{watch, text, n}, err
}
