package main

import "qtool/internal/ggml"

func nothing(*neonWriter) {}

// loadWords loads 32 words into the registers of bytes.
func (n *neonWriter) loadWords() {
	n.op("VLD1 (%s), [V28.H8, V29.H8, V30.H8, V31.H8]", neonEncoded)
}

// neonDecodings has every type of decodings. Layouts are drawn in package quantize.
var neonDecodings = map[ggml.Type]neonDecoding{
	ggml.F32: {nothing, func(n *neonWriter) {
		n.ins("VLD1", in(neonEncoded), registers(neonValues, 4))
		n.store()
	}},
	ggml.F16: {nothing, func(n *neonWriter) {
		n.loadWords()
		for v := neonBytes; v < neonBytes+4; v += 2 {
			for i := range 2 {
				n.two("VFCVTL.H4.S4", v+i, neonValues+2*i)
				n.two("VFCVTL2.H8.S4", v+i, neonValues+2*i+1)
			}
			n.store()
		}
	}},
	ggml.BF16: {func(n *neonWriter) { n.every(0, neonZero) }, func(n *neonWriter) {
		n.loadWords()
		for v := neonBytes; v < neonBytes+4; v += 2 {
			for i := range 2 {
				n.ins("VZIP1", arranged(v+i, "H8"), arranged(neonZero, "H8"), arranged(neonValues+2*i, "H8"))
				n.ins("VZIP2", arranged(v+i, "H8"), arranged(neonZero, "H8"), arranged(neonValues+2*i+1, "H8"))
			}
			n.store()
		}
	}},
	ggml.Q4_0: {func(n *neonWriter) {
		n.every(15, neonMask)
		n.every(8, neonOffset)
	}, func(n *neonWriter) {
		n.float16(0, neonScale)
		n.load16(2, neonBytes)
		n.nibbles(neonBytes, neonLows, neonHighs)
		for _, v := range []int{neonLows, neonHighs} {
			n.bytes("VSUB", neonOffset, v, v)
			n.scaled(v, lane{neonScale, 0})
		}
	}},
	ggml.Q4_1: {func(n *neonWriter) { n.every(15, neonMask) }, func(n *neonWriter) {
		n.float16(0, neonScale)
		n.float16(2, neonMin)
		n.load16(4, neonBytes)
		n.nibbles(neonBytes, neonLows, neonHighs)
		n.affine(neonLows, lane{neonScale, 0}, lane{neonMin, 0}, "VFADD.S4")
		n.affine(neonHighs, lane{neonScale, 0}, lane{neonMin, 0}, "VFADD.S4")
	}},
	ggml.Q5_0: {neonFifthBits, func(n *neonWriter) {
		n.float16(0, neonScale)
		n.fifthBits(2, func(v int) {
			n.bytes("VSUB", neonBit4, v, v)
			n.scaled(v, lane{neonScale, 0})
		})
	}},
	ggml.Q5_1: {neonFifthBits, func(n *neonWriter) {
		n.float16(0, neonScale)
		n.float16(2, neonMin)
		n.fifthBits(4, func(v int) { n.affine(v, lane{neonScale, 0}, lane{neonMin, 0}, "VFADD.S4") })
	}},
	ggml.Q8_0: {nothing, func(n *neonWriter) {
		n.float16(0, neonScale)
		for first := 0; first < 32; first += 16 {
			n.load16(2+first, neonBytes)
			n.scaled(neonBytes, lane{neonScale, 0})
		}
	}},
	ggml.IQ4_NL: {neonLeveled("iq4Levels"), func(n *neonWriter) {
		n.float16(0, neonScale)
		n.leveled(2)
	}},
	ggml.IQ4_XS: {neonLeveled("iq4Levels"), func(n *neonWriter) {
		const highBits, lowBits, integer, high = "R4", "R5", "R6", "R7"
		n.float16(0, neonFactor)
		n.ins("MOVHU", at(neonEncoded, 2), highBits)
		n.ins("MOVWU", at(neonEncoded, 4), lowBits)
		for g := range 8 {
			n.ins("UBFX", number(4*g), lowBits, "$4", integer)
			n.ins("UBFX", number(2*g), highBits, "$2", high)
			n.ins("ADD", shifted(high, "<<", 4), integer, integer)
			n.ins("SUBW", "$32", integer, integer)
			n.ins("SCVTFWS", integer, scalar(neonScale))
			n.ins("FMULS", scalar(neonFactor), scalar(neonScale), scalar(neonScale))
			n.leveled(8 + 16*g)
		}
	}},
	ggml.MXFP4: {neonLeveled("e2m1Levels"), func(n *neonWriter) {
		const exponent, power, subnormal = neonScratch, "R4", "R5"
		n.ins("MOVBU", in(neonEncoded), exponent)
		n.ins("SUBW", "$1", exponent, power)
		n.ins("LSLW", "$23", power, power+" // 2^(e-128)")
		n.ins("MOVW", "$0x00200000", subnormal)
		n.ins("LSLW", exponent, subnormal, subnormal+" // and where that is subnormal")
		n.ins("CMPW", "$2", exponent)
		n.ins("CSELW", "LT", subnormal, power, power)
		n.ins("FMOVS", power, scalar(neonScale))
		n.leveled(1)
	}},
	ggml.NVFP4: {func(n *neonWriter) {
		neonLeveled("e2m1Levels")(n)
		n.every(0x7f, neonNotANumber)
		n.ins("MOVW", "$0x43000000", neonScratch+" // 128")
		n.ins("FMOVS", neonScratch, scalar(neonTimes128))
	}, neonNVFP4},
	ggml.Q2_K: {func(n *neonWriter) {
		n.every(15, neonMask)
		n.every(3, neonPairMask)
	}, neonQ2K},
	ggml.Q3_K: {func(n *neonWriter) {
		n.every(3, neonMask)
		n.every(4, neonBit2)
		n.every(32, neonOffset)
	}, neonQ3K},
	ggml.Q4_K: {func(n *neonWriter) { n.every(15, neonMask) }, func(n *neonWriter) {
		n.scalesAndMins()
		for g := range 8 {
			n.groupNibbles(g, 16)
			for i := range 2 {
				n.affine(neonBytes+i, lane{neonScales + g/4, g % 4}, lane{neonMins + g/4, g % 4}, "VFSUB.S4")
			}
		}
	}},
	ggml.Q5_K: {func(n *neonWriter) {
		n.every(15, neonMask)
		n.every(16, neonBit4)
	}, func(n *neonWriter) {
		n.scalesAndMins()
		n.load16(16, neonKept+2)
		n.load16(32, neonKept+3)
		for g := range 8 {
			n.groupNibbles(g, 48)
			n.every(1<<g, neonBits)
			for i := range 2 {
				n.bytes("VCMTST", neonBits, neonKept+2+i, neonHighs)
				n.bytes("VAND", neonBit4, neonHighs, neonHighs)
				n.bytes("VORR", neonHighs, neonBytes+i, neonBytes+i)
				n.affine(neonBytes+i, lane{neonScales + g/4, g % 4}, lane{neonMins + g/4, g % 4}, "VFSUB.S4")
			}
		}
	}},
	ggml.Q6_K: {func(n *neonWriter) {
		n.every(15, neonMask)
		n.every(32, neonOffset)
		n.every(0x30, neonHighMask)
	}, neonQ6K},
	ggml.Q1_0: {func(n *neonWriter) {
		n.every(2, neonTwo)
		n.every(1, neonOffset)
		n.table("copies01", neonCopies)
		n.table("bitOfByte", neonBitOf)
	}, func(n *neonWriter) {
		n.float16(0, neonScale)
		for first := 0; first < 128; first += 16 {
			n.ins("MOVHU", at(neonEncoded, 2+first/8), neonScratch)
			n.ins("FMOVS", neonScratch, scalar(neonBytes))
			n.masks(neonBytes, neonCopies, neonBytes)
			n.bytes("VAND", neonTwo, neonBytes, neonBytes)
			n.bytes("VSUB", neonOffset, neonBytes, neonBytes)
			n.scaled(neonBytes, lane{neonScale, 0})
		}
	}},
	ggml.Q2_0: {func(n *neonWriter) {
		n.every(3, neonMask)
		n.every(1, neonOffset)
		n.table("fourCopies", neonCopies)
		n.table("pairShifts", neonShifts)
	}, func(n *neonWriter) {
		n.float16(0, neonScale)
		for first := 0; first < 64; first += 16 {
			n.load4(2+first/4, neonBytes)
			n.pairs(neonBytes)
			n.bytes("VSUB", neonOffset, neonBytes, neonBytes)
			n.scaled(neonBytes, lane{neonScale, 0})
		}
	}},
	ggml.TQ1_0: {func(n *neonWriter) {
		n.every(86, neonOneThird)
		n.every(171, neonTwoThirds)
		n.every(255, neonMinusOne)
		n.table("fourTimes", neonFourTimes)
		n.table("powersOf3", neonPowers)
	}, neonTQ10},
	ggml.TQ2_0: {func(n *neonWriter) {
		n.every(3, neonMask)
		n.every(1, neonOffset)
	}, func(n *neonWriter) {
		n.float16(64, neonScale)
		for half := range 2 {
			n.load16(32*half, neonBytes)
			n.load16(32*half+16, neonLows)
			for k := range 4 {
				for i := range 2 {
					n.shift(2*k, neonBytes+i, neonHighs)
					n.bytes("VAND", neonMask, neonHighs, neonHighs)
					n.bytes("VSUB", neonOffset, neonHighs, neonHighs)
					n.scaled(neonHighs, lane{neonScale, 0})
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
	n.every(15, neonMask)
	n.every(16, neonBit4)
	n.table("copies01", neonCopies)
	n.table("copies23", neonCopies+1)
	n.table("bitOfByte", neonBitOf)
}

// fifthBits calls store with two registers of sixteen values of 5 bits, which begin
// with 32 high bits.
func (n *neonWriter) fifthBits(place int, store func(v int)) {
	n.load4(place, neonBit4s)
	n.load16(place+4, neonBytes)
	n.nibbles(neonBytes, neonLows, neonHighs)
	for i := range 2 {
		n.masks(neonBit4s, neonCopies+i, neonBits)
		n.bytes("VAND", neonBit4, neonBits, neonBits)
		n.bytes("VORR", neonBits, neonLows+i, neonLows+i)
		store(29 + i)
	}
}

func neonLeveled(levels string) func(n *neonWriter) {
	return func(n *neonWriter) {
		n.every(15, neonMask)
		n.table(levels, neonLevels)
	}
}

// leveled stores the levels of the nibbles of sixteen bytes times neonScale.
func (n *neonWriter) leveled(place int) {
	n.load16(place, neonBytes)
	n.nibbles(neonBytes, neonLows, neonHighs)
	for _, v := range []int{neonLows, neonHighs} {
		n.lookUp(neonLevels, v, v)
		n.scaled(v, lane{neonScale, 0})
	}
}

func neonNVFP4(n *neonWriter) {
	const scales, masks, spare, highNibbles = neonBytes, neonLows, neonHighs, neonLows
	// A float8 of 4 bits of exponent is a binary16 but for its bias: 2^8 too small,
	// and half of it is wanted. 0x7f stands for 0.
	n.load4(0, scales)
	n.bytes("VCMEQ", neonNotANumber, scales, masks)
	n.ins("VUXTL", arranged(scales, "B8"), arranged(scales, "H8"))
	n.ins("VUXTL", arranged(masks, "B8"), arranged(masks, "H8"))
	n.ins("VSHL", "$9", arranged(scales, "H8"), arranged(scales, "H8")+" // without the sign")
	n.ins("VUSHR", "$2", arranged(scales, "H8"), arranged(scales, "H8"))
	n.ins("VSHL", "$8", arranged(masks, "H8"), arranged(spare, "H8"))
	n.bytes("VORR", masks, spare, masks)
	n.bytes("VORR", masks, scales, scales) // what is 0x7f: all bits
	n.bytes("VEOR", masks, scales, scales)
	n.two("VFCVTL.H4.S4", scales, neonScale)
	n.multiplyByLane(neonTimes128, 0, neonScale, neonScale)
	for g := range 4 {
		n.load8(4+8*g, neonBytes)
		n.shift(4, neonBytes, highNibbles)
		n.ins("VZIP1", arranged(highNibbles, "D2"), arranged(neonBytes, "D2"), arranged(neonBytes, "D2"))
		n.bytes("VAND", neonMask, neonBytes, neonBytes)
		n.lookUp(neonLevels, neonBytes, neonBytes)
		n.scaled(neonBytes, lane{neonScale, g})
	}
}

func neonQ2K(n *neonWriter) {
	n.float16(80, neonScale)
	n.float16(82, neonMin)
	n.load16(0, neonBytes)
	n.nibbles(neonBytes, neonLows, neonHighs)
	n.widenTimes(neonLows, neonScales, lane{neonScale, 0})
	n.widenTimes(neonHighs, neonMins, lane{neonMin, 0})
	for half := range 2 {
		n.load16(16+32*half, neonKept)
		n.load16(32+32*half, neonKept+1)
		for k := range 4 {
			for i := range 2 {
				g := 8*half + 2*k + i
				n.shift(2*k, neonKept+i, neonBytes)
				n.bytes("VAND", neonPairMask, neonBytes, neonBytes)
				n.affine(neonBytes, lane{neonScales + g/4, g % 4}, lane{neonMins + g/4, g % 4}, "VFSUB.S4")
			}
		}
	}
}

func neonQ3K(n *neonWriter) {
	const nibbles, pairs, scales, low = neonScratch, "R4", "R5", "R6" // scales: of groups 0..7
	// Sixteen scales of 6 bits: nibbles of 8 bytes, and 16 bit pairs.
	n.ins("MOVD", at(neonEncoded, 96), nibbles)
	n.ins("MOVWU", at(neonEncoded, 104), pairs+" // bit pair g/4 of byte g%4")
	n.ins("LSR", "$2", pairs, scales)
	n.ins("ORR", shifted(scales, "<<", 32), pairs, pairs+" // pairs 0 and 1 of each byte are in place for g < 8")
	n.ins("LSL", "$4", pairs, scales)
	n.ins("AND", "$0x3030303030303030", scales, scales)
	n.ins("AND", "$0x0f0f0f0f0f0f0f0f", nibbles, low)
	n.ins("ORR", low, scales, scales)
	n.ins("FMOVD", scales, scalar(neonBytes))
	n.ins("LSR", "$4", nibbles, nibbles)
	n.ins("AND", "$0x0f0f0f0f0f0f0f0f", nibbles, nibbles)
	n.ins("AND", "$0x3030303030303030", pairs, pairs)
	n.ins("ORR", pairs, nibbles, nibbles)
	n.ins("VMOV", nibbles, element(neonBytes, "D", 1))
	n.bytes("VSUB", neonOffset, neonBytes, neonBytes)
	n.float16(108, neonScale)
	n.widenTimes(neonBytes, neonScales, lane{neonScale, 0})
	n.load16(0, neonKept)
	n.load16(16, neonKept+1)
	for half := range 2 {
		n.load16(32+32*half, neonKept+2)
		n.load16(48+32*half, neonKept+3)
		for k := range 4 {
			n.every(1<<(4*half+k), neonBits)
			for i := range 2 {
				g := 8*half + 2*k + i
				n.shift(2*k, neonKept+2+i, neonBytes)
				n.bytes("VAND", neonMask, neonBytes, neonBytes)
				n.bytes("VCMTST", neonBits, neonKept+i, neonLows)
				n.bytes("VAND", neonBit2, neonLows, neonLows)
				n.bytes("VORR", neonLows, neonBytes, neonBytes)
				n.bytes("VSUB", neonBit2, neonBytes, neonBytes)
				n.scaled(neonBytes, lane{neonScales + g/4, g % 4})
			}
		}
	}
}

// scalesAndMins unpacks the 6-bit pairs of Q4_K and Q5_K and multiplies them by d and
// dmin: eight scales and eight minimums.
func (n *neonWriter) scalesAndMins() {
	const (
		scales, mins, highBits = "R4", "R5", "R6"
		lowGroups, highGroups  = "R7", "R8"
		spare                  = "R9"
	)
	n.ins("MOVWU", at(neonEncoded, 4), scales+" // scales 0..3, on top of them bits of 4..7")
	n.ins("MOVWU", at(neonEncoded, 8), mins+" // mins 0..3 likewise")
	n.ins("MOVWU", at(neonEncoded, 12), highBits+" // the low halves of scales and mins 4..7")
	for i, bits := range []string{scales, mins} {
		n.ins("ANDW", "$0x3f3f3f3f", bits, lowGroups)
		n.ins("LSRW", "$2", bits, highGroups)
		n.ins("ANDW", "$0x30303030", highGroups, highGroups)
		n.ins("LSRW", number(4*i), highBits, spare)
		n.ins("ANDW", "$0x0f0f0f0f", spare, spare)
		n.ins("ORR", spare, highGroups, highGroups)
		n.ins("ORR", shifted(highGroups, "<<", 32), lowGroups, lowGroups)
		n.ins("FMOVD", lowGroups, scalar(neonBytes))
		n.float16(2*i, neonScale)
		n.eightTimes(neonBytes, neonScales+4*i, lane{neonScale, 0})
	}
}

// groupNibbles puts the 32 nibbles of group g into two registers: two groups share 32 bytes
// from place on, which neonKept keeps.
func (n *neonWriter) groupNibbles(g, place int) {
	for i := range 2 {
		if g%2 == 0 {
			n.load16(place+16*g+16*i, neonKept+i)
			n.bytes("VAND", neonMask, neonKept+i, neonBytes+i)
		} else {
			n.shift(4, neonKept+i, neonBytes+i)
		}
	}
}

func neonQ6K(n *neonWriter) {
	const highs, x = neonBytes, neonHighs // of elements: high bits, and all
	n.float16(208, neonScale)
	n.load16(192, neonBytes)
	n.widenTimes(neonBytes, neonScales, lane{neonScale, 0})
	for half := range 2 {
		for i := range 4 {
			n.load16(64*half+16*i, neonKept+i)
		}
		n.load16(128+32*half, highs)
		n.load16(144+32*half, highs+1)
		for quarter := range 4 {
			for i := range 2 {
				g, lows := 8*half+2*quarter+i, neonKept+quarter%2*2+i
				if quarter < 2 {
					n.bytes("VAND", neonMask, lows, x)
				} else {
					n.shift(4, lows, x)
				}
				n.shift(2*quarter-4, highs+i, neonBits)
				n.bytes("VAND", neonHighMask, neonBits, neonBits)
				n.bytes("VORR", neonBits, x, x)
				n.bytes("VSUB", neonOffset, x, x)
				n.scaled(x, lane{neonScales + g/4, g % 4})
			}
		}
	}
}

// pairs puts the sixteen bit pairs of four bytes into the bytes of a register: neonMask
// holds 3, neonCopies fourCopies, neonShifts pairShifts.
func (n *neonWriter) pairs(v int) {
	n.lookUp(v, neonCopies, v)
	n.three("VUSHL.B16", neonShifts, v, v)
	n.bytes("VAND", neonMask, v, v)
}

// trits stores the top digits, less 1, of sixteen fractions in base 3: 0, 1 or 2 of
// the bounds neonOneThird and neonTwoThirds are reached.
func (n *neonWriter) trits(v int) {
	n.three("VCMHS.B16", neonOneThird, v, neonHighs)
	n.three("VCMHS.B16", neonTwoThirds, v, neonBits)
	n.bytes("VSUB", neonHighs, neonMinusOne, neonHighs)
	n.bytes("VSUB", neonBits, neonHighs, neonHighs)
	n.scaled(neonHighs, lane{neonScale, 0})
}

// nextTrits multiplies by 3, losing the top digit.
func (n *neonWriter) nextTrits(v int) {
	n.bytes("VADD", v, v, neonHighs)
	n.bytes("VADD", neonHighs, v, v)
}

func neonTQ10(n *neonWriter) {
	n.float16(52, neonScale)
	for _, run := range []struct{ place, registers int }{{0, 2}, {32, 1}} {
		for i := range run.registers {
			n.load16(run.place+16*i, neonBytes+i)
		}
		for digit := range 5 {
			for i := range run.registers {
				if digit > 0 {
					n.nextTrits(neonBytes + i)
				}
				n.trits(neonBytes + i)
			}
		}
	}
	// Four bytes with four digits: those of all bytes side by side.
	n.load4(48, neonBytes)
	n.lookUp(neonBytes, neonFourTimes, neonBytes)
	n.three("VMUL.B16", neonPowers, neonBytes, neonBytes)
	n.trits(neonBytes)
}
