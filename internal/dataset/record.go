package dataset

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"qtool/internal/chat"
	"qtool/internal/printable"
)

// record is one entry of a file in the form it was written.
type record interface {
	tokenize(*encoder) (document, error)
}

type (
	textRecord  struct{ text string }
	pairRecord  struct{ prompt, completion string }
	chatRecord  struct{ messages []chat.Message }
	tokenRecord struct{ ids, labels []int32 } // padding removed; same lengths
)

// object is a JSON object by key.
type object map[string]json.RawMessage

// form is one way to write a record.
type form struct {
	keys  []string // all of which must be there
	parse func(o object, keys []string) (record, error)
}

func (f form) String() string { return `{"` + strings.Join(f.keys, `","`) + `"}` }

func (f form) fits(o object) bool {
	for _, k := range f.keys {
		if _, ok := o[k]; !ok {
			return false
		}
	}
	return true
}

// forms lists the accepted forms; a record that fits several is the first of
// them. A form whose fields the user named comes before all others.
func (o Options) forms() []form {
	all := []form{
		{[]string{"input_ids"}, parseTokens},
		{[]string{"messages"}, parseChat},
	}
	pair := form{[]string{cmp.Or(o.PromptField, "prompt"), cmp.Or(o.CompletionField, "completion")}, parsePair}
	if o.PromptField != "" || o.CompletionField != "" {
		all = slices.Insert(all, 0, pair)
	} else {
		all = append(all, pair)
	}
	text := form{[]string{cmp.Or(o.TextField, "text")}, parseText}
	if o.TextField != "" {
		return slices.Insert(all, 0, text)
	}
	return append(all, text)
}

// parseRecord reads one JSON value as a record of the first form that fits.
func parseRecord(at place, body []byte, forms []form) (record, error) {
	var o object
	if !bytes.HasPrefix(body, []byte("{")) {
		return nil, bad(at, "expected a JSON object, found %s", excerpt(body))
	}
	if err := json.Unmarshal(body, &o); err != nil {
		return nil, bad(at, "it is not valid JSON: %v", err)
	}
	for _, f := range forms {
		if f.fits(o) {
			r, err := f.parse(o, f.keys)
			if err != nil {
				return nil, bad(at, "%v", err)
			}
			return r, nil
		}
	}
	accepted := make([]string, len(forms))
	for i, f := range forms {
		accepted[i] = f.String()
	}
	return nil, bad(at, "the record has the keys %q; expected one of the forms %s; --prompt-field, --completion-field and --text-field name other keys",
		firstKeys(o), strings.Join(accepted, ", "))
}

func firstKeys(o object) []string {
	keys := slices.Sorted(maps.Keys(o))
	if len(keys) > 12 {
		keys = append(keys[:12], "…")
	}
	for i, k := range keys {
		if len(k) > 40 {
			keys[i] = strings.ToValidUTF8(k[:40], "") + "…"
		}
	}
	return keys
}

// excerpt is the beginning of b, quoted if not all of it can be printed.
func excerpt(b []byte) string {
	if len(b) > 40 {
		return printable.Text(strings.ToValidUTF8(string(b[:40]), "") + "…")
	}
	return printable.Text(string(b))
}

// value decodes one field; kind names what was expected.
func value[T any](o object, key, kind string) (T, error) {
	var v T
	raw, ok := o[key]
	if !ok {
		return v, fmt.Errorf("%q is missing; expected %s", key, kind)
	}
	if err := json.Unmarshal(raw, &v); err != nil || string(raw) == "null" {
		return v, fmt.Errorf("%q is %s; expected %s", key, excerpt(raw), kind)
	}
	return v, nil
}

func parseText(o object, keys []string) (record, error) {
	text, err := value[string](o, keys[0], "a string")
	return textRecord{text}, err
}

func parsePair(o object, keys []string) (record, error) {
	prompt, err := value[string](o, keys[0], "a string")
	if err != nil {
		return nil, err
	}
	completion, err := value[string](o, keys[1], "a string")
	return pairRecord{prompt, completion}, err
}

func parseChat(o object, keys []string) (record, error) {
	turns, err := value[[]object](o, keys[0], "an array of messages")
	if err != nil {
		return nil, err
	}
	r := chatRecord{}
	for i, turn := range turns {
		role, err := value[string](turn, "role", "a string")
		if err != nil {
			return nil, fmt.Errorf("message %d: %w", i+1, err)
		}
		if calls, ok := turn["tool_calls"]; ok && string(calls) != "null" && string(calls) != "[]" {
			return nil, fmt.Errorf(`message %d has "tool_calls", which need the model's own chat template and are not read yet`, i+1)
		}
		content, err := value[string](turn, "content", "a string")
		if err != nil {
			return nil, fmt.Errorf("message %d: %w", i+1, err)
		}
		r.messages = append(r.messages, chat.Message{Role: role, Content: content})
	}
	return r, nil
}

// parseTokens reads {"input_ids","labels","attention_mask"}, the last two
// optional. Positions that the mask hides at either end are padding.
func parseTokens(o object, keys []string) (record, error) {
	ids, err := value[[]int32](o, keys[0], "an array of token ids")
	if err != nil {
		return nil, err
	}
	labels, err := aligned(o, "labels", len(ids))
	if err != nil {
		return nil, err
	}
	if labels == nil {
		labels = slices.Clone(ids)
	}
	mask, err := aligned(o, "attention_mask", len(ids))
	if err != nil {
		return nil, err
	}
	start, end := 0, len(ids)
	if mask != nil {
		for start < end && mask[start] == 0 {
			start++
		}
		for end > start && mask[end-1] == 0 {
			end--
		}
		if slices.Contains(mask[start:end], 0) {
			return nil, fmt.Errorf(`"attention_mask" hides tokens in the middle; expected padding at the ends only`)
		}
	}
	return tokenRecord{ids[start:end], labels[start:end]}, nil
}

// aligned reads an optional array that has one entry for each token.
func aligned(o object, key string, n int) ([]int32, error) {
	if raw, ok := o[key]; !ok || string(raw) == "null" {
		return nil, nil
	}
	v, err := value[[]int32](o, key, "an array of integers")
	if err == nil && len(v) != n {
		err = fmt.Errorf(`%q has the length %d, "input_ids" %d; expected the same`, key, len(v), n)
	}
	return v, err
}
