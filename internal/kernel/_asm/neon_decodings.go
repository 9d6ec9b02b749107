package main

import "qtool/internal/ggml"

func nothing(*neonWriter) {}

// neonDecodings has every type of decodings. Layouts are drawn in package quantize.
var neonDecodings = map[ggml.Type]neonDecoding{
	ggml.F32: {nothing, func(n *neonWriter) {
		n.op("VLD1 (R1), %s", registers(0, 4))
		n.store()
	}},
	ggml.F16: {nothing, func(n *neonWriter) {
		n.op("VLD1 (R1), [V28.H8, V29.H8, V30.H8, V31.H8]")
		for v := 28; v < 32; v += 2 {
			for i := range 2 {
				n.two("VFCVTL.H4.S4", v+i, 2*i)
				n.two("VFCVTL2.H8.S4", v+i, 2*i+1)
			}
			n.store()
		}
	}},
	ggml.BF16: {func(n *neonWriter) { n.every(0, 22) }, func(n *neonWriter) {
		n.op("VLD1 (R1), [V28.H8, V29.H8, V30.H8, V31.H8]")
		for v := 28; v < 32; v += 2 {
			for i := range 2 {
				n.op("VZIP1 V%d.H8, V22.H8, V%d.H8", v+i, 2*i)
				n.op("VZIP2 V%d.H8, V22.H8, V%d.H8", v+i, 2*i+1)
			}
			n.store()
		}
	}},
	ggml.Q4_0: {func(n *neonWriter) {
		n.every(15, 22)
		n.every(8, 23)
	}, func(n *neonWriter) {
		n.float16(0, 20)
		n.load16(2, 28)
		n.nibbles(28, 29, 30)
		for v := 29; v < 31; v++ {
			n.bytes("VSUB", 23, v, v)
			n.scaled(v, lane{20, 0})
		}
	}},
	ggml.Q4_1: {func(n *neonWriter) { n.every(15, 22) }, func(n *neonWriter) {
		n.float16(0, 20)
		n.float16(2, 21)
		n.load16(4, 28)
		n.nibbles(28, 29, 30)
		n.affine(29, lane{20, 0}, lane{21, 0}, "VFADD.S4")
		n.affine(30, lane{20, 0}, lane{21, 0}, "VFADD.S4")
	}},
	ggml.Q5_0: {neonFifthBits, func(n *neonWriter) {
		n.float16(0, 20)
		n.fifthBits(2, func(v int) {
			n.bytes("VSUB", 23, v, v)
			n.scaled(v, lane{20, 0})
		})
	}},
	ggml.Q5_1: {neonFifthBits, func(n *neonWriter) {
		n.float16(0, 20)
		n.float16(2, 21)
		n.fifthBits(4, func(v int) { n.affine(v, lane{20, 0}, lane{21, 0}, "VFADD.S4") })
	}},
	ggml.Q8_0: {nothing, func(n *neonWriter) {
		n.float16(0, 20)
		for at := 0; at < 32; at += 16 {
			n.load16(2+at, 28)
			n.scaled(28, lane{20, 0})
		}
	}},
	ggml.IQ4_NL: {neonLeveled("iq4Levels"), func(n *neonWriter) {
		n.float16(0, 20)
		n.leveled(2)
	}},
	ggml.IQ4_XS: {neonLeveled("iq4Levels"), func(n *neonWriter) {
		n.float16(0, 21)
		n.op("MOVHU 2(R1), R4")
		n.op("MOVWU 4(R1), R5")
		for g := range 8 {
			n.op("UBFX $%d, R5, $4, R6", 4*g)
			n.op("UBFX $%d, R4, $2, R7", 2*g)
			n.op("ADD R7<<4, R6, R6")
			n.op("SUBW $32, R6, R6")
			n.op("SCVTFWS R6, F20")
			n.op("FMULS F21, F20, F20")
			n.leveled(8 + 16*g)
		}
	}},
	ggml.MXFP4: {neonLeveled("e2m1Levels"), func(n *neonWriter) {
		n.op("MOVBU (R1), R3")
		n.op("SUBW $1, R3, R4")
		n.op("LSLW $23, R4, R4 // 2^(e-128)")
		n.op("MOVW $0x00200000, R5")
		n.op("LSLW R3, R5, R5 // and where that is subnormal")
		n.op("CMPW $2, R3")
		n.op("CSELW LT, R5, R4, R4")
		n.op("FMOVS R4, F20")
		n.leveled(1)
	}},
	ggml.NVFP4: {func(n *neonWriter) {
		neonLeveled("e2m1Levels")(n)
		n.every(0x7f, 24)
		n.op("MOVW $0x43000000, R3 // 128")
		n.op("FMOVS R3, F25")
	}, neonNVFP4},
	ggml.Q2_K: {func(n *neonWriter) {
		n.every(15, 22)
		n.every(3, 23)
	}, neonQ2K},
	ggml.Q3_K: {func(n *neonWriter) {
		n.every(3, 22)
		n.every(4, 21)
		n.every(32, 23)
	}, neonQ3K},
	ggml.Q4_K: {func(n *neonWriter) { n.every(15, 22) }, func(n *neonWriter) {
		n.scalesAndMins()
		for g := range 8 {
			n.halvesOf(g, 16)
			for i := range 2 {
				n.affine(28+i, lane{8 + g/4, g % 4}, lane{12 + g/4, g % 4}, "VFSUB.S4")
			}
		}
	}},
	ggml.Q5_K: {func(n *neonWriter) {
		n.every(15, 22)
		n.every(16, 23)
	}, func(n *neonWriter) {
		n.scalesAndMins()
		n.load16(16, 26)
		n.load16(32, 27)
		for g := range 8 {
			n.halvesOf(g, 48)
			n.every(1<<g, 31)
			for i := range 2 {
				n.bytes("VCMTST", 31, 26+i, 30)
				n.bytes("VAND", 23, 30, 30)
				n.bytes("VORR", 30, 28+i, 28+i)
				n.affine(28+i, lane{8 + g/4, g % 4}, lane{12 + g/4, g % 4}, "VFSUB.S4")
			}
		}
	}},
	ggml.Q6_K: {func(n *neonWriter) {
		n.every(15, 22)
		n.every(32, 23)
		n.every(0x30, 21)
	}, neonQ6K},
	ggml.Q1_0: {func(n *neonWriter) {
		n.every(2, 22)
		n.every(1, 23)
		n.table("copies01", 24)
		n.table("bitOfByte", 26)
	}, func(n *neonWriter) {
		n.float16(0, 20)
		for at := 0; at < 128; at += 16 {
			n.op("MOVHU %d(R1), R3", 2+at/8)
			n.op("FMOVS R3, F28")
			n.masks(28, 24, 28)
			n.bytes("VAND", 22, 28, 28)
			n.bytes("VSUB", 23, 28, 28)
			n.scaled(28, lane{20, 0})
		}
	}},
	ggml.Q2_0: {func(n *neonWriter) {
		n.every(3, 22)
		n.every(1, 23)
		n.table("fourCopies", 24)
		n.table("pairShifts", 25)
	}, func(n *neonWriter) {
		n.float16(0, 20)
		for at := 0; at < 64; at += 16 {
			n.load4(2+at/4, 28)
			n.pairs(28)
			n.bytes("VSUB", 23, 28, 28)
			n.scaled(28, lane{20, 0})
		}
	}},
	ggml.TQ1_0: {func(n *neonWriter) {
		n.every(86, 22)
		n.every(171, 23)
		n.every(255, 24)
		n.table("fourTimes", 25)
		n.table("powersOf3", 26)
	}, neonTQ10},
	ggml.TQ2_0: {func(n *neonWriter) {
		n.every(3, 22)
		n.every(1, 23)
	}, func(n *neonWriter) {
		n.float16(64, 20)
		for half := range 2 {
			n.load16(32*half, 28)
			n.load16(32*half+16, 29)
			for k := range 4 {
				for i := range 2 {
					n.shift(2*k, 28+i, 30)
					n.bytes("VAND", 22, 30, 30)
					n.bytes("VSUB", 23, 30, 30)
					n.scaled(30, lane{20, 0})
				}
			}
		}
	}},
	ggml.IQ1_S:   {iq1.neonSetup, neonIQ1S},
	ggml.IQ1_M:   {iq1.neonSetup, neonIQ1M},
	ggml.IQ2_XXS: {iq2XXS.neonSetup, neonIQ2XXS},
	ggml.IQ2_XS:  {iq2XS.neonSetup, neonIQ2XS},
	ggml.IQ2_S:   {iq2S.neonSetup, neonIQ2S},
	ggml.IQ3_XXS: {iq3XXS.neonSetup, neonIQ3XXS},
	ggml.IQ3_S:   {iq3S.neonSetup, neonIQ3S},
}

