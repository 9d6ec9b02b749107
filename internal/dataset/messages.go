package dataset

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"qtool/internal/chat"
	"qtool/internal/printable"
	"qtool/internal/records/jsontext"
)

// parseMessages reads a conversation, in the keys of OpenAI or of ShareGPT.
func parseMessages(p *parser, f *fields, keys []string) (record, error) {
	b := &dialog{p: p, aliases: strings.HasPrefix(keys[0], "conversation")}
	if err := b.begin(f); err != nil {
		return nil, err
	}
	turns, err := value[[]object](f, keys[0], "an array of messages")
	if err != nil {
		return nil, err
	}
	if err := b.addAll(turns, true); err != nil {
		return nil, err
	}
	return b.record()
}

// dialog builds a conversation message by message.
type dialog struct {
	p       *parser
	aliases bool // roles may have the names that ShareGPT uses
	system  bool // the record has a system message of its own beside the messages
	chatRecord
}

// begin reads what a record says of the conversation as a whole.
func (b *dialog) begin(f *fields) (err error) {
	if b.weight, _, err = f.weight(); err != nil {
		return err
	}
	if b.Tools, err = readTools(f); err != nil {
		return err
	}
	if b.Vars, _, err = optional[map[string]any](f, "chat_template_kwargs", "an object of variables for the chat template"); err != nil {
		return err
	}
	system, err := f.text(b.p.opts.systemField())
	if b.system = system != ""; b.system {
		b.add(chat.Message{Role: "system", Content: system}, 0)
	}
	return err
}

func (o *Options) systemField() string {
	if o.SystemField != "" {
		return o.SystemField
	}
	return "system"
}

// add appends a message. Only the assistant's have a weight.
func (b *dialog) add(m chat.Message, weight float32) {
	if m.Role != "assistant" {
		weight = 0
	}
	b.Messages = append(b.Messages, m)
	b.weights = append(b.weights, weight)
}

// addAll appends messages as they were written. Those of a prompt are not learned.
func (b *dialog) addAll(turns []object, learned bool) error {
	for i, turn := range turns {
		if err := b.addTurn(&fields{object: b.p.withoutIgnored(turn)}, learned); err != nil {
			return fmt.Errorf("message %d: %w", i+1, err)
		}
	}
	return nil
}

func (b *dialog) addTurn(f *fields, learned bool) error {
	m, err := b.readMessage(f)
	if err != nil {
		return err
	}
	if m.Role == "system" && b.system {
		if m.Content != b.Messages[0].Content {
			return fmt.Errorf("it is a system message, and another one stands in %q beside the messages; leave one of them", b.p.opts.systemField())
		}
		return nil // the record says it in both places
	}
	weight, stated, err := f.weight()
	switch {
	case err != nil:
		return err
	case m.Role != "assistant" && stated && (weight != 0 && weight != 1 || string(f.object["train"]) == "true" || string(f.object["training"]) == "true"):
		return fmt.Errorf("it is to be learned or weighted, but its role is %s; only what the assistant says is learned, or all with --train-on all", printable.Quote(m.Role))
	case !learned:
		weight = 0
	}
	for _, key := range f.unread() {
		known := slices.Contains(metadata, key)
		if !known && slices.Contains(meaningfulInMessage, key) && !sayNothing(key, f.object[key]) {
			return fmt.Errorf("%q is nothing that a message can have here; leave it out, or pass --ignore-key %[1]s if it may be passed over", key)
		}
		b.p.passOver(key, known)
	}
	b.add(m, weight*b.weight)
	return nil
}

// record ends the conversation: answers with nothing in them are not learned, and of all
// others those that --train-on names.
func (b *dialog) record() (record, error) {
	r := b.chatRecord
	if len(r.Messages) == 0 {
		return nil, errors.New("the conversation has no messages")
	}
	last := -1
	for i, m := range r.Messages {
		if r.weights[i] == 0 {
			continue
		}
		if blankText(m.Content) && blankText(m.Reasoning) && len(m.ToolCalls) == 0 && !b.p.opts.TrainOn.whole() {
			if r.empty++; !b.p.opts.KeepEmpty {
				r.weights[i] = 0
				continue
			}
		}
		last = i
	}
	if b.p.opts.TrainOn.mode == learnLast {
		for i := range r.weights {
			if i != last {
				r.weights[i] = 0
			}
		}
	}
	return r, nil
}

