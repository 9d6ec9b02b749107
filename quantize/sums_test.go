package quantize_test

import "qtool/gguf"

var decodedSums = map[gguf.Type]uint32{
	gguf.BF16:    0x8564ae3b,
	gguf.F16:     0xf0e13206,
	gguf.F32:     0xabdcc89b,
	gguf.F64:     0x5c431e93,
	gguf.I16:     0xc3cf7ae4,
	gguf.I32:     0x569c524d,
	gguf.I8:      0x68dab860,
	gguf.IQ1_M:   0x0e53a937,
	gguf.IQ1_S:   0x0388b66f,
	gguf.IQ2_S:   0x337787f7,
	gguf.IQ2_XS:  0x563eed27,
	gguf.IQ2_XXS: 0xa399bbf6,
	gguf.IQ3_S:   0x1606a52f,
	gguf.IQ3_XXS: 0x6f438980,
	gguf.IQ4_NL:  0x76b2fb38,
	gguf.IQ4_XS:  0x7b2b3f32,
	gguf.MXFP4:   0xaffd58b8,
	gguf.NVFP4:   0x29a176d5,
	gguf.Q1_0:    0xcb12e909,
	gguf.Q2_0:    0xb45cfba0,
	gguf.Q2_K:    0x3990b07d,
	gguf.Q3_K:    0xf545581f,
	gguf.Q4_0:    0x80fddd2a,
	gguf.Q4_1:    0xf5a1f1e2,
	gguf.Q4_K:    0x1ed5902c,
	gguf.Q5_0:    0x76143699,
	gguf.Q5_1:    0x56f4f4ba,
	gguf.Q5_K:    0x11643ae4,
	gguf.Q6_K:    0x68b83a30,
	gguf.Q8_0:    0x32ab04cf,
	gguf.TQ1_0:   0x3d537511,
	gguf.TQ2_0:   0x64430311,
}

var encodedSums = map[gguf.Type]uint32{
	gguf.BF16: 0xcf959f36,
	gguf.F16:  0xd55d1387,
	gguf.F32:  0xc8943728,
	gguf.Q4_0: 0x5415d5f6,
	gguf.Q4_1: 0xa49bcccf,
	gguf.Q5_0: 0xae0094ec,
	gguf.Q5_1: 0x05347ed7,
	gguf.Q6_K: 0x4bdd3716,
	gguf.Q8_0: 0x2cf0fdf8,
}

var weightedSums = map[gguf.Type]uint32{
	gguf.BF16: 0xcf959f36,
	gguf.F16:  0xd55d1387,
	gguf.F32:  0xc8943728,
	gguf.Q4_0: 0x960f41ec,
	gguf.Q4_1: 0x44e42481,
	gguf.Q5_0: 0x07623af3,
	gguf.Q5_1: 0xac19b1dc,
	gguf.Q6_K: 0x6d999891,
	gguf.Q8_0: 0x2cf0fdf8,
}
