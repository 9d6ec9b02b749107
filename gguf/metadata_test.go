package gguf

import (
	"errors"
	"math"
	"reflect"
	"testing"
)

// answer is what a getter gave: a value, or why there is none.
func answer[T any](v T, err error) any {
	switch {
	case errors.Is(err, ErrMissing):
		return "missing"
	case err != nil:
		return "wrong type"
	}
	return v
}

func TestGettersGiveTheValueOrSayWhyNot(t *testing.T) {
	md := &Metadata{}
	md.Set("s", "text")
	md.Set("b", true)
	md.Set("u8", uint8(200))
	md.Set("i64", int64(-5))
	md.Set("huge", uint64(math.MaxUint64))
	md.Set("f32", float32(0.5))
	md.Set("f64", 0.25)
	md.Set("ss", []string{"x"})
	md.Set("fs", []float32{1})
	md.Set("is", []int16{-1, 2})
	md.Set("bs", []bool{true, false})
	md.Set("hs", []uint64{math.MaxUint64})
	for name, c := range map[string]struct{ got, want any }{
		"string":                {answer(md.Str("s")), "text"},
		"no string":             {answer(md.Str("b")), "wrong type"},
		"bool":                  {answer(md.Bool("b")), true},
		"no bool":               {answer(md.Bool("u8")), "wrong type"},
		"small integer":         {answer(md.Int("u8")), 200},
		"negative integer":      {answer(md.Int("i64")), -5},
		"integer that is large": {answer(md.Int("huge")), "wrong type"},
		"no integer":            {answer(md.Int("f32")), "wrong type"},
		"float32":               {answer(md.Float("f32")), 0.5},
		"float64":               {answer(md.Float("f64")), 0.25},
		"no float":              {answer(md.Float("u8")), "wrong type"},
		"strings":               {answer(md.Strings("ss")), []string{"x"}},
		"floats":                {answer(md.Floats("fs")), []float32{1}},
		"no floats":             {answer(md.Floats("ss")), "wrong type"},
		"integers":              {answer(md.Ints("is")), []int{-1, 2}},
		"booleans as integers":  {answer(md.Ints("bs")), []int{1, 0}},
		"integers too large":    {answer(md.Ints("hs")), "wrong type"},
		"no integers":           {answer(md.Ints("s")), "wrong type"},
		"absent":                {answer(md.Ints("none")), "missing"},
		"default":               {answer(Or(md.Int("none"))(7)), 7},
		"default not needed":    {answer(Or(md.Int("u8"))(7)), 200},
		"default of wrong type": {answer(Or(md.Int("s"))(7)), "wrong type"},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: got %v, want %v", name, c.got, c.want)
		}
	}
}

func TestKeysKeepTheirOrder(t *testing.T) {
	md := &Metadata{}
	for _, k := range []string{"a", "b", "c"} {
		md.Set(k, k)
	}
	clone := md.Clone()
	md.Set("a", uint8(1)) // keeps its place
	md.Delete("b")
	md.Delete("none")
	md.Set("b", true) // goes to the end
	want := []KV{{"a", uint8(1)}, {"c", "c"}, {"b", true}}
	if got := md.All(); !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
	for _, kv := range want {
		if v, ok := md.Get(kv.Key); !ok || v != kv.Value {
			t.Errorf("%s: %v %v", kv.Key, v, ok)
		}
	}
	if want := []KV{{"a", "a"}, {"b", "b"}, {"c", "c"}}; !reflect.DeepEqual(clone.All(), want) {
		t.Errorf("the clone changed too: %v", clone.All())
	}
}

func TestAValueWithoutAGGUFTypeIsABug(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("an int has no GGUF type")
		}
	}()
	(&Metadata{}).Set("k", 1)
}
