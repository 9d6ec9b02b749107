package gguf

import (
	"fmt"
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

type typeLayout struct {
	name  string
	block int // elements in one block
	bytes int // bytes of one block
}

var typeLayouts = map[Type]typeLayout{
	F32: {"F32", 1, 4}, F16: {"F16", 1, 2}, BF16: {"BF16", 1, 2}, F64: {"F64", 1, 8},
	I8: {"I8", 1, 1}, I16: {"I16", 1, 2}, I32: {"I32", 1, 4}, I64: {"I64", 1, 8},
	Q4_0: {"Q4_0", 32, 18}, Q4_1: {"Q4_1", 32, 20}, Q5_0: {"Q5_0", 32, 22}, Q5_1: {"Q5_1", 32, 24},
	Q8_0: {"Q8_0", 32, 34}, Q8_1: {"Q8_1", 32, 36},
	Q2_K: {"Q2_K", 256, 84}, Q3_K: {"Q3_K", 256, 110}, Q4_K: {"Q4_K", 256, 144},
	Q5_K: {"Q5_K", 256, 176}, Q6_K: {"Q6_K", 256, 210}, Q8_K: {"Q8_K", 256, 292},
	IQ1_S: {"IQ1_S", 256, 50}, IQ1_M: {"IQ1_M", 256, 56},
	IQ2_XXS: {"IQ2_XXS", 256, 66}, IQ2_XS: {"IQ2_XS", 256, 74}, IQ2_S: {"IQ2_S", 256, 82},
	IQ3_XXS: {"IQ3_XXS", 256, 98}, IQ3_S: {"IQ3_S", 256, 110},
	IQ4_NL: {"IQ4_NL", 32, 18}, IQ4_XS: {"IQ4_XS", 256, 136},
	TQ1_0: {"TQ1_0", 256, 54}, TQ2_0: {"TQ2_0", 256, 66},
	MXFP4: {"MXFP4", 32, 17}, NVFP4: {"NVFP4", 64, 36},
	Q1_0: {"Q1_0", 128, 18}, Q2_0: {"Q2_0", 64, 18},
}

// Known reports whether the layout of t is known. A tensor of an unknown type
// can be carried from file to file, but not sized by [Type.RowSize].
func (t Type) Known() bool { _, ok := typeLayouts[t]; return ok }

// BlockElements is the number of elements that t stores together; 0 if t is unknown.
func (t Type) BlockElements() int { return typeLayouts[t].block }

// BlockBytes is the number of bytes of one block; 0 if t is unknown.
func (t Type) BlockBytes() int { return typeLayouts[t].bytes }

// RowSize is the number of bytes that n consecutive elements take. It fails if
// t is unknown, if n is not a multiple of the block, or if the size overflows.
func (t Type) RowSize(n int) (int64, error) {
	l, ok := typeLayouts[t]
	if !ok {
		return 0, fmt.Errorf("tensor type %d is unknown", uint32(t))
	}
	if n < 0 || n%l.block != 0 {
		return 0, fmt.Errorf("%s stores blocks of %d elements, a row of %d does not divide", l.name, l.block, n)
	}
	blocks := int64(n / l.block)
	if blocks > math.MaxInt64/int64(l.bytes) {
		return 0, fmt.Errorf("a row of %d elements of %s overflows", n, l.name)
	}
	return blocks * int64(l.bytes), nil
}

// String is ggml's name in upper case, such as "Q4_K", or "type(99)".
func (t Type) String() string {
	if l, ok := typeLayouts[t]; ok {
		return l.name
	}
	return fmt.Sprintf("type(%d)", uint32(t))
}

// ParseType finds a type by name, in any case.
func ParseType(name string) (Type, error) {
	for t, l := range typeLayouts {
		if strings.EqualFold(l.name, name) {
			return t, nil
		}
	}
	return 0, fmt.Errorf("no tensor type is named %q", name)
}
