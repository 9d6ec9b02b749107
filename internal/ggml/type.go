package ggml

import (
	"fmt"
	"iter"
	"math"
	"strings"
)

// Type is the storage type of a tensor's elements, numbered as in ggml.
type Type uint32

// The tensor types of ggml. Gaps in the numbers are types that ggml removed.
const (
	F32     Type = 0
	F16     Type = 1
	Q4_0    Type = 2
	Q4_1    Type = 3
	Q5_0    Type = 6
	Q5_1    Type = 7
	Q8_0    Type = 8
	Q8_1    Type = 9
	Q2_K    Type = 10
	Q3_K    Type = 11
	Q4_K    Type = 12
	Q5_K    Type = 13
	Q6_K    Type = 14
	Q8_K    Type = 15
	IQ2_XXS Type = 16
	IQ2_XS  Type = 17
	IQ3_XXS Type = 18
	IQ1_S   Type = 19
	IQ4_NL  Type = 20
	IQ3_S   Type = 21
	IQ2_S   Type = 22
	IQ4_XS  Type = 23
	I8      Type = 24
	I16     Type = 25
	I32     Type = 26
	I64     Type = 27
	F64     Type = 28
	IQ1_M   Type = 29
	BF16    Type = 30
	TQ1_0   Type = 34
	TQ2_0   Type = 35
	MXFP4   Type = 39
	NVFP4   Type = 40
	Q1_0    Type = 41
	Q2_0    Type = 42
)

// Types is one more than the highest number of a type.
const Types = len(traits)

// All lists the types that have a row, by number.
func All() iter.Seq[Type] {
	return func(yield func(Type) bool) {
		for t := range Type(Types) {
			if t.Known() && !yield(t) {
				return
			}
		}
	}
}

// Known reports whether the layout of t is known. A tensor of an unknown type
// can be carried from file to file, but not sized by [Type.RowSize].
func (t Type) Known() bool { return TraitsOf(t).Block > 0 }

// BlockElements is the number of elements that t stores together; 0 if t is unknown.
func (t Type) BlockElements() int { return TraitsOf(t).Block }

// BlockBytes is the number of bytes of one block; 0 if t is unknown.
func (t Type) BlockBytes() int { return TraitsOf(t).Bytes }

// RowSize is the number of bytes that n consecutive elements take. It fails if
// t is unknown, if n is not a multiple of the block, or if the size overflows.
func (t Type) RowSize(n int) (int64, error) {
	l := TraitsOf(t)
	if !t.Known() {
		return 0, fmt.Errorf("tensor type %d is unknown", uint32(t))
	}
	if n < 0 || n%l.Block != 0 {
		return 0, fmt.Errorf("%s stores blocks of %d elements, a row of %d does not divide", l.Name, l.Block, n)
	}
	blocks := int64(n / l.Block)
	if blocks > math.MaxInt64/int64(l.Bytes) {
		return 0, fmt.Errorf("a row of %d elements of %s overflows", n, l.Name)
	}
	return blocks * int64(l.Bytes), nil
}

// String is ggml's name in upper case, such as "Q4_K", or "type(99)".
func (t Type) String() string {
	if t.Known() {
		return TraitsOf(t).Name
	}
	return fmt.Sprintf("type(%d)", uint32(t))
}

// ParseType finds a type by name, in any case.
func ParseType(name string) (Type, error) {
	for t := range All() {
		if strings.EqualFold(t.String(), name) {
			return t, nil
		}
	}
	return 0, fmt.Errorf("no tensor type is named %q", name)
}