func neonFifthBits(n *neonWriter) {
	n.every(15, 22)
	n.every(16, 23)
	n.table("copies01", 24)
	n.table("copies23", 25)
	n.table("bitOfByte", 26)
}

// fifthBits calls store with two registers of sixteen values of 5 bits, which begin
// with 32 high bits.
func (n *neonWriter) fifthBits(at int, store func(v int)) {
	n.load4(at, 27)
	n.load16(at+4, 28)
	n.nibbles(28, 29, 30)
	for i := range 2 {
		n.masks(27, 24+i, 31)
		n.bytes("VAND", 23, 31, 31)
		n.bytes("VORR", 31, 29+i, 29+i)
		store(29 + i)
	}
}

func neonLeveled(levels string) func(n *neonWriter) {
	return func(n *neonWriter) {
		n.every(15, 22)
		n.table(levels, 23)
	}
}

// leveled stores the levels of the nibbles of sixteen bytes times lane 0 of 20.
func (n *neonWriter) leveled(at int) {
	n.load16(at, 28)
	n.nibbles(28, 29, 30)
	for v := 29; v < 31; v++ {
		n.lookUp(23, v, v)
		n.scaled(v, lane{20, 0})
	}
}

func neonNVFP4(n *neonWriter) {
	// A float8 of 4 bits of exponent is a binary16 but for its bias: 2^8 too small,
	// and half of it is wanted. 0x7f stands for 0.
	n.load4(0, 28)
	n.bytes("VCMEQ", 24, 28, 29)
	n.op("VUXTL V28.B8, V28.H8")
	n.op("VUXTL V29.B8, V29.H8")
	n.op("VSHL $9, V28.H8, V28.H8 // without the sign")
	n.op("VUSHR $2, V28.H8, V28.H8")
	n.op("VSHL $8, V29.H8, V30.H8")
	n.bytes("VORR", 29, 30, 29)
	n.bytes("VORR", 29, 28, 28) // what is 0x7f: all bits
	n.bytes("VEOR", 29, 28, 28)
	n.two("VFCVTL.H4.S4", 28, 20)
	n.multiplyByLane(25, 0, 20, 20)
	for g := range 4 {
		n.load8(4+8*g, 28)
		n.shift(4, 28, 29)
		n.op("VZIP1 V29.D2, V28.D2, V28.D2")
		n.bytes("VAND", 22, 28, 28)
		n.lookUp(23, 28, 28)
		n.scaled(28, lane{20, g})
	}
}

