package main

import (
	"fmt"

	"qtool/internal/ggml"
)

// Every type's layout is drawn in package quantize.
var decodings = []decoding{
	{blocksOf(ggml.F16), nil, "", nil, func(d *decoderWriter) {
		for at := 0; at < 32; at += d.lanes {
			d.op("VCVTPH2PS %d(SI), %s", 2*at, d.v(values))
			d.store(values, at)
		}
	}},
	{blocksOf(ggml.BF16), nil, "", nil, decodeBF16},
	{blocksOf(ggml.Q4_0), []constant{{lowBits, 15}, {offset8, 8}}, "", wideTable("signed4"), func(d *decoderWriter) {
		if d.wide() {
			d.scaleTable("0(SI)")
			d.roundTable()
			d.tabledNibbles(2, 0, 16)
			return
		}
		d.blockScale()
		for at := 0; at < 16; at += d.lanes {
			d.nibbles(2 + at)
			d.op("VPSUBD %s, %s, %s", d.v(offset8), d.v(values), d.v(values))
			d.op("VPSUBD %s, %s, %s", d.v(offset8), d.v(values2), d.v(values2))
			d.scaled(values, at)
			d.scaled(values2, at+16)
		}
	}},
	{blocksOf(ggml.Q4_1), []constant{{lowBits, 15}}, "", wideTable("unsigned4"), func(d *decoderWriter) {
		d.float16("2(SI)", low)
		if d.wide() {
			d.scaleTable("0(SI)")
			d.op("VADDPS Z%d, Z%[2]d, Z%[2]d", low, tableScaled)
			d.roundTable()
			d.tabledNibbles(4, 0, 16)
			return
		}
		d.float16("0(SI)", scale)
		for at := 0; at < 16; at += d.lanes {
			d.nibbles(4 + at)
			d.affine(values, at, "VADDPS")
			d.affine(values2, at+16, "VADDPS")
		}
	}},
	{blocksOf(ggml.Q5_0), nil, "", twoWideTables("lower5", "unsigned4"), func(d *decoderWriter) {
		d.blockScale()
		if d.wide() {
			d.scaleTwoTables()
			d.roundTwoTables()
			d.tabledFifthBits(2)
			return
		}
		d.unpackFifthBits(2, "bytes16")
		for at := 0; at < 32; at += 8 {
			d.widened(0, at)
			d.scaled(values, at)
		}
	}},
	{blocksOf(ggml.Q5_1), nil, "", twoWideTables("unsigned4", "upper5"), func(d *decoderWriter) {
		d.float16("0(SI)", scale)
		d.float16("2(SI)", low)
		if d.wide() {
			d.scaleTwoTables()
			d.moveTwoTables("VADDPS")
			d.roundTwoTables()
			d.tabledFifthBits(4)
			return
		}
		d.unpackFifthBits(4, "")
		for at := 0; at < 32; at += 8 {
			d.widened(0, at)
			d.affine(values, at, "VADDPS")
		}
	}},
	{blocksOf(ggml.Q8_0), nil, "", nil, func(d *decoderWriter) {
		d.blockScale()
		for at := 0; at < 32; at += d.lanes {
			d.op("VPMOVSXBD %d(SI), %s", 2+at, d.v(values))
			d.scaled(values, at)
		}
	}},
	{blocksOf(ggml.IQ4_NL), []constant{{nibbleMask, 0x0f0f0f0f}}, iq4Levels, wideTable("levelsIQ4"), func(d *decoderWriter) {
		d.blockScale()
		d.leveled(2, 0)
	}},
	{blocksOf(ggml.IQ4_XS), []constant{{nibbleMask, 0x0f0f0f0f}}, iq4Levels, wideTable("levelsIQ4"), decodeIQ4XS},
	{blocksOf(ggml.MXFP4), []constant{{nibbleMask, 0x0f0f0f0f}}, e2m1Levels, wideTable("levelsE2M1"), func(d *decoderWriter) {
		d.op("MOVBLZX (SI), AX")
		d.op("LEAL -1(AX), R8")
		d.op("SHLL $23, R8 // 2^(e-128)")
		d.op("MOVL $0x00200000, R9")
		d.op("SHLXL AX, R9, R9 // and where that is subnormal")
		d.op("CMPL AX, $2")
		d.op("CMOVLLT R9, R8")
		d.op("VMOVD R8, X%d", scale)
		d.op("VBROADCASTSS X%d, %s", scale, d.v(scale))
		d.leveled(1, 0)
	}},
	{blocksOf(ggml.Q2_K), []constant{{lowBits, 15}, {pairMask, 3}}, "", wideTable("fourUnsigned"), decodeQ2K},
	{blocksOf(ggml.Q3_K), []constant{{offset32, 32}}, "", nil, decodeQ3K},
	{blocksOf(ggml.Q4_K), []constant{{lowBits, 15}}, "", wideTable("unsigned4"), func(d *decoderWriter) {
		d.scalesAndMins()
		for g := 0; g < 8; g += 2 {
			if d.wide() {
				d.tabledGroups(g)
				continue
			}
			const nextScale, nextLow = 7, 8
			d.group(g)
			d.groupTo(g+1, nextScale, nextLow)
			for at := 0; at < 32; at += d.lanes {
				d.nibbles(16 + 16*g + at)
				d.affine(values, 32*g+at, "VSUBPS")
				d.affineBy(1, 32*g+32+at, "VSUBPS", nextScale, nextLow)
			}
		}
	}},
	{blocksOf(ggml.Q5_K), nil, "", twoWideTables("unsigned4", "upper5"), decodeQ5K},
	{blocksOf(ggml.Q6_K), nil, "", nil, decodeQ6K},
	{blocksOf(ggml.Q1_0), nil, "", decodeQ10Setup, decodeQ10},
	{blocksOf(ggml.Q2_0), nil, "", func(d *decoderWriter) { d.vector(tableLevels, "ternary") }, decodeQ20},
	{blocksOf(ggml.TQ1_0), []constant{{lowBits, 255}}, "", func(d *decoderWriter) { d.vector(tableLevels, "ternary") }, decodeTQ10},
	{blocksOf(ggml.TQ2_0), nil, "", func(d *decoderWriter) { d.vector(tableLevels, "ternary") }, decodeTQ20},
	{blocksOf(ggml.NVFP4), []constant{{nibbleMask, 0x0f0f0f0f}}, e2m1Levels, wideTable("levelsE2M1"), decodeNVFP4},
	{blocksOf(ggml.IQ1_S), nil, "", iq1.setup, decodeIQ1S},
	{blocksOf(ggml.IQ1_M), nil, "", iq1.setupFloats, decodeIQ1M},
	{blocksOf(ggml.IQ2_XXS), nil, "", iq2XXS.setup, decodeIQ2XXS},
	{blocksOf(ggml.IQ2_XS), nil, "", iq2XS.setup, decodeIQ2XS},
	{blocksOf(ggml.IQ2_S), nil, "", iq2S.setup, decodeIQ2S},
	{blocksOf(ggml.IQ3_XXS), nil, "", iq3XXS.setup, decodeIQ3XXS},
	{blocksOf(ggml.IQ3_S), nil, "", iq3S.setup, decodeIQ3S},
}

