package convert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"

	"qtool/internal/input"
	"qtool/internal/printable"
)

// maxConfig is far above any real config.json.
const maxConfig = 16 << 20

// config is a JSON object with typed getters. The first value of a wrong type
// is kept in err, so that a reader asks for many fields and checks once.
type config struct {
	where  string // the file, and the field inside it
	fields map[string]any
	err    error
}

func readConfig(path string) (*config, error) {
	fields, err := ReadJSON(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: it holds no config.json, so it is no Hugging Face folder: %w", ErrInvalid, err)
	}
	if err != nil {
		return nil, err
	}
	c := &config{where: path, fields: fields}
	// Multimodal models keep the language model's fields one level down.
	if text, ok := c.object("text_config"); ok {
		maps.Copy(c.fields, text.fields)
	}
	return c, c.err
}

// ReadJSON reads a file that holds a JSON object. Numbers are [json.Number].
func ReadJSON(path string) (map[string]any, error) {
	text, err := input.ReadFile(path, maxConfig)
	if errors.Is(err, input.ErrTooLarge) {
		return nil, invalid("%v", err)
	}
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var fields map[string]any
	if err := dec.Decode(&fields); err != nil {
		return nil, invalid("reading %s: expected a JSON object: %v", path, err)
	}
	if fields == nil {
		return nil, invalid("reading %s: expected a JSON object, found null", path)
	}
	return fields, nil
}

// first finds the first of keys that is there and not null.
func (c *config) first(keys []string) (string, any) {
	for _, k := range keys {
		if v := c.fields[k]; v != nil {
			return k, v
		}
	}
	return "", nil
}

func (c *config) has(keys ...string) bool { _, v := c.first(keys); return v != nil }

func (c *config) fail(key, want string, found any) {
	if c.err == nil {
		c.err = invalid("reading %s: field %q: expected %s, found %s", c.where, key, want, printable.Text(fmt.Sprint(found)))
	}
}

// integer returns the first of keys that is there, which must be from 1 to
// 2^31-1; def if none is.
func (c *config) integer(def int, keys ...string) int {
	key, v := c.first(keys)
	if v == nil {
		return def
	}
	n, ok := v.(json.Number)
	i, err := n.Int64()
	if !ok || err != nil {
		c.fail(key, "an integer from 1 to 2^31-1", v)
		return 1
	}
	count, err := input.Count(key, i, 1, input.MostInt32())
	if err != nil {
		c.fail(key, "an integer from 1 to 2^31-1", v)
		return 1
	}
	return count
}

// count is integer that may be 0, which it is if none of keys is there.
func (c *config) count(keys ...string) int {
	if _, v := c.first(keys); v == nil || fmt.Sprint(v) == "0" {
		return 0
	}
	return c.integer(0, keys...)
}

// required is integer without a default.
func (c *config) required(keys ...string) int {
	if !c.has(keys...) && c.err == nil {
		c.err = invalid("reading %s: the field %q is missing", c.where, keys[0])
	}
	return c.integer(1, keys...)
}

func (c *config) float(def float64, keys ...string) float64 {
	key, v := c.first(keys)
	if v == nil {
		return def
	}
	n, ok := v.(json.Number)
	f, err := n.Float64()
	if !ok || err != nil {
		c.fail(key, "a number", v)
	}
	return f
}

func (c *config) str(key, def string) string {
	v := c.fields[key]
	if v == nil {
		return def
	}
	s, ok := v.(string)
	if !ok {
		c.fail(key, "a string", v)
	}
	return s
}

func (c *config) boolean(key string, def bool) bool {
	v := c.fields[key]
	if v == nil {
		return def
	}
	b, ok := v.(bool)
	if !ok {
		c.fail(key, "true or false", v)
	}
	return b
}

// integers returns a list of integers, each as integer has it.
func (c *config) integers(key string) []int {
	list, ok := c.fields[key].([]any)
	if !ok {
		c.fail(key, "a list of integers", c.fields[key])
	}
	var out []int
	for _, v := range list {
		n, ok := v.(json.Number)
		i, err := n.Int64()
		if !ok || err != nil || i < 1 || i > math.MaxInt32 {
			c.fail(key, "a list of integers from 1 to 2^31-1", c.fields[key])
			return nil
		}
		out = append(out, int(i))
	}
	return out
}

// floats returns a list of positive numbers.
func (c *config) floats(key string) []float32 {
	list, ok := c.fields[key].([]any)
	if !ok {
		c.fail(key, "a list of numbers", c.fields[key])
	}
	var out []float32
	for _, v := range list {
		n, ok := v.(json.Number)
		f, err := n.Float64()
		if !ok || err != nil || !(f > 0 && f <= math.MaxFloat32) {
			c.fail(key, "a list of positive numbers", v)
			return nil
		}
		out = append(out, float32(f))
	}
	return out
}

func (c *config) strings(key string) []string {
	list, ok := c.fields[key].([]any)
	if !ok {
		c.fail(key, "a list of names", c.fields[key])
	}
	var out []string
	for _, v := range list {
		s, ok := v.(string)
		if !ok {
			c.fail(key, "a list of names", v)
		}
		out = append(out, s)
	}
	return out
}

// object returns a nested object; its getters report to its own err.
func (c *config) object(keys ...string) (*config, bool) {
	key, v := c.first(keys)
	if v == nil {
		return nil, false
	}
	fields, ok := v.(map[string]any)
	if !ok {
		c.fail(key, "an object", v)
		return nil, false
	}
	return &config{where: c.where + ", " + key, fields: fields}, true
}

// joinErr gives the first error of several objects.
func joinErr(cs ...*config) error {
	for _, c := range cs {
		if c != nil && c.err != nil {
			return c.err
		}
	}
	return nil
}