func neonQ2K(n *neonWriter) {
	n.float16(80, 20)
	n.float16(82, 21)
	n.load16(0, 28)
	n.nibbles(28, 29, 30)
	n.widenTimes(29, 8, lane{20, 0})
	n.widenTimes(30, 12, lane{21, 0})
	for half := range 2 {
		n.load16(16+32*half, 24)
		n.load16(32+32*half, 25)
		for k := range 4 {
			for i := range 2 {
				g := 8*half + 2*k + i
				n.shift(2*k, 24+i, 28)
				n.bytes("VAND", 23, 28, 28)
				n.affine(28, lane{8 + g/4, g % 4}, lane{12 + g/4, g % 4}, "VFSUB.S4")
			}
		}
	}
}

func neonQ3K(n *neonWriter) {
	// Sixteen scales of 6 bits: low halves of 8 bytes, and 16 bit pairs.
	n.op("MOVD 96(R1), R3")
	n.op("MOVWU 104(R1), R4 // bit pair g/4 of byte g%%4")
	n.op("LSR $2, R4, R5")
	n.op("ORR R5<<32, R4, R4 // pairs 0 and 1 of each byte are in place for g < 8")
	n.op("LSL $4, R4, R5")
	n.op("AND $0x3030303030303030, R5, R5")
	n.op("AND $0x0f0f0f0f0f0f0f0f, R3, R6")
	n.op("ORR R6, R5, R5")
	n.op("FMOVD R5, F28")
	n.op("LSR $4, R3, R3")
	n.op("AND $0x0f0f0f0f0f0f0f0f, R3, R3")
	n.op("AND $0x3030303030303030, R4, R4")
	n.op("ORR R4, R3, R3")
	n.op("VMOV R3, V28.D[1]")
	n.bytes("VSUB", 23, 28, 28)
	n.float16(108, 20)
	n.widenTimes(28, 8, lane{20, 0})
	n.load16(0, 24)
	n.load16(16, 25)
	for half := range 2 {
		n.load16(32+32*half, 26)
		n.load16(48+32*half, 27)
		for k := range 4 {
			n.every(1<<(4*half+k), 31)
			for i := range 2 {
				g := 8*half + 2*k + i
				n.shift(2*k, 26+i, 28)
				n.bytes("VAND", 22, 28, 28)
				n.bytes("VCMTST", 31, 24+i, 29)
				n.bytes("VAND", 21, 29, 29)
				n.bytes("VORR", 29, 28, 28)
				n.bytes("VSUB", 21, 28, 28)
				n.scaled(28, lane{8 + g/4, g % 4})
			}
		}
	}
}

