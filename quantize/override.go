package quantize

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"qtool/gguf"
)

// Override is a metadata key with the value that it gets.
type Override struct {
	key   string
	value gguf.Value // int64, uint64, float64, bool or string
}

// ParseOverride reads "KEY=TYPE:VALUE", where TYPE is int, float, bool or str.
func ParseOverride(s string) (Override, error) {
	key, typed, ok := strings.Cut(s, "=")
	kind, text, colon := strings.Cut(typed, ":")
	if !ok || !colon || key == "" {
		return Override{}, fmt.Errorf("override %q: expected KEY=TYPE:VALUE with int, float, bool or str as TYPE, as in llama.context_length=int:4096", s)
	}
	o := Override{key: key}
	var err error
	switch kind {
	case "int":
		if o.value, err = strconv.ParseInt(text, 10, 64); err != nil {
			o.value, err = strconv.ParseUint(text, 10, 64)
		}
	case "float":
		var f float64
		f, err = strconv.ParseFloat(text, 64)
		if err == nil && math.Abs(f) > math.MaxFloat32 {
			err = fmt.Errorf("%g is no finite float32", f)
		}
		o.value = f
	case "bool":
		o.value = text == "true"
		if text != "true" && text != "false" {
			err = fmt.Errorf("%q is neither true nor false", text)
		}
	case "str":
		o.value = text
	default:
		err = fmt.Errorf("%q is none of int, float, bool, str", kind)
	}
	if err != nil {
		return Override{}, fmt.Errorf("override %q: %w", s, err)
	}
	if strings.HasPrefix(key, "split.") {
		return Override{}, fmt.Errorf("override %q: the keys of a split model are set when it is written", s)
	}
	return o, nil
}

// applyOverrides moves every overridden key to the end, where llama-quantize sets it.
func applyOverrides(md *gguf.Metadata, overrides []Override) {
	for _, o := range overrides {
		old, _ := md.Get(o.key)
		md.Delete(o.key)
		md.Set(o.key, o.valueInPlaceOf(old))
	}
}

// valueInPlaceOf keeps the type of a number that was there before if it can hold the
// new one, since readers insist on it. Otherwise an integer is uint32 if it fits.
func (o Override) valueInPlaceOf(old gguf.Value) gguf.Value {
	switch v := o.value.(type) {
	case int64:
		if same := integerLike(old, v); same != nil {
			return same
		}
		for _, like := range []gguf.Value{uint32(0), int32(0)} {
			if fit := integerLike(like, v); fit != nil {
				return fit
			}
		}
	case float64:
		if _, double := old.(float64); !double {
			return float32(v)
		}
	}
	return o.value
}

// integerLike is n in the type of like; nil if that is no integer or cannot hold n.
func integerLike(like gguf.Value, n int64) gguf.Value {
	switch like.(type) {
	case uint8:
		return fits[uint8](n)
	case int8:
		return fits[int8](n)
	case uint16:
		return fits[uint16](n)
	case int16:
		return fits[int16](n)
	case uint32:
		return fits[uint32](n)
	case int32:
		return fits[int32](n)
	case uint64:
		return fits[uint64](n)
	case int64:
		return n
	}
	return nil
}

func fits[T uint8 | int8 | uint16 | int16 | uint32 | int32 | uint64](n int64) gguf.Value {
	if t := T(n); int64(t) == n && (n < 0) == (t < 0) {
		return t
	}
	return nil
}
