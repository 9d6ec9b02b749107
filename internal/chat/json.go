package chat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf16"

	"github.com/ardanlabs/jinja"
)

// fromJSON reads one JSON value, with the order of keys.
func fromJSON(data []byte) (jinja.Value, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := readJSON(d)
	if err != nil {
		return v, err
	}
	if _, err := d.Token(); err != io.EOF {
		return v, fmt.Errorf("more follows after the JSON value")
	}
	return v, nil
}

func readJSON(d *json.Decoder) (jinja.Value, error) {
	t, err := d.Token()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return jinja.None(), err
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '[' {
			return readArray(d)
		}
		return readObject(d)
	case json.Number:
		return readNumber(t)
	}
	return jinja.FromGoValue(t), nil
}

func readNumber(n json.Number) (jinja.Value, error) {
	if !strings.ContainsAny(n.String(), ".eE") {
		i, err := n.Int64()
		if err != nil {
			return jinja.None(), fmt.Errorf("the number %s does not fit 64 bits", n)
		}
		return jinja.NewInt(i), nil
	}
	f, err := n.Float64()
	if err != nil {
		return jinja.None(), fmt.Errorf("the number %s does not fit 64 bits", n)
	}
	return jinja.NewFloat(f), nil
}

func readArray(d *json.Decoder) (jinja.Value, error) {
	var items []jinja.Value
	for d.More() {
		v, err := readJSON(d)
		if err != nil {
			return v, err
		}
		items = append(items, v)
	}
	_, err := d.Token()
	return jinja.NewList(items), err
}

func readObject(d *json.Decoder) (jinja.Value, error) {
	out := jinja.NewDict()
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return out, err
		}
		v, err := readJSON(d)
		if err != nil {
			return out, err
		}
		name, err := dictKey(jinja.NewString(key.(string)))
		if err != nil {
			return out, err
		}
		out.AsDict().Set(name, v)
	}
	_, err := d.Token()
	return out, err
}

// jsonWriter writes values as Python's json.dumps does.
type jsonWriter struct {
	strings.Builder
	item, key string // separators
	indent    string // of a level
	lines     bool   // each item on a line of its own
	ascii     bool
	sort      bool
	limit     func(n int64) error
}

func (w *jsonWriter) newline(level int) {
	if w.lines {
		w.WriteByte('\n')
		for range level {
			w.WriteString(w.indent)
		}
	}
}

func (w *jsonWriter) value(v jinja.Value, level int) error {
	if err := w.limit(int64(16 + level*len(w.indent))); err != nil {
		return err
	}
	switch {
	case v.IsNone():
		w.WriteString("null")
	case v.IsBool() && v.AsBool():
		w.WriteString("true")
	case v.IsBool():
		w.WriteString("false")
	case v.IsInt():
		w.WriteString(str(v))
	case v.IsFloat():
		w.WriteString(floatText(v.AsFloat(), "NaN", "Infinity"))
	case v.IsString():
		return w.text(v.AsString())
	case v.IsList():
		return w.list(v.AsList().Items, level)
	case v.IsDict():
		return w.dict(v.AsDict(), level)
	default:
		return failure("a value of type %s is not JSON serializable", typeName(v))
	}
	return nil
}

func (w *jsonWriter) list(items []jinja.Value, level int) error {
	w.WriteByte('[')
	for i, item := range items {
		if i > 0 {
			w.WriteString(w.item)
		}
		w.newline(level + 1)
		if err := w.value(item, level+1); err != nil {
			return err
		}
	}
	if len(items) > 0 {
		w.newline(level)
	}
	w.WriteByte(']')
	return nil
}

func (w *jsonWriter) dict(d *jinja.Dict, level int) error {
	w.WriteByte('{')
	keys := d.Keys
	if w.sort {
		keys = sortedKeys(d)
	}
	for i, k := range keys {
		if i > 0 {
			w.WriteString(w.item)
		}
		w.newline(level + 1)
		if err := w.text(jsonKey(k)); err != nil {
			return err
		}
		w.WriteString(w.key)
		if err := w.value(d.Data[k], level+1); err != nil {
			return err
		}
	}
	if len(keys) > 0 {
		w.newline(level)
	}
	w.WriteByte('}')
	return nil
}

// jsonKey is a key as json.dumps writes it.
func jsonKey(key string) string {
	switch v := keyValue(key); {
	case v.IsNone():
		return "null"
	case v.IsBool():
		return strings.ToLower(str(v))
	default:
		return str(v)
	}
}

var jsonEscapes = map[rune]string{
	'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\f': `\f`, '\b': `\b`,
}

func (w *jsonWriter) text(s string) error {
	if err := w.limit(int64(len(s))); err != nil {
		return err
	}
	w.WriteByte('"')
	for _, r := range s {
		switch e, ok := jsonEscapes[r]; {
		case ok:
			w.WriteString(e)
		case r < 0x20 || w.ascii && 0x7f <= r && r < 0x10000:
			fmt.Fprintf(w, `\u%04x`, r)
		case w.ascii && r >= 0x10000:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(w, `\u%04x\u%04x`, high, low)
		default:
			w.WriteRune(r)
		}
	}
	w.WriteByte('"')
	return nil
}

// integerOf returns a whole number, kept within 32 bits.
func integerOf(v jinja.Value) (int, bool) {
	i, _, isFloat, ok := asNumber(v)
	if !ok || isFloat || i > math.MaxInt32 || i < math.MinInt32 {
		return int(max(min(i, math.MaxInt32), math.MinInt32)), ok && !isFloat
	}
	return int(i), true
}
