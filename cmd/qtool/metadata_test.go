package main

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"qtool/gguf"
)

func TestEveryMetadataValueIsShownAndIsJSON(t *testing.T) {
	long := strings.Repeat("é", 200)
	for _, c := range []struct {
		value             gguf.Value
		typ, text, asJSON string
	}{
		{uint8(7), "u8", "7", "7"},
		{int64(-7), "i64", "-7", "-7"},
		{uint64(math.MaxUint64), "u64", "18446744073709551615", "18446744073709551615"},
		{float32(0.5), "f32", "0.5", "0.5"},
		{math.Inf(-1), "f64", "-Inf", `"-Inf"`},
		{true, "bool", "true", "true"},
		{"a b", "str", "a b", `"a b"`},
		{"a\x1b[2J", "str", `"a\x1b[2J"`, `"a\u001b[2J"`},
		{long, "str", strings.Repeat("é", 120) + "… (400 bytes)", `"` + strings.Repeat("é", 120) + `"`},
		{[]uint8{1, 2}, "arr[u8]", "[1, 2]", "[1,2]"},
		{[]string{"a\n"}, "arr[str]", `["a\n"]`, `["a\n"]`},
		{make([]int32, 9), "arr[i32]", "[0, 0, 0, 0, 0, 0, 0, 0, …] (9)", "[0,0,0,0,0,0,0,0]"},
		{gguf.Arrays{[]uint8{1}, []string{"x"}}, "arr[arr]", `[[1], ["x"]]`, `[[1],["x"]]`},
	} {
		e := describeValue(gguf.KV{Key: "k", Value: c.value}, false)
		b, err := json.Marshal(e.Value)
		if err != nil {
			t.Errorf("%v: %v", c.value, err)
		}
		if e.Type != c.typ || string(b) != c.asJSON {
			t.Errorf("%v: type %s, JSON %s; want %s, %s", c.value, e.Type, b, c.typ, c.asJSON)
		}
		if got := e.text(); got != c.text {
			t.Errorf("%v: text %q, want %q", c.value, got, c.text)
		}
	}
}
