package quantize

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"qtool/gguf"
)

// ErrUnknownType is in the chain of every error about a name that is no type's.
var ErrUnknownType = errors.New("unknown type")

// ErrUnsupported is in the chain of every error about a type that cannot be decoded,
// or not encoded.
var ErrUnsupported = errors.New("unsupported type")

// Codec converts rows between float32 and one tensor type. It holds no state
// and may be used by many goroutines at once.
type Codec struct {
	typ    gguf.Type
	decode func(dst []float32, src []byte)
	encode func(dst []byte, src, importance []float32) // nil: decode only
}

var codecs = byType(
	Codec{gguf.F32, decodeF32, encodeF32},
	Codec{gguf.F16, decodeF16, encodeF16},
	Codec{gguf.BF16, decodeBF16, encodeBF16},
	Codec{gguf.F64, decodeF64, nil},
	Codec{gguf.I8, decodeI8, nil},
	Codec{gguf.I16, decodeI16, nil},
	Codec{gguf.I32, decodeI32, nil},

	Codec{gguf.Q1_0, decodeQ1_0, encodeQ1_0},
	Codec{gguf.Q2_0, decodeQ2_0, encodeQ2_0},
	Codec{gguf.Q4_0, decodeQ4_0, encodeQ4_0},
	Codec{gguf.Q4_1, decodeQ4_1, encodeQ4_1},
	Codec{gguf.Q5_0, decodeQ5_0, encodeQ5_0},
	Codec{gguf.Q5_1, decodeQ5_1, encodeQ5_1},
	Codec{gguf.Q8_0, decodeQ8_0, encodeQ8_0},

	Codec{gguf.Q2_K, decodeQ2_K, encodeQ2_K},
	Codec{gguf.Q3_K, decodeQ3_K, encodeQ3_K},
	Codec{gguf.Q4_K, decodeQ4_K, encodeQ4_K},
	Codec{gguf.Q5_K, decodeQ5_K, encodeQ5_K},
	Codec{gguf.Q6_K, decodeQ6_K, encodeQ6_K},

	Codec{gguf.IQ1_S, decodeIQ1_S, encodeIQ1_S},
	Codec{gguf.IQ1_M, decodeIQ1_M, encodeIQ1_M},
	Codec{gguf.IQ2_XXS, decodeIQ2_XXS, encodeIQ2_XXS},
	Codec{gguf.IQ2_XS, decodeIQ2_XS, encodeIQ2_XS},
	Codec{gguf.IQ2_S, decodeIQ2_S, encodeIQ2_S},
	Codec{gguf.IQ3_XXS, decodeIQ3_XXS, encodeIQ3_XXS},
	Codec{gguf.IQ3_S, decodeIQ3_S, encodeIQ3_S},
	Codec{gguf.IQ4_NL, decodeIQ4_NL, encodeIQ4_NL},
	Codec{gguf.IQ4_XS, decodeIQ4_XS, encodeIQ4_XS},

	Codec{gguf.TQ1_0, decodeTQ1_0, encodeTQ1_0},
	Codec{gguf.TQ2_0, decodeTQ2_0, encodeTQ2_0},
	Codec{gguf.MXFP4, decodeMXFP4, encodeMXFP4},
	Codec{gguf.NVFP4, decodeNVFP4, encodeNVFP4},
)

func byType(all ...Codec) map[gguf.Type]*Codec {
	m := make(map[gguf.Type]*Codec, len(all))
	for i := range all {
		m[all[i].typ] = &all[i]
	}
	return m
}

// Lookup returns the codec of t, or an error matching [ErrUnsupported].
func Lookup(t gguf.Type) (*Codec, error) {
	if c, ok := codecs[t]; ok {
		return c, nil
	}
	return nil, fmt.Errorf("%w: %v cannot be decoded; the types that can are %s",
		ErrUnsupported, t, typeNames(func(*Codec) bool { return true }))
}

// LookupEncoder returns the codec of t if it can encode, else an error matching
// [ErrUnsupported] that names the types that can be encoded.
func LookupEncoder(t gguf.Type) (*Codec, error) {
	if c, ok := codecs[t]; ok && c.encode != nil {
		return c, nil
	}
	return nil, fmt.Errorf("%w: %v cannot be encoded; the types that can are %s",
		ErrUnsupported, t, typeNames((*Codec).CanEncode))
}

// CanEncode reports whether weights can be converted to t.
func CanEncode(t gguf.Type) bool {
	c, ok := codecs[t]
	return ok && c.CanEncode()
}

func typeNames(keep func(*Codec) bool) string {
	var names []string
	for _, t := range slices.Sorted(maps.Keys(codecs)) {
		if keep(codecs[t]) {
			names = append(names, t.String())
		}
	}
	return strings.Join(names, ", ")
}

// Type is the tensor type that the codec reads and writes.
func (c *Codec) Type() gguf.Type { return c.typ }

// CanEncode reports whether EncodeRow may be called.
func (c *Codec) CanEncode() bool { return c.encode != nil }

// DecodeRow fills dst with the len(dst) values that src stores: whole blocks,
// one row or several consecutive ones. It panics if src is not exactly
// Type().RowSize(len(dst)) bytes.
func (c *Codec) DecodeRow(dst []float32, src []byte) {
	c.check(len(dst), len(src))
	c.decode(dst, src)
}

// EncodeRow stores one row, src, in dst. importance is nil or has one weight of
// at least 0 for each column; formats without a search ignore it. The bytes are those
// of ggml's reference; where that refuses to work without importance, for IQ1_S,
// IQ2_XXS and IQ2_XS, the square of a value weighs. src must be finite. It panics if
// CanEncode is false, or if dst is not exactly Type().RowSize(len(src)) bytes.
func (c *Codec) EncodeRow(dst []byte, src, importance []float32) {
	c.check(len(src), len(dst))
	if importance != nil && len(importance) != len(src) {
		panic(fmt.Sprintf("quantize: %d importance weights for a row of %d", len(importance), len(src)))
	}
	c.encode(dst, src, importance)
}

func (c *Codec) check(elements, bytes int) {
	want, err := c.typ.RowSize(elements)
	if err != nil {
		panic("quantize: " + err.Error())
	}
	if want != int64(bytes) {
		panic(fmt.Sprintf("quantize: %d values of %v take %d bytes, not %d", elements, c.typ, want, bytes))
	}
}