// aliases are the roles of ShareGPT.
var aliases = map[string]string{
	"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "ai": "assistant", "model": "assistant",
	"bing": "assistant", "bard": "assistant", "claude": "assistant",
	"observation": "tool", "function_response": "tool", "tool_response": "tool", "function_call": "function_call", "tool_call": "function_call",
	"user": "user", "assistant": "assistant", "system": "system", "developer": "developer", "tool": "tool", "function": "tool",
}

// readMessage reads the message without what is to be learned of it.
func (b *dialog) readMessage(f *fields) (m chat.Message, err error) {
	roleKey, contentKey, renamed := "role", "content", b.aliases
	if _, shareGPT := f.object["from"]; shareGPT {
		roleKey, contentKey, renamed = "from", "value", true
	}
	if m.Role, err = value[string](f, roleKey, "a string"); err != nil {
		return m, err
	}
	switch role, known := aliases[m.Role]; {
	case renamed && !known:
		return m, fmt.Errorf("%q is %s; expected human, gpt, system, tool, function_call, observation or a role such as user and assistant", roleKey, printable.Quote(m.Role))
	case renamed:
		m.Role = role
	case m.Role == "function":
		m.Role = "tool"
	}
	if err := readContent(f, contentKey, &m); err != nil {
		return m, err
	}
	if m.Role == "function_call" {
		return m, becomeCall(&m)
	}
	if m.Name, err = f.text("name"); err != nil {
		return m, err
	}
	if m.ToolCallID, err = f.text("tool_call_id"); err != nil {
		return m, err
	}
	if err := readReasoning(f, &m); err != nil {
		return m, err
	}
	if err := readCalls(f, &m); err != nil {
		return m, err
	}
	if m.NoContent = f.get(contentKey) == nil; m.NoContent && len(m.ToolCalls) == 0 && m.Reasoning == "" {
		_, err = value[string](f, contentKey, "a string")
	}
	return m, err
}

// part is a part of a content that is a list.
type part struct {
	Type     string  `json:"type"`
	Text     *string `json:"text"`
	Thinking *string `json:"thinking"`
}

// readContent reads a content: a text, or a list of parts that are texts.
func readContent(f *fields, key string, m *chat.Message) error {
	raw := f.get(key)
	if !bytes.HasPrefix(raw, []byte("[")) {
		text, err := f.text(key)
		m.Content = text
		return err
	}
	parts, err := value[[]json.RawMessage](f, key, "a string or an array of text parts")
	if err != nil {
		return err
	}
	for i, raw := range parts {
		var p part
		if text := ""; json.Unmarshal(raw, &text) == nil {
			p.Text = &text
		} else if json.Unmarshal(raw, &p) != nil {
			return fmt.Errorf("%q has the part %s; expected {\"type\":\"text\",\"text\":…}", key, jsontext.Excerpt(raw))
		}
		switch {
		case p.Text != nil && slices.Contains([]string{"", "text", "input_text", "output_text"}, p.Type):
			m.Content += *p.Text
		case p.Type == "thinking" && p.Thinking != nil:
			m.Reasoning += *p.Thinking
		case p.Type == "text":
			return fmt.Errorf("part %d of %q is a text without text", i+1, key)
		default:
			return fmt.Errorf("part %d of %q is of the type %s, which cannot be trained on; only text can", i+1, key, printable.Quote(p.Type))
		}
	}
	return nil
}

// readReasoning reads what the assistant thought, which goes by several names.
func readReasoning(f *fields, m *chat.Message) error {
	for _, key := range []string{"reasoning_content", "reasoning", "thinking"} {
		text, err := f.text(key)
		switch {
		case err != nil:
			return err
		case text == "" || text == m.Reasoning:
		case m.Reasoning != "":
			return fmt.Errorf("%q differs from the reasoning that stands under another key; leave one of them", key)
		default:
			m.Reasoning = text
		}
	}
	return nil
}

// call is a call of a tool, with its function in an object of its own or not.
type call struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Function *call  `json:"function"`

	Name       string          `json:"name"`
	Arguments  json.RawMessage `json:"arguments"`
	Parameters json.RawMessage `json:"parameters"` // as some write it
}

// toolCall checks a call.
func (c call) toolCall() (chat.ToolCall, error) {
	t := chat.ToolCall{ID: c.ID}
	if c.Type != "" && c.Type != "function" {
		return t, fmt.Errorf("it is of the type %s; expected function", printable.Quote(c.Type))
	}
	if c.Function != nil {
		id := c.ID
		c = *c.Function
		t.ID = id
	}
	t.Name = c.Name
	if t.Name == "" {
		return t, errors.New("it has no name of a function")
	}
	if t.Arguments = c.Arguments; absentCall(t.Arguments) {
		t.Arguments = c.Parameters
	}
	var err error
	t.Arguments, err = callArguments(t.Arguments)
	return t, err
}

