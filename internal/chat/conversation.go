package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ardanlabs/jinja"
)

// Message is one turn of a conversation.
type Message struct {
	Role    string
	Content string // text parts joined
	// NoContent: the message has null instead of content, or no content at all.
	NoContent  bool
	Reasoning  string // what the assistant thought before it answered
	Name       string
	ToolCallID string
	ToolCalls  []ToolCall
}

// Roles are the roles that a message may have with any template. One that a
// template names itself is taken too.
func Roles() []string {
	return []string{"system", "developer", "user", "assistant", "tool", "function"}
}

// standIns are the roles that others stand for in templates that do not know them.
var standIns = map[string]string{"developer": "system", "function": "tool"}

// role is the role of a message as this template knows it.
func (t *Template) role(role string) string {
	if other, ok := standIns[role]; ok && !t.lowered.texts[role] {
		return other
	}
	return role
}

// ToolCall is a call of a tool by the assistant.
type ToolCall struct {
	ID, Name string
	// Arguments are an object, or any JSON; a string that holds an object counts as
	// the object. Nil stands for {}.
	Arguments json.RawMessage
}

// Conversation is what a template renders.
type Conversation struct {
	Messages []Message
	// Tools is the array of tools as it was given, nil for none. The order of keys
	// is kept.
	Tools json.RawMessage
	// Vars are variables of this conversation; they win over those of [Options].
	Vars map[string]any
}

// data is a conversation as values for a template.
type data struct {
	t            *Template
	conversation Conversation
	messages     []jinja.Value
	sizes        []int // bytes of the messages before, one more than messages
	vars         map[string]jinja.Value
	key          string // tells conversations with other variables apart
	switched     Note   // says which variable was set for it
	// textArguments: arguments of calls are JSON in strings.
	textArguments bool
	prompts       *traced // a rendering that the prompts follow from, nil for none
	wholes        *traced // the same for renderings that end with an answer
}

// data checks a conversation and makes it ready for rendering. Arguments of calls
// are objects, or texts for the few templates that fail on objects.
func (t *Template) data(c Conversation) (*data, error) {
	d, err := t.dataWith(c, t.textArguments.Load())
	if err != nil || d.textArguments || !hasCalls(c) {
		return d, err
	}
	if _, err := d.render(len(c.Messages), false); errors.As(err, new(failed)) {
		texts, err := t.dataWith(c, true)
		if err != nil {
			return d, nil
		}
		if _, err := texts.render(len(c.Messages), false); err == nil {
			t.textArguments.Store(true)
			return texts, nil
		}
	}
	return d, nil
}

func hasCalls(c Conversation) bool {
	return slices.ContainsFunc(c.Messages, func(m Message) bool { return len(m.ToolCalls) > 0 })
}

func (t *Template) dataWith(c Conversation, textArguments bool) (*data, error) {
	if t.broken != nil {
		return nil, t.broken
	}
	if len(c.Messages) == 0 {
		return nil, fmt.Errorf("%w: it has no messages", ErrConversation)
	}
	d := &data{t: t, conversation: c, textArguments: textArguments, key: fmt.Sprint(c.Vars), vars: map[string]jinja.Value{"bos_token": jinja.NewString(t.options.BOS), "eos_token": jinja.NewString(t.options.EOS)}}
	size := len(c.Tools)
	for i, m := range c.Messages {
		if !slices.Contains(Roles(), m.Role) && !t.lowered.texts[m.Role] {
			return nil, fmt.Errorf("%w: message %d has the role %q; expected one of %q", ErrConversation, i+1, m.Role, Roles())
		}
		d.sizes = append(d.sizes, size)
		v, err := d.message(m)
		if err != nil {
			return nil, fmt.Errorf("%w: message %d: %w", ErrConversation, i+1, err)
		}
		d.messages = append(d.messages, v)
		size += messageSize(m)
	}
	d.sizes = append(d.sizes, size)
	if err := d.setVars(c); err != nil {
		return nil, err
	}
	return d, nil
}

func messageSize(m Message) int {
	n := 100 + len(m.Role) + len(m.Content) + len(m.Reasoning)
	for _, c := range m.ToolCalls {
		n += 100 + len(c.Name) + len(c.Arguments)
	}
	return n
}

// setVars sets what is not a message. Without tools the variable is undefined.
func (d *data) setVars(c Conversation) error {
	if len(c.Tools) > 0 {
		tools, err := fromJSON(c.Tools)
		if err != nil {
			return fmt.Errorf("%w: its tools: %w", ErrConversation, err)
		}
		d.vars["tools"] = tools
	}
	for _, vars := range []map[string]any{d.t.options.Vars, c.Vars} {
		for name, v := range vars {
			value, err := valueOf(v)
			if err != nil {
				return fmt.Errorf("%w: the variable %q: %w", ErrConversation, name, err)
			}
			d.vars[name] = value
		}
	}
	return nil
}

