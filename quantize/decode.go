package quantize

import (
	"fmt"

	"qtool/gguf"
)

// Decode returns all elements of t as float32, row after row. Errors match
// [ErrUnsupported] for a type that cannot be decoded.
func Decode(t *gguf.Tensor) ([]float32, error) {
	codec, err := Lookup(t.Type)
	if err != nil {
		return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	data, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	out := make([]float32, t.Elements())
	codec.DecodeRow(out, data)
	return out, nil
}
