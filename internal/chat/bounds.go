package chat

import (
	"github.com/ardanlabs/jinja"
)

// Bounds of one rendering. Steps are counted before they are done: a loop its
// items times the nodes of its body, a macro the nodes of its own. Bytes are those
// of every string and list that is made, and of what is looked through. Both grow
// with the conversation.
const (
	baseSteps     = 4e6
	stepsPerByte  = 200
	baseBytes     = 64 << 20
	bytesPerByte  = 256
	loopStep      = 10  // what an iteration costs beside its body
	maxCalls      = 100 // macros inside macros
	maxValueDepth = 500 // nesting of a value
	maxRange      = 100000
)

// run is the state of one rendering.
type run struct {
	t       *Template
	env     map[string]jinja.Value
	steps   int64 // left
	bytes   int64 // left
	calls   int
	trace   *trace              // nil for none
	filters map[string]function // for those that apply others
	// namespaces are the dicts whose attributes are their keys.
	namespaces map[*jinja.Dict]bool
}

func (r *run) begin(size int) {
	r.steps = baseSteps + int64(size)*stepsPerByte
	r.bytes = baseBytes + int64(size)*bytesPerByte
	r.calls = 0
	clear(r.namespaces)
}

// step counts n steps.
func (r *run) step(n int64) error {
	if r.steps -= n; r.steps < 0 || n < 0 {
		return exceeded("it takes too many steps")
	}
	return nil
}

// arguments counts what a function may look at: texts, and lists if it goes
// through them. What is inside of lists and what is made is counted where that
// is done.
func (r *run) arguments(args []jinja.Value, lists bool) error {
	n := 0
	for _, a := range args {
		switch {
		case a.IsString():
			n += len(a.AsString()) / 16
		case lists && a.IsList():
			n += a.AsList().Len() / 4
		}
	}
	return r.step(int64(n))
}

// charge counts n bytes.
func (r *run) charge(n int64) error {
	if r.bytes -= n; r.bytes < 0 || n < 0 {
		return exceeded("it needs too much memory")
	}
	return nil
}

// look counts what it costs to look at all of a value.
func (r *run) look(values ...jinja.Value) error {
	for _, v := range values {
		if err := r.lookInto(v, 0); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) lookInto(v jinja.Value, depth int) error {
	if depth > maxValueDepth {
		return exceeded("a value is nested too deep")
	}
	switch {
	case v.IsString():
		return r.charge(int64(len(v.AsString())) + 8)
	case v.IsList():
		for _, item := range v.AsList().Items {
			if err := r.lookInto(item, depth+1); err != nil {
				return err
			}
		}
	case v.IsDict():
		d := v.AsDict()
		for _, k := range d.Keys {
			if err := r.charge(int64(len(k))); err != nil {
				return err
			}
			if err := r.lookInto(d.Data[k], depth+1); err != nil {
				return err
			}
		}
	}
	return r.charge(16)
}

// acyclic fails if holder is inside v: nothing may contain itself.
func (r *run) acyclic(holder any, v jinja.Value) error {
	if err := r.look(v); err != nil {
		return err
	}
	if holds(v, holder) {
		return failure("a value would contain itself")
	}
	return nil
}

func holds(v jinja.Value, holder any) bool {
	switch {
	case v.IsList():
		if v.AsList() == holder {
			return true
		}
		for _, item := range v.AsList().Items {
			if holds(item, holder) {
				return true
			}
		}
	case v.IsDict():
		d := v.AsDict()
		if d == holder {
			return true
		}
		for _, k := range d.Keys {
			if holds(d.Data[k], holder) {
				return true
			}
		}
	}
	return false
}

// text is str(v), counted.
func (r *run) text(v jinja.Value) (string, error) {
	if !v.IsString() {
		if err := r.look(v); err != nil {
			return "", err
		}
	}
	return str(v), nil
}

// newString counts a string that was made.
func (r *run) newString(s string) (jinja.Value, error) {
	return jinja.NewString(s), r.charge(int64(len(s)) + 16)
}

// newList counts a list that was made.
func (r *run) newList(items []jinja.Value) (jinja.Value, error) {
	return jinja.NewList(items), r.charge(int64(len(items))*24 + 48)
}
