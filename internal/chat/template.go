package chat

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ardanlabs/jinja"
)

// Options of a template.
type Options struct {
	Name     string // for the user
	BOS, EOS string // texts of these tokens, which templates ask for; "" for none
	// Vars are variables for every conversation, such as enable_thinking.
	Vars map[string]any
	// Now is what strftime_now tells; zero for the time of New.
	Now time.Time
	// Markers are texts of special tokens of the vocabulary, among which the end of
	// a turn is sought first. They may be left out.
	Markers []string
}

// Template is a chat template, ready to render conversations. It may be used by
// several goroutines.
type Template struct {
	name     string
	source   string
	options  Options
	now      time.Time
	lowered  lowered
	compiled *jinja.Template
	runs     sync.Pool
	broken   error    // why it cannot be used
	endings  sync.Map // endings of turns that were found, by endingKey
	// textArguments: the template wants arguments of calls as JSON in strings.
	textArguments atomic.Bool
}

// New compiles a template in Jinja. It fails with [ErrTemplate].
func New(source string, o Options) (*Template, error) {
	body, err := parse(source)
	if err != nil {
		return nil, err
	}
	low, err := lower(body)
	if err != nil {
		return nil, err
	}
	compiled, err := jinja.Compile(low.source)
	if err != nil {
		return nil, templateError(0, "%v", err)
	}
	t := &Template{name: o.Name, source: source, options: o, now: o.Now, lowered: low, compiled: compiled}
	if t.now.IsZero() {
		t.now = time.Now()
	}
	t.runs.New = func() any { return t.newRun() }
	return t, nil
}

// String names the template for the user.
func (t *Template) String() string { return t.name }

// Source is the template in Jinja.
func (t *Template) Source() string { return t.source }

// newRun binds the functions that the template uses to a state of their own.
func (t *Template) newRun() *run {
	r := &run{t: t, env: map[string]jinja.Value{}, namespaces: map[*jinja.Dict]bool{}, filters: filters}
	for name := range t.lowered.used {
		if f, ok := lookup(name); ok {
			goesThrough := strings.HasPrefix(name, "f_") || strings.HasPrefix(name, "is_") || name == "method"
			r.env[name] = jinja.NewCallable(name, func(args []jinja.Value, kw map[string]jinja.Value) (jinja.Value, error) {
				if err := r.arguments(args, goesThrough); err != nil {
					return jinja.None(), err
				}
				if r.trace == nil || r.trace.broken {
					return f(r, args, kw)
				}
				r.trace.call(name, args, kw)
				v, err := f(r, args, kw)
				if err == nil {
					r.trace.made(name, args, v, r.calls == 0)
				}
				return v, err
			})
		}
	}
	return r
}

// render renders with the variables given; size is about how many bytes they
// have. A trace may be nil.
func (t *Template) render(vars map[string]jinja.Value, size int, watch *trace) (string, error) {
	r := t.runs.Get().(*run)
	defer t.runs.Put(r)
	r.begin(size)
	r.trace = watch
	env := maps.Clone(r.env)
	for name, v := range vars {
		env["v_"+name] = v
	}
	if err := r.step(int64(t.lowered.cost)); err != nil {
		return "", err
	}
	text, err := t.compiled.RenderValues(env)
	if err != nil {
		return "", explain(err)
	}
	return text, nil
}

// Render renders a conversation; generate appends the header of an assistant's
// turn, for the model to continue. It fails with [ErrConversation],
// [ErrUnsupported] or [ErrTemplate].
func (t *Template) Render(c Conversation, generate bool) (string, error) {
	d, err := t.data(c)
	if err != nil {
		return "", err
	}
	return d.render(len(c.Messages), generate)
}

// blank says whether a text has nothing but white space.
func blank(s string) bool { return strings.TrimFunc(s, isSpace) == "" }
