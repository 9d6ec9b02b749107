package dataset

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"qtool/internal/records/jsontext"
)

// object is a JSON object by key.
type object map[string]json.RawMessage

// fields are the values of an object, with a note of which were read.
type fields struct {
	object
	strings bool // every value is a string, and what is no text is JSON within it
	read    []string
}

// absent is whether a key is missing or its value says nothing.
func absent(raw json.RawMessage) bool {
	switch string(raw) {
	case "", "null", `""`, "[]", "{}":
		return true
	}
	return false
}

// get is the value of a key, nil if it is missing or null.
func (f *fields) get(key string) json.RawMessage {
	f.read = append(f.read, key)
	if raw := f.object[key]; string(raw) != "null" {
		return raw
	}
	return nil
}

// has is whether a key is there and says something.
func (f *fields) has(key string) bool { return !absent(f.object[key]) }

// unread are the keys that say something and were not read, in order.
func (f *fields) unread() (keys []string) {
	for k, raw := range f.object {
		if !absent(raw) && !slices.Contains(f.read, k) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

// value decodes one field; kind names what was expected.
func value[T any](f *fields, key, kind string) (T, error) {
	v, ok, err := optional[T](f, key, kind)
	if err == nil && !ok {
		if _, there := f.object[key]; there {
			return v, fmt.Errorf("%q is null; expected %s", key, kind)
		}
		return v, fmt.Errorf("%q is missing; expected %s", key, kind)
	}
	return v, err
}

// optional decodes one field; ok is false if it is missing or null.
func optional[T any](f *fields, key, kind string) (v T, ok bool, err error) {
	raw := f.get(key)
	if raw == nil {
		return v, false, nil
	}
	if raw, ok = f.within(raw, any(v)); !ok {
		return v, false, nil
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, false, fmt.Errorf("%q is %s; expected %s", key, jsontext.Excerpt(raw), kind)
	}
	return v, true, nil
}

// within is the value that a table's cell stands for where no text is wanted; ok is false
// for an empty cell.
func (f *fields) within(raw json.RawMessage, want any) (_ json.RawMessage, ok bool) {
	if _, text := want.(string); !f.strings || text {
		return raw, true
	}
	var cell string
	if json.Unmarshal(raw, &cell) != nil {
		return raw, true
	}
	if cell = strings.TrimSpace(cell); cell == "" {
		return nil, false
	}
	if _, truth := want.(bool); truth {
		cell = strings.ToLower(cell) // as spreadsheets and Python write it
	}
	return json.RawMessage(cell), true
}

// text is an optional string.
func (f *fields) text(key string) (string, error) {
	s, _, err := optional[string](f, key, "a string")
	return s, err
}

// maxWeight bounds weights: more is a mistake in the data.
const maxWeight = 1e6

// weight is what the losses of the object are multiplied with: its "weight", and 0 if
// "train" or "training" is false. stated is whether it says any of that.
func (f *fields) weight() (w float32, stated bool, err error) {
	const kind = "a number from 0 to 1000000, which the losses are multiplied with"
	w = 1
	v, ok, err := optional[float64](f, "weight", kind)
	if err != nil {
		return 0, true, err
	}
	if ok {
		if w, stated = float32(v), true; !(v >= 0 && v <= maxWeight) || v > 0 && w < math.SmallestNonzeroFloat32 {
			return 0, true, fmt.Errorf(`"weight" is %g; expected %s`, v, kind)
		}
	}
	for _, key := range []string{"train", "training"} {
		learn, ok, err := optional[bool](f, key, "true or false: whether it is learned")
		if err != nil {
			return 0, true, err
		}
		if ok && !learn {
			w = 0
		}
		stated = stated || ok
	}
	return w, stated, nil
}

func firstKeys(o object) []string {
	keys := slices.Sorted(maps.Keys(o))
	if len(keys) > 12 {
		keys = append(keys[:12], "…")
	}
	for i, k := range keys {
		keys[i] = shortKey(k)
	}
	return keys
}

// shortKey is a key as errors and reports show it.
func shortKey(k string) string {
	if len(k) > 40 {
		return strings.ToValidUTF8(k[:40], "") + "…"
	}
	return k
}