// scalesAndMins unpacks the 6-bit pairs of Q4_K and Q5_K and multiplies them by d and
// dmin: scales to 8 and 9, minimums to 12 and 13.
func (n *neonWriter) scalesAndMins() {
	n.op("MOVWU 4(R1), R4 // scales 0..3, on top of them bits of 4..7")
	n.op("MOVWU 8(R1), R5 // mins 0..3 likewise")
	n.op("MOVWU 12(R1), R6 // the low halves of scales and mins 4..7")
	for i, low := range []string{"R4", "R5"} {
		n.op("ANDW $0x3f3f3f3f, %s, R7", low)
		n.op("LSRW $2, %s, R8", low)
		n.op("ANDW $0x30303030, R8, R8")
		n.op("LSRW $%d, R6, R9", 4*i)
		n.op("ANDW $0x0f0f0f0f, R9, R9")
		n.op("ORR R9, R8, R8")
		n.op("ORR R8<<32, R7, R7")
		n.op("FMOVD R7, F28")
		n.float16(2*i, 20)
		n.eightTimes(28, 8+4*i, lane{20, 0})
	}
}

// halvesOf puts the 32 nibbles of group g into 28 and 29: two groups share 32 bytes
// from at, which 24 and 25 keep.
func (n *neonWriter) halvesOf(g, at int) {
	for i := range 2 {
		if g%2 == 0 {
			n.load16(at+16*g+16*i, 24+i)
			n.bytes("VAND", 22, 24+i, 28+i)
		} else {
			n.shift(4, 24+i, 28+i)
		}
	}
}

func neonQ6K(n *neonWriter) {
	n.float16(208, 20)
	n.load16(192, 28)
	n.widenTimes(28, 8, lane{20, 0})
	for half := range 2 {
		for i := range 4 {
			n.load16(64*half+16*i, 24+i)
		}
		n.load16(128+32*half, 28)
		n.load16(144+32*half, 29)
		for quarter := range 4 {
			for i := range 2 {
				g, lows := 8*half+2*quarter+i, 24+quarter%2*2+i
				if quarter < 2 {
					n.bytes("VAND", 22, lows, 30)
				} else {
					n.shift(4, lows, 30)
				}
				n.shift(2*quarter-4, 28+i, 31)
				n.bytes("VAND", 21, 31, 31)
				n.bytes("VORR", 31, 30, 30)
				n.bytes("VSUB", 23, 30, 30)
				n.scaled(30, lane{8 + g/4, g % 4})
			}
		}
	}
}

// pairs puts the sixteen bit pairs of four bytes into the bytes of a register: 22
// holds 3, 24 fourCopies, 25 pairShifts.
func (n *neonWriter) pairs(v int) {
	n.lookUp(v, 24, v)
	n.three("VUSHL.B16", 25, v, v)
	n.bytes("VAND", 22, v, v)
}

// trits stores the top digits, less 1, of sixteen fractions in base 3: 0, 1 or 2 of
// the bounds 86 and 171 are reached.
func (n *neonWriter) trits(v int) {
	n.three("VCMHS.B16", 22, v, 30)
	n.three("VCMHS.B16", 23, v, 31)
	n.bytes("VSUB", 30, 24, 30)
	n.bytes("VSUB", 31, 30, 30)
	n.scaled(30, lane{20, 0})
}

// nextTrits multiplies by 3, losing the top digit.
func (n *neonWriter) nextTrits(v int) {
	n.bytes("VADD", v, v, 30)
	n.bytes("VADD", 30, v, v)
}

func neonTQ10(n *neonWriter) {
	n.float16(52, 20)
	for _, part := range []struct{ at, registers int }{{0, 2}, {32, 1}} {
		for i := range part.registers {
			n.load16(part.at+16*i, 28+i)
		}
		for digit := range 5 {
			for i := range part.registers {
				if digit > 0 {
					n.nextTrits(28 + i)
				}
				n.trits(28 + i)
			}
		}
	}
	// Four bytes with four digits: those of all bytes side by side.
	n.load4(48, 28)
	n.lookUp(28, 25, 28)
	n.three("VMUL.B16", 26, 28, 28)
	n.trits(28)
}
