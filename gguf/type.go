package gguf

import "qtool/internal/ggml"

// Type is the storage type of a tensor's elements, numbered as in ggml. A number that is
// none of the constants is a valid Type whose layout is unknown. Its methods are
//
//	Known() bool                      // whether the layout is known
//	BlockElements() int               // elements that are stored together; 0 if unknown
//	BlockBytes() int                  // bytes of a block; 0 if unknown
//	RowSize(n int) (int64, error)     // bytes of n consecutive elements
//	String() string                   // ggml's name in upper case, such as "Q4_K", or "type(99)"
//
// RowSize fails if the type is unknown, if n is not a multiple of the block, or if the
// size overflows. A tensor of an unknown type can be carried from file to file.
type Type = ggml.Type

// The tensor types of ggml.
const (
	F32     = ggml.F32
	F16     = ggml.F16
	Q4_0    = ggml.Q4_0
	Q4_1    = ggml.Q4_1
	Q5_0    = ggml.Q5_0
	Q5_1    = ggml.Q5_1
	Q8_0    = ggml.Q8_0
	Q8_1    = ggml.Q8_1
	Q2_K    = ggml.Q2_K
	Q3_K    = ggml.Q3_K
	Q4_K    = ggml.Q4_K
	Q5_K    = ggml.Q5_K
	Q6_K    = ggml.Q6_K
	Q8_K    = ggml.Q8_K
	IQ2_XXS = ggml.IQ2_XXS
	IQ2_XS  = ggml.IQ2_XS
	IQ3_XXS = ggml.IQ3_XXS
	IQ1_S   = ggml.IQ1_S
	IQ4_NL  = ggml.IQ4_NL
	IQ3_S   = ggml.IQ3_S
	IQ2_S   = ggml.IQ2_S
	IQ4_XS  = ggml.IQ4_XS
	I8      = ggml.I8
	I16     = ggml.I16
	I32     = ggml.I32
	I64     = ggml.I64
	F64     = ggml.F64
	IQ1_M   = ggml.IQ1_M
	BF16    = ggml.BF16
	TQ1_0   = ggml.TQ1_0
	TQ2_0   = ggml.TQ2_0
	MXFP4   = ggml.MXFP4
	NVFP4   = ggml.NVFP4
	Q1_0    = ggml.Q1_0
	Q2_0    = ggml.Q2_0
)

// ParseType finds a type by name, in any case.
func ParseType(name string) (Type, error) { return ggml.ParseType(name) }