// tabledGroups stores groups g and g+1 of Q4_K, which share 32 bytes.
func (d *decoderWriter) tabledGroups(g int) {
	for i := range 2 {
		d.op("VMULPS.BCST %d(SP), Z%d, Z%d", 4*(g+i), tableLevels, tableScaled)
		d.op("VSUBPS.BCST %d(SP), Z%[2]d, Z%[2]d", 32+4*(g+i), tableScaled)
		d.roundTable()
		for part := range 2 {
			indices := bytesLow + part
			if i == 0 {
				d.indices(16+16*g+16*part, indices)
			} else {
				d.shiftIndices(4, indices, indices)
			}
			d.fromTable(indices, 0, 32*(g+i)+16*part)
		}
	}
}

func decodeBF16(d *decoderWriter) {
	if d.kind == toBF16 {
		d.op("VMOVDQU64 (SI), Z0")
		d.op("VMOVDQU64 Z0, (DI)")
		return
	}
	for at := 0; at < 32; at += d.lanes {
		d.op("VPMOVZXWD %d(SI), %s", 2*at, d.v(values))
		d.op("VPSLLD $16, %s, %s", d.v(values), d.v(values))
		d.store(values, at)
	}
}

func decodeQ6K(d *decoderWriter) {
	d.float16("208(SI)", scale)
	for g := 0; g < 16; g += d.lanes {
		d.op("VPMOVSXBD %d(SI), %s", 192+g, d.v(values))
		d.op("VCVTDQ2PS %s, %s", d.v(values), d.v(values))
		d.op("VMULPS %s, %s, %s", d.v(scale), d.v(values), d.v(values))
		d.op("VMOVUPS %s, %d(SP)", d.v(values), 4*g)
	}
	for half := range 2 {
		lows := []int{6, 8}
		for i, v := range lows {
			d.op("VMOVDQU %d(SI), Y%d", 64*half+32*i, v)
		}
		d.op("VMOVDQU %d(SI), Y%d", 128+32*half, bytesHigh)
		for quarter := range 4 {
			d.masked(lows[quarter%2], quarter/2*4, "lowNibbles", 0)
			d.masked(bytesHigh, 2*quarter-4, "bytes48", 1)
			d.unpacked(quarter, "bytes32")
		}
		for at := 0; at < 128; at += d.lanes {
			if at%16 == 0 {
				d.op("VBROADCASTSS %d(SP), %s", 4*(8*half+at/16), d.v(scale))
			}
			d.widened(0, at)
			d.scaled(values, 128*half+at)
		}
	}
}