// valueOf turns what encoding/json gives, or raw JSON, into a value.
func valueOf(v any) (jinja.Value, error) {
	if raw, ok := v.(json.RawMessage); ok {
		return fromJSON(raw)
	}
	switch v := v.(type) {
	case nil, bool, string, float64:
		return jinja.FromGoValue(v), nil
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return jinja.None(), err
	}
	return fromJSON(raw)
}

// reasoningKeys are the names under which templates look for what was thought.
var reasoningKeys = []string{"reasoning_content", "thinking", "reasoning", "thought"}

// reasoningKey is the name that this template asks for.
func (t *Template) reasoningKey() string {
	for _, key := range reasoningKeys {
		if t.lowered.keys[key] {
			return key
		}
	}
	return reasoningKeys[0]
}

// message makes a dict of a message, with the keys that transformers would have.
func (d *data) message(m Message) (jinja.Value, error) {
	v, t := jinja.NewDict(), d.t
	dict := v.AsDict()
	set := func(key, text string) {
		if text != "" {
			dict.Set(key, jinja.NewString(text))
		}
	}
	dict.Set("role", jinja.NewString(t.role(m.Role)))
	set("tool_call_id", m.ToolCallID)
	set("name", m.Name)
	dict.Set("content", jinja.NewString(m.Content))
	if m.NoContent && m.Content == "" {
		dict.Set("content", jinja.None())
	}
	set(t.reasoningKey(), m.Reasoning)
	if len(m.ToolCalls) == 0 {
		return v, nil
	}
	var calls []jinja.Value
	for i, c := range m.ToolCalls {
		call, err := d.toolCall(c)
		if err != nil {
			return v, fmt.Errorf("call %d: %w", i+1, err)
		}
		calls = append(calls, call)
	}
	dict.Set("tool_calls", jinja.NewList(calls))
	return v, nil
}

func (d *data) toolCall(c ToolCall) (jinja.Value, error) {
	v, f := jinja.NewDict(), jinja.NewDict()
	arguments, err := callArguments(c.Arguments)
	if err == nil && d.textArguments && !arguments.IsString() {
		w := jsonWriter{item: ", ", key: ": ", limit: func(int64) error { return nil }}
		err = w.value(arguments, 0)
		arguments = jinja.NewString(w.String())
	}
	if err != nil {
		return v, err
	}
	if c.ID != "" {
		v.AsDict().Set("id", jinja.NewString(c.ID))
	}
	v.AsDict().Set("type", jinja.NewString("function"))
	f.AsDict().Set("name", jinja.NewString(c.Name))
	f.AsDict().Set("arguments", arguments)
	v.AsDict().Set("function", f)
	return v, nil
}

// callArguments reads arguments; a string that holds an object is the object.
func callArguments(raw json.RawMessage) (jinja.Value, error) {
	if len(raw) == 0 {
		return jinja.NewDict(), nil
	}
	v, err := fromJSON(raw)
	if err != nil {
		return v, fmt.Errorf("its arguments: %w", err)
	}
	if v.IsString() {
		if inner, err := fromJSON([]byte(v.AsString())); err == nil && inner.IsDict() {
			return inner, nil
		}
	}
	return v, nil
}

// render renders the first n messages.
func (d *data) render(n int, generate bool) (string, error) {
	return d.renderList(d.messages[:n], generate)
}

func (d *data) renderList(messages []jinja.Value, generate bool) (string, error) {
	vars, _ := d.variables(messages, generate)
	return d.t.render(vars, d.sizes[min(len(messages), len(d.sizes)-1)], nil)
}

// variables are all that a template finds. What it may change is copied, so that
// it is not there the next time.
func (d *data) variables(messages []jinja.Value, generate bool) (map[string]jinja.Value, *jinja.List) {
	vars := maps.Clone(d.vars)
	list := jinja.NewList(slices.Clip(messages))
	if d.t.lowered.mutates {
		list = deepCopy(list)
		for name, v := range vars {
			vars[name] = deepCopy(v)
		}
	}
	vars["messages"] = list
	vars["add_generation_prompt"] = jinja.NewBool(generate)
	return vars, list.AsList()
}

// deepCopy copies lists and dicts all the way down.
func deepCopy(v jinja.Value) jinja.Value {
	switch {
	case v.IsList():
		items := make([]jinja.Value, v.AsList().Len())
		for i, item := range v.AsList().Items {
			items[i] = deepCopy(item)
		}
		return jinja.NewList(items)
	case v.IsDict():
		d := jinja.NewDict()
		for _, k := range v.AsDict().Keys {
			d.AsDict().Set(k, deepCopy(v.AsDict().Data[k]))
		}
		return d
	}
	return v
}
