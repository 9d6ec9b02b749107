package safetensors

import (
	"fmt"
	"math"
	"math/bits"
)

// DType is the storage type of a tensor's elements. The order of the constants
// is the format's own; writers place types of a higher number first, so that
// wide elements stay aligned.
type DType uint8

// The types of the format. F4 and the F6 kinds are packed below byte size.
const (
	BOOL DType = iota
	F4
	F6_E2M3
	F6_E3M2
	U8
	I8
	F8_E5M2
	F8_E4M3
	F8_E8M0
	F8_E4M3FNUZ
	F8_E5M2FNUZ
	I16
	U16
	F16
	BF16
	I32
	U32
	F32
	C64
	F64
	I64
	U64
)

var dtypes = [...]struct {
	name string
	bits int
}{
	BOOL: {"BOOL", 8},
	F4:   {"F4", 4}, F6_E2M3: {"F6_E2M3", 6}, F6_E3M2: {"F6_E3M2", 6},
	U8: {"U8", 8}, I8: {"I8", 8},
	F8_E5M2: {"F8_E5M2", 8}, F8_E4M3: {"F8_E4M3", 8}, F8_E8M0: {"F8_E8M0", 8},
	F8_E4M3FNUZ: {"F8_E4M3FNUZ", 8}, F8_E5M2FNUZ: {"F8_E5M2FNUZ", 8},
	I16: {"I16", 16}, U16: {"U16", 16}, F16: {"F16", 16}, BF16: {"BF16", 16},
	I32: {"I32", 32}, U32: {"U32", 32}, F32: {"F32", 32},
	C64: {"C64", 64}, F64: {"F64", 64}, I64: {"I64", 64}, U64: {"U64", 64},
}

// ParseDType finds a type by its name in the file. Case matters.
func ParseDType(name string) (DType, error) {
	for d, l := range dtypes {
		if l.name == name {
			return DType(d), nil
		}
	}
	return 0, fmt.Errorf("no dtype is named %q", name)
}

// String is the name in the file, such as "BF16".
func (d DType) String() string {
	if int(d) < len(dtypes) {
		return dtypes[d].name
	}
	return fmt.Sprintf("dtype(%d)", uint8(d))
}

// Bits is the size of one element in bits; 0 if d is no type of the format.
func (d DType) Bits() int {
	if int(d) < len(dtypes) {
		return dtypes[d].bits
	}
	return 0
}

// Size is the number of bytes of a tensor of the given shape. It fails if a
// dimension is negative, if the size overflows, or if packed elements do not
// end on a whole byte.
func (d DType) Size(shape []int) (int64, error) {
	if d.Bits() == 0 {
		return 0, fmt.Errorf("%v is no dtype of the format", d)
	}
	n := uint64(1)
	for _, dim := range shape {
		if dim < 0 {
			return 0, fmt.Errorf("shape %v has a negative dimension", shape)
		}
		hi, lo := bits.Mul64(n, uint64(dim))
		if hi != 0 {
			return 0, fmt.Errorf("shape %v has more elements than can be counted", shape)
		}
		n = lo
	}
	hi, lo := bits.Mul64(n, uint64(d.Bits()))
	if hi != 0 || lo > math.MaxInt64 {
		return 0, fmt.Errorf("shape %v of %v overflows", shape, d)
	}
	if lo%8 != 0 {
		return 0, fmt.Errorf("shape %v of %v takes %d bits, not a whole number of bytes", shape, d, lo)
	}
	return int64(lo / 8), nil
}