// Levels of package quantize's tables, the first in the lowest byte.
var (
	iq4Bytes   = [16]int8{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}
	e2m1Bytes  = [16]int8{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}
	iq4Levels  = immediates(iq4Bytes)
	e2m1Levels = immediates(e2m1Bytes)
)

func immediates(table [16]int8) string {
	return fmt.Sprintf("$%#016x $%#016x", littleEndian(table[:8]), littleEndian(table[8:]))
}

// littleEndian is the word of eight bytes.
func littleEndian(bytes []int8) (v uint64) {
	for i, b := range bytes {
		v |= uint64(uint8(b)) << (8 * i)
	}
	return v
}

func decodeIQ4XS(d *decoderWriter) {
	// Eight scales of 6 bits: halves of 4 bytes, and bit pairs of a word.
	d.nibbleScales(4, 4)
	d.op("VPMOVZXBW X0, X0")
	d.op("VPBROADCASTW 2(SI), X1")
	d.op("VPMULLW pairsToTop<>(SB), X1, X1")
	d.op("VPSRLW $14, X1, X1")
	d.op("VPSLLW $4, X1, X1")
	d.op("VPOR X1, X0, X0")
	d.op("VPMOVZXWD X0, Y0")
	d.op("VPSUBD thirtytwos<>(SB), Y0, Y0")
	d.op("VCVTDQ2PS Y0, Y0")
	d.float16("0(SI)", low)
	d.op("VMULPS Y%d, Y0, Y0", low)
	d.op("VMOVUPS Y0, (SP)")
	for g := range 8 {
		d.op("VBROADCASTSS %d(SP), %s", 4*g, d.v(scale))
		d.leveled(8+16*g, 32*g)
	}
}

func decodeQ2K(d *decoderWriter) {
	d.float16("80(SI)", scale)
	d.float16("82(SI)", low)
	for g := 0; g < 16; g += d.lanes {
		d.nibbles(g)
		for i, factor := range []int{scale, low} {
			d.op("VCVTDQ2PS %[1]s, %[1]s", d.v(i))
			d.op("VMULPS %s, %s, %s", d.v(factor), d.v(i), d.v(i))
			d.op("VMOVUPS %s, %d(SP)", d.v(i), 64*i+4*g)
		}
	}
	for half := range 2 {
		for at := 0; at < 32; at += d.lanes {
			d.indices(16+32*half+at, bytesLow)
			for k := range 4 {
				g := 8*half + 2*k + at/16
				if d.wide() {
					d.op("VMULPS.BCST %d(SP), Z%d, Z%d", 4*g, tableLevels, tableScaled)
					d.op("VSUBPS.BCST %d(SP), Z%[2]d, Z%[2]d", 64+4*g, tableScaled)
					d.roundTable()
					d.fromPairs(bytesLow, k, 128*half+32*k+at)
					continue
				}
				d.bitPair(k, pairMask)
				d.op("VBROADCASTSS %d(SP), %s", 4*g, d.v(scale))
				d.op("VBROADCASTSS %d(SP), %s", 64+4*g, d.v(low))
				d.affine(values, 128*half+32*k+at, "VSUBPS")
			}
		}
	}
}

