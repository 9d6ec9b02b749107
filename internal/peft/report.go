package peft

import (
	"bytes"
	"math"

	"qtool/gguf"
	"qtool/internal/half"
	"qtool/safetensors"
)

// Report says what a conversion did beside renaming and reordering. The factors of all pairs that
// it does not list are those of the source, bit for bit.
type Report struct {
	Pairs int // on tensors of GGUF, or weights of the folder
	// Folded are pairs whose B was multiplied, since the result has one scale for all that the
	// source does not have.
	Folded []Folded
	// Joined are those whose ranks are the ranks of several pairs of the source, with zeros where
	// the rows of one meet the ranks of another; Padded those that got ranks of zeros.
	Joined, Padded []string
	// Idle are pairs of the source that are all zero and were left out.
	Idle []string
	// Rounded is how many values the storage type does not hold as they were.
	Rounded int
}

// Folded is a pair whose B was multiplied.
type Folded struct {
	Name   string
	Factor float32
}

// note lists what happened to the pairs of the matrices of one tensor or weight.
func (r *Report) note(name string, stack []*pair) {
	r.Pairs++
	factor, joined, padded := float32(1), false, false
	for _, p := range stack {
		if p.folded != 0 {
			factor = p.folded
		}
		joined, padded = joined || p.joined, padded || p.padded
	}
	if factor != 1 {
		r.Folded = append(r.Folded, Folded{name, factor})
	}
	if joined {
		r.Joined = append(r.Joined, name)
	} else if padded {
		r.Padded = append(r.Padded, name)
	}
}

// narrow is how floats of 16 bits are stored.
type narrow struct {
	name string
	to   func(float32) uint16
	from func(uint16) float32
}

var (
	asFloat16  = &narrow{"F16", half.ToFloat16, half.FromFloat16}
	asBFloat16 = &narrow{"BF16", half.ToBFloat16, half.FromBFloat16}

	// narrowTypes are the storage types besides F32.
	narrowTypes  = map[gguf.Type]*narrow{gguf.F16: asFloat16, gguf.BF16: asBFloat16}
	narrowDTypes = map[gguf.Type]safetensors.DType{gguf.F16: safetensors.F16, gguf.BF16: safetensors.BF16}
)

// encoded are the values in 16 bits. It counts those that change, and refuses those that would
// become infinite.
func (n *narrow) encoded(name string, v []float32, r *Report) (*bytes.Reader, error) {
	out := make([]byte, 0, 2*len(v))
	for _, x := range v {
		h := n.to(x)
		if y := n.from(h); y != x && x == x {
			if math.IsInf(float64(y), 0) {
				return nil, refuse("%q has the value %g, which %s does not hold; store it as F32 or BF16", name, x, n.name)
			}
			r.Rounded++
		}
		out = append(out, byte(h), byte(h>>8))
	}
	return bytes.NewReader(out), nil
}

// Narrow is an adapter in GGUF with its tensors stored as typ: F32, F16 or BF16.
func Narrow(m gguf.Model, typ gguf.Type, r *Report) (gguf.Model, error) {
	var tensors []*gguf.Tensor
	for _, t := range m.Tensors() {
		v, err := ggufFloats(t)
		if err != nil {
			return nil, err
		}
		x := gguf.Float32Tensor(t.Name, t.Shape, v)
		if n := narrowTypes[typ]; n != nil {
			if x.Data, err = n.encoded(t.Name, v, r); err != nil {
				return nil, err
			}
			x.Type = typ
		}
		tensors = append(tensors, x)
	}
	return gguf.Assemble(m.Metadata(), tensors, m), nil
}
