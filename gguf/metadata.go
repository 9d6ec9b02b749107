package gguf

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"golang.org/x/exp/constraints"

	"qtool/internal/printable"
)

// ErrMissing is in the chain of every error about a key that is not there.
var ErrMissing = errors.New("missing")

// Value is one metadata value. Its Go type is its GGUF type: bool, string,
// uint8 to uint64, int8 to int64, float32, float64, slices of those, and
// [Arrays] for arrays of arrays.
type Value any

// Arrays is an array of arrays; each element is a slice type allowed in [Value].
type Arrays []Value

// KV is one entry of the metadata.
type KV struct {
	Key   string
	Value Value
}

// Metadata is an ordered set of keys with typed values. The zero value is empty
// and ready. Typed getters fail with [ErrMissing] if the key is absent and with
// [ErrFormat] if its value has another type.
type Metadata struct {
	kvs   []KV
	index map[string]int
}

// Len is the number of keys.
func (m *Metadata) Len() int { return len(m.kvs) }

// All lists the entries in file order. The result must not be changed.
func (m *Metadata) All() []KV { return m.kvs }

// Get returns the value of key.
func (m *Metadata) Get(key string) (Value, bool) {
	i, ok := m.index[key]
	if !ok {
		return nil, false
	}
	return m.kvs[i].Value, true
}

// Has reports whether key is present.
func (m *Metadata) Has(key string) bool { _, ok := m.index[key]; return ok }

// Set replaces the value of key, or appends it. It panics if v's type is not
// one that [Value] lists: such a value could not be written.
func (m *Metadata) Set(key string, v Value) {
	if _, err := valueTypeOf(v); err != nil {
		panic(fmt.Sprintf("gguf: metadata %q: %v", key, err))
	}
	if i, ok := m.index[key]; ok {
		m.kvs[i].Value = v
		return
	}
	if m.index == nil {
		m.index = map[string]int{}
	}
	m.index[key] = len(m.kvs)
	m.kvs = append(m.kvs, KV{key, v})
}

// Delete removes key if it is present.
func (m *Metadata) Delete(key string) {
	i, ok := m.index[key]
	if !ok {
		return
	}
	m.kvs = slices.Delete(m.kvs, i, i+1)
	delete(m.index, key)
	for k := i; k < len(m.kvs); k++ {
		m.index[m.kvs[k].Key] = k
	}
}

// Clone copies the entries; values are shared, since they are never changed in place.
func (m *Metadata) Clone() *Metadata {
	c := &Metadata{}
	for _, kv := range m.kvs {
		c.Set(kv.Key, kv.Value)
	}
	return c
}

func (m *Metadata) want(key string) (Value, error) {
	v, ok := m.Get(key)
	if !ok {
		return nil, fmt.Errorf("metadata key %s: %w", printable.Quote(key), ErrMissing)
	}
	return v, nil
}

func mismatch(key, want string, v Value) error {
	return fmt.Errorf("%w: metadata key %s: expected %s, found %T", ErrFormat, printable.Quote(key), want, v)
}

// Str returns a string value.
func (m *Metadata) Str(key string) (string, error) {
	v, err := m.want(key)
	if err != nil {
		return "", err
	}
	s, ok := v.(string)
	if !ok {
		return "", mismatch(key, "a string", v)
	}
	return s, nil
}

// Bool returns a boolean value.
func (m *Metadata) Bool(key string) (bool, error) {
	v, err := m.want(key)
	if err != nil {
		return false, err
	}
	b, ok := v.(bool)
	if !ok {
		return false, mismatch(key, "a boolean", v)
	}
	return b, nil
}

// Int returns a value of any integer type that fits an int.
func (m *Metadata) Int(key string) (int, error) {
	v, err := m.want(key)
	if err != nil {
		return 0, err
	}
	n, ok := integer(v)
	if !ok {
		return 0, mismatch(key, "an integer", v)
	}
	return n, nil
}

// Float returns a value of either floating-point type.
func (m *Metadata) Float(key string) (float64, error) {
	v, err := m.want(key)
	if err != nil {
		return 0, err
	}
	switch x := v.(type) {
	case float32:
		return float64(x), nil
	case float64:
		return x, nil
	}
	return 0, mismatch(key, "a floating-point number", v)
}

// Strings returns an array of strings.
func (m *Metadata) Strings(key string) ([]string, error) { return array[string](m, key, "strings") }

// Floats returns an array of float32.
func (m *Metadata) Floats(key string) ([]float32, error) { return array[float32](m, key, "float32") }

// Ints returns an array of any integer type, or of booleans as 0 and 1.
func (m *Metadata) Ints(key string) ([]int, error) {
	v, err := m.want(key)
	if err != nil {
		return nil, err
	}
	var out []int
	ok := false
	switch a := v.(type) {
	case []uint8:
		out, ok = toInts(a)
	case []int8:
		out, ok = toInts(a)
	case []uint16:
		out, ok = toInts(a)
	case []int16:
		out, ok = toInts(a)
	case []uint32:
		out, ok = toInts(a)
	case []int32:
		out, ok = toInts(a)
	case []uint64:
		out, ok = toInts(a)
	case []int64:
		out, ok = toInts(a)
	case []bool:
		out, ok = make([]int, len(a)), true
		for i, b := range a {
			if b {
				out[i] = 1
			}
		}
	}
	if !ok {
		return nil, mismatch(key, "an array of integers", v)
	}
	return out, nil
}

// toInts fails if an element does not fit.
func toInts[E constraints.Integer](a []E) ([]int, bool) {
	out := make([]int, len(a))
	for i, x := range a {
		out[i] = int(x)
		if E(out[i]) != x || (out[i] < 0) != (x < 0) {
			return nil, false
		}
	}
	return out, true
}

func array[E any](m *Metadata, key, of string) ([]E, error) {
	v, err := m.want(key)
	if err != nil {
		return nil, err
	}
	a, ok := v.([]E)
	if !ok {
		return nil, mismatch(key, "an array of "+of, v)
	}
	return a, nil
}

func integer(v Value) (int, bool) {
	switch x := v.(type) {
	case uint8:
		return int(x), true
	case int8:
		return int(x), true
	case uint16:
		return int(x), true
	case int16:
		return int(x), true
	case uint32:
		return int(x), true
	case int32:
		return int(x), true
	case int64:
		return int(x), true
	case uint64:
		return int(x), x <= math.MaxInt
	}
	return 0, false
}

// Or turns a missing key into a default: n, err := gguf.Or(md.Int(key))(32).
// Other errors pass through.
func Or[T any](v T, err error) func(def T) (T, error) {
	return func(def T) (T, error) {
		if errors.Is(err, ErrMissing) {
			return def, nil
		}
		return v, err
	}
}
