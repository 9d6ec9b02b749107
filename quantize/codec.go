package quantize

import (
	"errors"
	"fmt"
	"strings"

	"qtool/gguf"
	"qtool/internal/ggml"
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

// codecs has the codec of each type, or nil. The file of a codec registers it.
var codecs [ggml.Types]*Codec

// register makes the codec of t known, before the program begins. A nil encode: weights
// of t are only read.
func register(t gguf.Type, decode func(dst []float32, src []byte), encode func(dst []byte, src, importance []float32)) {
	codecs[t] = &Codec{t, decode, encode}
}

// codecOf is the codec of t, or nil.
func codecOf(t gguf.Type) *Codec {
	if int64(t) < int64(len(codecs)) {
		return codecs[t]
	}
	return nil
}

// Lookup returns the codec of t, or an error matching [ErrUnsupported].
func Lookup(t gguf.Type) (*Codec, error) {
	if c := codecOf(t); c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("%w: %v cannot be decoded; the types that can are %s",
		ErrUnsupported, t, typeNames(func(*Codec) bool { return true }))
}

// LookupEncoder returns the codec of t if it can encode, else an error matching
// [ErrUnsupported] that names the types that can be encoded.
func LookupEncoder(t gguf.Type) (*Codec, error) {
	if c := codecOf(t); c != nil && c.CanEncode() {
		return c, nil
	}
	return nil, fmt.Errorf("%w: %v cannot be encoded; the types that can are %s",
		ErrUnsupported, t, typeNames((*Codec).CanEncode))
}

// CanEncode reports whether weights can be converted to t.
func CanEncode(t gguf.Type) bool {
	c := codecOf(t)
	return c != nil && c.CanEncode()
}

func typeNames(keep func(*Codec) bool) string {
	var names []string
	for _, c := range codecs {
		if c != nil && keep(c) {
			names = append(names, c.typ.String())
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