func decodeQ3K(d *decoderWriter) {
	// Sixteen scales of 6 bits: low halves of 8 bytes, and 16 bit pairs.
	d.op("MOVQ $0x0f0f0f0f0f0f0f0f, R11")
	d.op("MOVQ $0x3030303030303030, R12")
	d.op("MOVL 104(SI), R10 // bit pair g/4 of byte g%%4")
	d.op("MOVL R10, AX")
	d.op("SHRL $2, AX")
	d.op("SHLQ $32, AX")
	d.op("ORQ AX, R10 // pairs 0 and 1 of each byte are in place for g < 8")
	for half := range 2 {
		d.op("MOVQ 96(SI), R8")
		d.op("MOVQ R10, R9")
		if half == 0 {
			d.op("SHLQ $4, R9")
		} else {
			d.op("SHRQ $4, R8")
		}
		d.op("ANDQ R11, R8")
		d.op("ANDQ R12, R9")
		d.op("ORQ R9, R8")
		d.op("MOVQ R8, %d(SP)", 64+8*half)
	}
	d.float16("108(SI)", scale)
	for g := 0; g < 16; g += d.lanes {
		d.op("VPMOVZXBD %d(SP), %s", 64+g, d.v(values))
		d.op("VPSUBD %s, %s, %s", d.v(offset32), d.v(values), d.v(values))
		d.op("VCVTDQ2PS %[1]s, %[1]s", d.v(values))
		d.op("VMULPS %s, %s, %s", d.v(scale), d.v(values), d.v(values))
		d.op("VMOVUPS %s, %d(SP)", d.v(values), 4*g)
	}
	d.op("VMOVDQU (SI), Y%d", bytesHigh)
	for half := range 2 {
		d.op("VMOVDQU %d(SI), Y%d", 32+32*half, bytesLow)
		for k := range 4 {
			d.masked(bytesLow, 2*k, "bytes3", 0)
			d.masked(bytesHigh, 4*half+k-2, "bytes4", 1)
			d.unpacked(k, "bytes4")
		}
		for at := 0; at < 128; at += d.lanes {
			if at%16 == 0 {
				d.op("VBROADCASTSS %d(SP), %s", 4*(8*half+at/16), d.v(scale))
			}
			d.widened(0, at)
			d.scaled(values, 128*half+at)
		}
	}
}

func decodeQ5K(d *decoderWriter) {
	d.scalesAndMins()
	d.op("VMOVDQU 16(SI), Y%d", bytesHigh)
	for g := 0; g < 8; g += 2 {
		if d.wide() {
			d.twoTabledGroups(g)
			continue
		}
		d.op("VMOVDQU %d(SI), Y%d", 48+16*g, bytesLow)
		for i := range 2 {
			d.masked(bytesLow, 4*i, "lowNibbles", 0)
			d.masked(bytesHigh, g+i-4, "bytes16", 1)
			d.unpacked(i, "")
			d.group(g + i)
			for at := 0; at < 32; at += 8 {
				d.widened(i, at)
				d.affine(values, 32*(g+i)+at, "VSUBPS")
			}
		}
	}
}

// twoTabledGroups is tabledGroups of Q5_K, whose fifth bits are bits g of 32 bytes.
func (d *decoderWriter) twoTabledGroups(g int) {
	for i := range 2 {
		d.group(g + i)
		d.scaleTwoTables()
		d.moveTwoTables("VSUBPS")
		d.roundTwoTables()
		for part := range 2 {
			indices := [2]int{bytesLow, 8}[part]
			if i == 0 {
				d.indices(48+16*g+16*part, indices)
			} else {
				d.shiftIndices(4, indices, indices)
			}
			if part == 0 {
				d.op("VPTESTMB bytes%d<>(SB), Y%d, K1", 1<<(g+i), bytesHigh)
			} else {
				d.op("KSHIFTRD $16, K1, K1")
			}
			d.fromTwoTables(indices, 0, 32*(g+i)+16*part)
		}
	}
}
