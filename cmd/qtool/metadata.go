package main

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"qtool/gguf"
	"qtool/internal/printable"
)

// What inspect shows of long values, unless everything is asked for.
const (
	shownElements = 8
	shownRunes    = 120
)

// metadataEntry is one key as inspect shows it. Length is the true length of an
// array or string, in elements or bytes, where Value holds only its beginning.
type metadataEntry struct {
	Key    string `json:"key"`
	Type   string `json:"type"`
	Length int    `json:"length,omitempty"`
	Value  any    `json:"value"`
}

// hashReport counts what the hashes in metadata are of.
type hashReport struct {
	Tensors int `json:"tensors"`
	Keys    int `json:"keys"`
}

// hashKeys stands for the keys of hashes, where they are told of in one line.
const hashKeys = "qtool.sha256.*"

func hashesOf(md *gguf.Metadata) *hashReport {
	tensors, keys := gguf.HashCounts(md)
	return &hashReport{tensors, keys}
}

func (h *hashReport) String() string {
	return fmt.Sprintf("hashes of %d tensors and %d keys", h.Tensors, h.Keys)
}

func describeValue(kv gguf.KV, all bool) metadataEntry {
	e := metadataEntry{Key: kv.Key, Type: valueTypeName(kv.Value)}
	v := reflect.ValueOf(kv.Value)
	switch {
	case v.Kind() == reflect.Slice && !all && v.Len() > shownElements:
		e.Length = v.Len()
		v = v.Slice(0, shownElements)
	case v.Kind() == reflect.String && !all:
		if short := shorten(v.String()); len(short) < v.Len() {
			e.Length = v.Len()
			v = reflect.ValueOf(short)
		}
	}
	e.Value = plainValue(v)
	return e
}

// shorten returns the first runes of s.
func shorten(s string) string {
	n := 0
	for i := range s {
		if n++; n > shownRunes {
			return s[:i]
		}
	}
	return s
}

// plainValue makes a value that JSON can hold: byte arrays stay arrays, and numbers
// that JSON lacks become strings.
func plainValue(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Interface:
		return plainValue(v.Elem())
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = plainValue(v.Index(i))
		}
		return list
	case reflect.Float32, reflect.Float64:
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			return strconv.FormatFloat(f, 'g', -1, 64)
		}
	}
	return v.Interface()
}

// valueTypeName is the GGUF name of a value's type: "u32", "str", "arr[f32]".
func valueTypeName(v gguf.Value) string {
	t := reflect.TypeOf(v)
	switch t.Kind() {
	case reflect.Slice:
		if t == reflect.TypeFor[gguf.Arrays]() {
			return "arr[arr]"
		}
		return "arr[" + valueTypeName(reflect.Zero(t.Elem()).Interface()) + "]"
	case reflect.String:
		return "str"
	case reflect.Bool:
		return "bool"
	}
	kind := t.Kind().String()
	return kind[:1] + strings.TrimLeft(kind, "abcdefghijklmnopqrstuvwxyz")
}

// text is the value for people; nothing in it can steer a terminal.
func (e metadataEntry) text() string {
	switch v := e.Value.(type) {
	case string:
		if e.Length > 0 {
			return fmt.Sprintf("%s… (%d bytes)", printable.Text(v), e.Length)
		}
		return printable.Text(v)
	case []any:
		list := elements(v)
		if e.Length > 0 {
			return fmt.Sprintf("[%s, …] (%d)", list, e.Length)
		}
		return "[" + list + "]"
	}
	return fmt.Sprint(e.Value)
}

// elements joins the elements of an array, strings in quotes.
func elements(list []any) string {
	texts := make([]string, len(list))
	for i, v := range list {
		switch v := v.(type) {
		case string:
			texts[i] = strconv.Quote(v)
		case []any:
			texts[i] = "[" + elements(v) + "]"
		default:
			texts[i] = fmt.Sprint(v)
		}
	}
	return strings.Join(texts, ", ")
}
