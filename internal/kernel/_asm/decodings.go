package main

import (
	"fmt"

	"qtool/internal/ggml"
)

// Every type's layout is drawn in package quantize.
var decodings = []decoding{
	{blocksOf(ggml.F16), nil, "", nil, func(d *decoderWriter) {
		for first := 0; first < 32; first += d.lanes {
			d.ins("VCVTPH2PS", at(encodedAt, 2*first), d.v(values))
			d.store(values, first)
		}
	}},
	{blocksOf(ggml.BF16), nil, "", nil, decodeBF16},
	{blocksOf(ggml.Q4_0), []constant{{lowBits, 15}, {offset8, 8}}, "", wideTable("signed4"), func(d *decoderWriter) {
		if d.wide() {
			d.scaleTable(at(encodedAt, 0))
			d.roundTable()
			d.tabledNibbles(2, 0, 16)
			return
		}
		d.blockScale()
		for first := 0; first < 16; first += d.lanes {
			d.nibbles(2 + first)
			d.ins("VPSUBD", d.v(offset8), d.v(values), d.v(values))
			d.ins("VPSUBD", d.v(offset8), d.v(values2), d.v(values2))
			d.scaled(values, first)
			d.scaled(values2, first+16)
		}
	}},
	{blocksOf(ggml.Q4_1), []constant{{lowBits, 15}}, "", wideTable("unsigned4"), func(d *decoderWriter) {
		d.float16(at(encodedAt, 2), low)
		if d.wide() {
			d.scaleTable(at(encodedAt, 0))
			d.ins("VADDPS", zmm(low), zmm(tableScaled), zmm(tableScaled))
			d.roundTable()
			d.tabledNibbles(4, 0, 16)
			return
		}
		d.float16(at(encodedAt, 0), scale)
		for first := 0; first < 16; first += d.lanes {
			d.nibbles(4 + first)
			d.affine(values, first, "VADDPS")
			d.affine(values2, first+16, "VADDPS")
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
		for first := 0; first < 32; first += 8 {
			d.widened(0, first)
			d.scaled(values, first)
		}
	}},
	{blocksOf(ggml.Q5_1), nil, "", twoWideTables("unsigned4", "upper5"), func(d *decoderWriter) {
		d.float16(at(encodedAt, 0), scale)
		d.float16(at(encodedAt, 2), low)
		if d.wide() {
			d.scaleTwoTables()
			d.moveTwoTables("VADDPS")
			d.roundTwoTables()
			d.tabledFifthBits(4)
			return
		}
		d.unpackFifthBits(4, "")
		for first := 0; first < 32; first += 8 {
			d.widened(0, first)
			d.affine(values, first, "VADDPS")
		}
	}},
	{blocksOf(ggml.Q8_0), nil, "", nil, func(d *decoderWriter) {
		d.blockScale()
		for first := 0; first < 32; first += d.lanes {
			d.ins("VPMOVSXBD", at(encodedAt, 2+first), d.v(values))
			d.scaled(values, first)
		}
	}},
	{blocksOf(ggml.IQ4_NL), []constant{{nibbleMask, 0x0f0f0f0f}}, iq4Levels, wideTable("levelsIQ4"), func(d *decoderWriter) {
		d.blockScale()
		d.leveled(2, 0)
	}},
	{blocksOf(ggml.IQ4_XS), []constant{{nibbleMask, 0x0f0f0f0f}}, iq4Levels, wideTable("levelsIQ4"), decodeIQ4XS},
	{blocksOf(ggml.MXFP4), []constant{{nibbleMask, 0x0f0f0f0f}}, e2m1Levels, wideTable("levelsE2M1"), func(d *decoderWriter) {
		const exponent, power, subnormal = scratch, "R8", "R9"
		d.ins("MOVBLZX", in(encodedAt), exponent)
		d.ins("LEAL", at(exponent, -1), power)
		d.ins("SHLL", "$23", power+" // 2^(e-128)")
		d.ins("MOVL", "$0x00200000", subnormal)
		d.ins("SHLXL", exponent, subnormal, subnormal+" // and where that is subnormal")
		d.ins("CMPL", exponent, "$2")
		d.ins("CMOVLLT", subnormal, power)
		d.ins("VMOVD", power, xmm(scale))
		d.ins("VBROADCASTSS", xmm(scale), d.v(scale))
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
			for first := 0; first < 32; first += d.lanes {
				d.nibbles(16 + 16*g + first)
				d.affine(values, 32*g+first, "VSUBPS")
				d.affineBy(values2, 32*g+32+first, "VSUBPS", nextScale, nextLow)
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
		d.ins("VMULPS.BCST", at(stack, 4*(g+i)), zmm(tableLevels), zmm(tableScaled))
		d.ins("VSUBPS.BCST", at(stack, 32+4*(g+i)), zmm(tableScaled), zmm(tableScaled))
		d.roundTable()
		for half := range 2 {
			indices := bytesLow + half
			if i == 0 {
				d.indices(16+16*g+16*half, indices)
			} else {
				d.shiftIndices(4, indices, indices)
			}
			d.fromTable(indices, values, 32*(g+i)+16*half)
		}
	}
}

func decodeBF16(d *decoderWriter) {
	if d.kind == toBF16 {
		d.ins("VMOVDQU64", in(encodedAt), zmm(values))
		d.ins("VMOVDQU64", zmm(values), in(sinkAt))
		return
	}
	for first := 0; first < 32; first += d.lanes {
		d.ins("VPMOVZXWD", at(encodedAt, 2*first), d.v(values))
		d.ins("VPSLLD", "$16", d.v(values), d.v(values))
		d.store(values, first)
	}
}

func decodeQ6K(d *decoderWriter) {
	d.float16(at(encodedAt, 208), scale)
	for g := 0; g < 16; g += d.lanes {
		d.ins("VPMOVSXBD", at(encodedAt, 192+g), d.v(values))
		d.ins("VCVTDQ2PS", d.v(values), d.v(values))
		d.ins("VMULPS", d.v(scale), d.v(values), d.v(values))
		d.ins("VMOVUPS", d.v(values), at(stack, 4*g))
	}
	for half := range 2 {
		lows := []int{bytesLow, bytesLow2}
		for i, v := range lows {
			d.ins("VMOVDQU", at(encodedAt, 64*half+32*i), ymm(v))
		}
		d.ins("VMOVDQU", at(encodedAt, 128+32*half), ymm(bytesHigh))
		for quarter := range 4 {
			d.masked(lows[quarter%2], quarter/2*4, "lowNibbles", values)
			d.masked(bytesHigh, 2*quarter-4, "bytes48", values2)
			d.unpacked(quarter, "bytes32")
		}
		for first := 0; first < 128; first += d.lanes {
			if first%16 == 0 {
				d.ins("VBROADCASTSS", at(stack, 4*(8*half+first/16)), d.v(scale))
			}
			d.widened(0, first)
			d.scaled(values, 128*half+first)
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
	const scales, highBits, factor = unpackedScales, 1, low
	// Eight scales of 6 bits: nibbles of 4 bytes, and bit pairs of a word.
	d.nibbleScales(4, 4)
	d.ins("VPMOVZXBW", xmm(scales), xmm(scales))
	d.ins("VPBROADCASTW", at(encodedAt, 2), xmm(highBits))
	d.ins("VPMULLW", static("pairsToTop"), xmm(highBits), xmm(highBits))
	d.ins("VPSRLW", "$14", xmm(highBits), xmm(highBits))
	d.ins("VPSLLW", "$4", xmm(highBits), xmm(highBits))
	d.ins("VPOR", xmm(highBits), xmm(scales), xmm(scales))
	d.ins("VPMOVZXWD", xmm(scales), ymm(scales))
	d.ins("VPSUBD", static("thirtytwos"), ymm(scales), ymm(scales))
	d.ins("VCVTDQ2PS", ymm(scales), ymm(scales))
	d.float16(at(encodedAt, 0), factor)
	d.ins("VMULPS", ymm(factor), ymm(scales), ymm(scales))
	d.ins("VMOVUPS", ymm(scales), in(stack))
	for g := range 8 {
		d.ins("VBROADCASTSS", at(stack, 4*g), d.v(scale))
		d.leveled(8+16*g, 32*g)
	}
}

func decodeQ2K(d *decoderWriter) {
	d.float16(at(encodedAt, 80), scale)
	d.float16(at(encodedAt, 82), low)
	for g := 0; g < 16; g += d.lanes {
		d.nibbles(g)
		for i, factor := range []int{scale, low} {
			numbers := d.v(values + i)
			d.ins("VCVTDQ2PS", numbers, numbers)
			d.ins("VMULPS", d.v(factor), numbers, numbers)
			d.ins("VMOVUPS", numbers, at(stack, 64*i+4*g))
		}
	}
	for half := range 2 {
		for first := 0; first < 32; first += d.lanes {
			d.indices(16+32*half+first, bytesLow)
			for k := range 4 {
				g := 8*half + 2*k + first/16
				if d.wide() {
					d.ins("VMULPS.BCST", at(stack, 4*g), zmm(tableLevels), zmm(tableScaled))
					d.ins("VSUBPS.BCST", at(stack, 64+4*g), zmm(tableScaled), zmm(tableScaled))
					d.roundTable()
					d.fromPairs(bytesLow, k, 128*half+32*k+first)
					continue
				}
				d.bitPair(k, pairMask)
				d.ins("VBROADCASTSS", at(stack, 4*g), d.v(scale))
				d.ins("VBROADCASTSS", at(stack, 64+4*g), d.v(low))
				d.affine(values, 128*half+32*k+first, "VSUBPS")
			}
		}
	}
}

func decodeQ3K(d *decoderWriter) {
	const (
		scales, highBits  = "R8", "R9" // of 8 groups
		pairs             = "R10"
		lowMask, highMask = "R11", "R12"
	)
	// Sixteen scales of 6 bits: nibbles of 8 bytes, and 16 bit pairs.
	d.ins("MOVQ", "$0x0f0f0f0f0f0f0f0f", lowMask)
	d.ins("MOVQ", "$0x3030303030303030", highMask)
	d.ins("MOVL", at(encodedAt, 104), pairs+" // bit pair g/4 of byte g%4")
	d.ins("MOVL", pairs, scratch)
	d.ins("SHRL", "$2", scratch)
	d.ins("SHLQ", "$32", scratch)
	d.ins("ORQ", scratch, pairs+" // pairs 0 and 1 of each byte are in place for g < 8")
	for half := range 2 {
		d.ins("MOVQ", at(encodedAt, 96), scales)
		d.ins("MOVQ", pairs, highBits)
		if half == 0 {
			d.ins("SHLQ", "$4", highBits)
		} else {
			d.ins("SHRQ", "$4", scales)
		}
		d.ins("ANDQ", lowMask, scales)
		d.ins("ANDQ", highMask, highBits)
		d.ins("ORQ", highBits, scales)
		d.ins("MOVQ", scales, at(stack, 64+8*half))
	}
	d.float16(at(encodedAt, 108), scale)
	for g := 0; g < 16; g += d.lanes {
		d.ins("VPMOVZXBD", at(stack, 64+g), d.v(values))
		d.ins("VPSUBD", d.v(offset32), d.v(values), d.v(values))
		d.ins("VCVTDQ2PS", d.v(values), d.v(values))
		d.ins("VMULPS", d.v(scale), d.v(values), d.v(values))
		d.ins("VMOVUPS", d.v(values), at(stack, 4*g))
	}
	d.ins("VMOVDQU", in(encodedAt), ymm(bytesHigh))
	for half := range 2 {
		d.ins("VMOVDQU", at(encodedAt, 32+32*half), ymm(bytesLow))
		for k := range 4 {
			d.masked(bytesLow, 2*k, "bytes3", values)
			d.masked(bytesHigh, 4*half+k-2, "bytes4", values2)
			d.unpacked(k, "bytes4")
		}
		for first := 0; first < 128; first += d.lanes {
			if first%16 == 0 {
				d.ins("VBROADCASTSS", at(stack, 4*(8*half+first/16)), d.v(scale))
			}
			d.widened(0, first)
			d.scaled(values, 128*half+first)
		}
	}
}

func decodeQ5K(d *decoderWriter) {
	d.scalesAndMins()
	d.ins("VMOVDQU", at(encodedAt, 16), ymm(bytesHigh))
	for g := 0; g < 8; g += 2 {
		if d.wide() {
			d.twoTabledGroups(g)
			continue
		}
		d.ins("VMOVDQU", at(encodedAt, 48+16*g), ymm(bytesLow))
		for i := range 2 {
			d.masked(bytesLow, 4*i, "lowNibbles", values)
			d.masked(bytesHigh, g+i-4, "bytes16", values2)
			d.unpacked(i, "")
			d.group(g + i)
			for first := 0; first < 32; first += 8 {
				d.widened(i, first)
				d.affine(values, 32*(g+i)+first, "VSUBPS")
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
		for half := range 2 {
			indices := [2]int{bytesLow, bytesLow2}[half]
			if i == 0 {
				d.indices(48+16*g+16*half, indices)
			} else {
				d.shiftIndices(4, indices, indices)
			}
			if half == 0 {
				d.ins("VPTESTMB", static(fmt.Sprint("bytes", 1<<(g+i))), ymm(bytesHigh), maskUpper)
			} else {
				d.ins("KSHIFTRD", "$16", maskUpper, maskUpper)
			}
			d.fromTwoTables(indices, values, 32*(g+i)+16*half)
		}
	}
}