func absentCall(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// callArguments are the arguments of a call; a string that holds JSON becomes that.
func callArguments(raw json.RawMessage) (json.RawMessage, error) {
	if absentCall(raw) {
		return json.RawMessage("{}"), nil
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return raw, nil
	}
	if text = strings.TrimSpace(text); text == "" {
		return json.RawMessage("{}"), nil
	}
	if !json.Valid([]byte(text)) {
		return nil, fmt.Errorf("its arguments are %s; expected an object, or a string of JSON", jsontext.Excerpt(raw))
	}
	return json.RawMessage(text), nil
}

// readCalls reads the calls of a message: tool_calls, or function_call as it was before.
func readCalls(f *fields, m *chat.Message) error {
	calls, _, err := optional[[]call](f, "tool_calls", "an array of calls, each with a function of a name and arguments")
	if err != nil {
		return err
	}
	if f.has("function_call") {
		old, _, err := optional[call](f, "function_call", "an object of a name and arguments")
		if err != nil {
			return err
		}
		calls = append(calls, old)
	}
	f.get("function_call")
	for i, c := range calls {
		t, err := c.toolCall()
		if err != nil {
			return fmt.Errorf(`call %d of "tool_calls" or "function_call": %w`, i+1, err)
		}
		m.ToolCalls = append(m.ToolCalls, t)
	}
	if len(calls) > 0 && m.Role != "assistant" {
		return fmt.Errorf(`the role %s has "tool_calls"; only the assistant calls tools`, printable.Quote(m.Role))
	}
	return nil
}

// becomeCall makes a message of ShareGPT's role function_call one of the assistant.
func becomeCall(m *chat.Message) error {
	var calls []call
	text := []byte(strings.TrimSpace(m.Content))
	if !bytes.HasPrefix(text, []byte("[")) {
		text = slices.Concat([]byte("["), text, []byte("]"))
	}
	if err := json.Unmarshal(text, &calls); err != nil || len(calls) == 0 {
		return fmt.Errorf("it calls a function, but its value is %s; expected JSON of a name and arguments", jsontext.Excerpt([]byte(m.Content)))
	}
	m.Role, m.Content = "assistant", ""
	for _, c := range calls {
		t, err := c.toolCall()
		if err != nil {
			return fmt.Errorf("its call of a function: %w", err)
		}
		m.ToolCalls = append(m.ToolCalls, t)
	}
	return nil
}

// readTools reads the tools of a conversation: an array, or a string of one. Functions as
// they were before tools become tools.
func readTools(f *fields) (json.RawMessage, error) {
	tools, err := readArray(f, "tools")
	if err != nil {
		return nil, err
	}
	functions, err := readArray(f, "functions")
	if err != nil || len(functions) == 0 {
		return joinArray(tools), err
	}
	if len(tools) > 0 {
		return nil, errors.New(`the record has "tools" and "functions"; expected one of them`)
	}
	for i, fn := range functions {
		functions[i] = slices.Concat(json.RawMessage(`{"type":"function","function":`), fn, json.RawMessage(`}`))
	}
	return joinArray(functions), nil
}

// readArray reads an optional array of objects, or a string of one.
func readArray(f *fields, key string) (list []json.RawMessage, err error) {
	const kind = "an array of objects"
	raw := f.get(key)
	if text := ""; json.Unmarshal(raw, &text) == nil {
		if raw = json.RawMessage(strings.TrimSpace(text)); len(raw) == 0 {
			return nil, nil
		}
	}
	if absent(raw) {
		return nil, nil
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("%q is %s; expected %s", key, jsontext.Excerpt(raw), kind)
	}
	for _, e := range list {
		if !bytes.HasPrefix(e, []byte("{")) {
			return nil, fmt.Errorf("%q holds %s; expected %s", key, jsontext.Excerpt(e), kind)
		}
	}
	return list, nil
}

// joinArray writes an array again, nil for none.
func joinArray(list []json.RawMessage) json.RawMessage {
	if len(list) == 0 {
		return nil
	}
	out := json.RawMessage("[")
	for i, e := range list {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, e...)
	}
	return append(out, ']')
}
