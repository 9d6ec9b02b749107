package main

// The formats whose few levels fit in a table for VPERMPS: of eight levels, with
// AVX-512 of sixteen. To bfloat16, the table is rounded and looked up by VPERMW in
// vectors of sixteen words.

// scaleTable puts the levels times a float16 into tableScaled.
func (d *decoderWriter) scaleTable(address string) {
	if d.scaledLast {
		return
	}
	d.float16(address, tableScaled)
	d.scaleTableBy(tableScaled)
}

// scaleTableBy puts the levels times a register into tableScaled.
func (d *decoderWriter) scaleTableBy(register int) {
	if !d.scaledLast {
		d.ins("VMULPS", d.v(tableLevels), d.v(register), d.v(tableScaled))
	}
}

// table is the register of what is looked up.
func (d *decoderWriter) table() int {
	if d.scaledLast {
		return tableLevels
	}
	return tableScaled
}

// words reports whether levels are looked up as bfloat16.
func (d *decoderWriter) words() bool { return d.kind == toBF16 }

// roundTable makes tableScaled what fromTable looks up.
func (d *decoderWriter) roundTable() {
	if d.words() {
		roundToBF16(d.writer, tableScaled, tableScaled)
	}
}

// indices loads bytes as indices, one to a lane.
func (d *decoderWriter) indices(place, to int) {
	if d.words() {
		d.ins("VPMOVZXBW", at(encodedAt, place), ymm(to))
		return
	}
	d.ins("VPMOVZXBD", at(encodedAt, place), d.v(to))
}

func (d *decoderWriter) shiftIndices(by, from, to int) {
	if d.words() {
		d.ins("VPSRLW", number(by), ymm(from), ymm(to))
		return
	}
	d.ins("VPSRLD", number(by), d.v(from), d.v(to))
}

// fromTable stores the levels of indices. Bits above those of an index, for which
// the table repeats its levels, need not be clear.
func (d *decoderWriter) fromTable(index, to, first int) {
	if d.words() {
		d.ins("VPERMW", ymm(tableScaled), ymm(index), ymm(to))
		d.ins("VMOVDQU", ymm(to), at(sinkAt, 2*first))
		return
	}
	d.lookUp(index, to)
	d.store(to, first)
}

// lookUp replaces indices by float32 levels.
func (d *decoderWriter) lookUp(from, to int) {
	d.ins("VPERMPS", d.v(d.table()), d.v(from), d.v(to))
}

// tabledNibbles stores the levels of the nibbles of sixteen bytes, the high ones at
// high.
func (d *decoderWriter) tabledNibbles(from, low, high int) {
	d.indices(from, bytesLow)
	d.fromTable(bytesLow, values, low)
	d.shiftIndices(4, bytesLow, bytesLow)
	d.fromTable(bytesLow, values2, high)
}

// Formats of 5 bits have two tables with AVX-512: the upper one is for
// elements whose high bit is set, which a mask tells.
const (
	upperLevels, upperScaled = 20, 21
	maskUpper                = "K1"
)

func twoWideTables(lower, upper string) func(d *decoderWriter) {
	return func(d *decoderWriter) {
		if d.wide() {
			d.vector(tableLevels, lower)
			d.vector(upperLevels, upper)
		}
	}
}

// scaleTwoTables multiplies both by register scale.
func (d *decoderWriter) scaleTwoTables() {
	if d.scaledLast {
		return
	}
	d.ins("VMULPS", zmm(upperLevels), zmm(scale), zmm(upperScaled))
	d.ins("VMULPS", zmm(tableLevels), zmm(scale), zmm(tableScaled))
}

// moveTwoTables adds register low to both or subtracts it.
func (d *decoderWriter) moveTwoTables(op string) {
	for _, table := range []int{tableScaled, upperScaled} {
		d.ins(op, zmm(low), zmm(table), zmm(table))
	}
}

func (d *decoderWriter) roundTwoTables() {
	d.roundTable()
	if d.words() {
		roundToBF16(d.writer, upperScaled, upperScaled)
	}
}

// fromTwoTables is fromTable with the upper one where the mask says so.
func (d *decoderWriter) fromTwoTables(index, to, first int) {
	if d.words() {
		d.ins("VPERMW", ymm(tableScaled), ymm(index), ymm(to))
		d.ins("VPERMW", ymm(upperScaled), ymm(index), maskUpper, ymm(to))
		d.ins("VMOVDQU", ymm(to), at(sinkAt, 2*first))
		return
	}
	upper := upperScaled
	if d.scaledLast {
		upper = upperLevels
	}
	d.lookUp(index, to)
	d.ins("VPERMPS", zmm(upper), zmm(index), maskUpper, zmm(to))
	d.store(to, first)
}

// tabledFifthBits stores 32 elements that begin with 32 high bits.
func (d *decoderWriter) tabledFifthBits(place int) {
	d.indices(place+4, bytesLow)
	for i, to := range []int{values, values2} {
		if i == 1 {
			d.shiftIndices(4, bytesLow, bytesLow)
		}
		d.ins("KMOVW", at(encodedAt, place+2*i), maskUpper)
		d.fromTwoTables(bytesLow, to, 16*i)
	}
}

// fromPairs stores the levels of bit pairs k of bytes that are indices in a register.
func (d *decoderWriter) fromPairs(from, k, first int) {
	if k == 0 {
		d.fromTable(from, values2, first)
		return
	}
	d.shiftIndices(2*k, from, values2)
	d.fromTable(values2, values2, first)
}

// wideTable loads levels where a vector holds sixteen.
func wideTable(levels string) func(d *decoderWriter) {
	return func(d *decoderWriter) {
		if d.wide() {
			d.vector(tableLevels, levels)
		}
	}
}

func decodeQ10Setup(d *decoderWriter) {
	d.vector(signShifts, "signShifts")
	d.vector(signBit, "signBit")
}

func decodeQ10(d *decoderWriter) {
	const negative, maskPositive = 5, "K1"
	d.float16(at(encodedAt, 0), scale)
	d.ins(d.bitwise("VPXOR"), d.v(signBit), d.v(scale), d.v(negative))
	for first := 0; first < 128; first += d.lanes {
		if d.wide() {
			d.ins("KMOVW", at(encodedAt, 2+first/8), maskPositive)
			d.ins("VBLENDMPS", zmm(scale), zmm(negative), maskPositive, zmm(values))
		} else {
			d.ins("VPBROADCASTB", at(encodedAt, 2+first/8), ymm(values))
			d.ins("VPSLLVD", ymm(signShifts), ymm(values), ymm(values))
			d.ins("VBLENDVPS", ymm(values), ymm(scale), ymm(negative), ymm(values))
		}
		d.store(values, first)
	}
}

func decodeQ20(d *decoderWriter) {
	const indices = values
	d.scaleTable(at(encodedAt, 0))
	d.roundTable()
	for first := 0; first < 64; first += d.lanes {
		switch {
		case d.words():
			d.ins("VPBROADCASTD", at(encodedAt, 2+first/4), ymm(indices))
			d.ins("VPSHUFB", static("eightCopies"), ymm(indices), ymm(indices))
			d.ins("VPSRLVW", static("wordShifts8"), ymm(indices), ymm(indices))
		case d.wide():
			d.ins("VPBROADCASTD", at(encodedAt, 2+first/4), zmm(indices))
			d.ins("VPSRLVD", static("pairShifts"), zmm(indices), zmm(indices))
		default:
			d.ins("VPBROADCASTW", at(encodedAt, 2+first/4), ymm(indices))
			d.ins("VPSRLVD", static("pairShifts"), ymm(indices), ymm(indices))
		}
		d.fromTable(indices, values, first)
	}
}

func decodeTQ20(d *decoderWriter) {
	const pairs = values
	d.scaleTable(at(encodedAt, 64))
	d.roundTable()
	for half := range 2 {
		for first := 0; first < 32; first += d.lanes {
			d.indices(32*half+first, pairs)
			for k := range 4 {
				d.fromPairs(pairs, k, 128*half+32*k+first)
			}
		}
	}
}

// Registers of TQ1_0: fractions whose top digits are levels, and a digit of each.
const trits, trit = values, values2

// nextTrit puts the top digit of the fractions times 3 into trit, as an index.
func (d *decoderWriter) nextTrit(last bool) {
	add := "VPADD" + d.indexSize()
	d.ins(add, d.indexRegister(trits), d.indexRegister(trits), d.indexRegister(trit))
	d.ins(add, d.indexRegister(trits), d.indexRegister(trit), d.indexRegister(trit))
	if !last {
		d.lowByte(trit, trits)
	}
	d.shiftIndices(8, trit, trit)
}

// indexRegister names register i as one of indices, indexSize how large they are.
func (d *decoderWriter) indexRegister(i int) string {
	if d.words() {
		return ymm(i)
	}
	return d.v(i)
}

func (d *decoderWriter) indexSize() string {
	if d.words() {
		return "W"
	}
	return "D"
}

// lowByte leaves the lowest byte of indices.
func (d *decoderWriter) lowByte(from, to int) {
	if d.words() {
		d.ins("VPAND", static("lowBytes"), ymm(from), ymm(to))
		return
	}
	d.ins(d.bitwise("VPAND"), d.v(lowBits), d.v(from), d.v(to))
}

func decodeTQ10(d *decoderWriter) {
	d.scaleTable(at(encodedAt, 52))
	d.roundTable()
	for _, run := range []struct{ place, first, n int }{{0, 0, 32}, {32, 160, 16}} {
		for first := 0; first < run.n; first += d.lanes {
			d.indices(run.place+first, trits)
			for digit := range 5 {
				d.nextTrit(digit == 4)
				d.fromTable(trit, trit, run.first+digit*run.n+first)
			}
		}
	}
	// Four bytes with four digits: those of all bytes side by side.
	for first := 0; first < 16; first += d.lanes {
		d.ins("VPBROADCASTD", at(encodedAt, 48), xmm(trits))
		if d.words() {
			d.ins("VPMOVZXBW", xmm(trits), ymm(trits))
			d.ins("VPMULLW", static("wordPowersOf3"), ymm(trits), ymm(trits))
		} else {
			d.ins("VPMOVZXBD", xmm(trits), d.v(trits))
			d.ins("VPMULLD", static([2]string{"powersOf3", "upperPowersOf3"}[first/8]), d.v(trits), d.v(trits))
		}
		d.lowByte(trits, trits)
		d.nextTrit(true)
		d.fromTable(trit, trit, 240+first)
	}
}

func decodeNVFP4(d *decoderWriter) {
	const scales, notANumber = 0, 1
	// A float8 of 4 bits of exponent is a binary16 but for its bias: 2^8 too small,
	// and half of it is wanted. 0x7f stands for 0.
	d.ins("VMOVD", in(encodedAt), xmm(scales))
	d.ins("VPCMPEQB", static("notANumber"), xmm(scales), xmm(notANumber))
	d.ins("VPANDN", xmm(scales), xmm(notANumber), xmm(scales))
	d.ins("VPMOVZXBW", xmm(scales), xmm(scales))
	d.ins("VPSLLW", "$9", xmm(scales), xmm(scales)+" // without the sign")
	d.ins("VPSRLW", "$2", xmm(scales), xmm(scales))
	d.ins("VCVTPH2PS", xmm(scales), xmm(scales))
	d.ins("VMULPS", static("times128"), xmm(scales), xmm(scales))
	d.ins("VMOVUPS", xmm(scales), in(stack))
	for g := range 4 {
		if d.wide() {
			d.ins("VMULPS.BCST", at(stack, 4*g), zmm(tableLevels), zmm(tableScaled))
			d.roundTable()
			d.eightNibbles(4+8*g, 16*g)
			continue
		}
		const levels, highNibbles = 0, 1
		d.ins("VMOVQ", at(encodedAt, 4+8*g), xmm(levels))
		d.ins("VPSRLW", "$4", xmm(levels), xmm(highNibbles))
		d.ins("VPUNPCKLQDQ", xmm(highNibbles), xmm(levels), xmm(levels))
		d.ins("VPAND", xmm(nibbleMask), xmm(levels), xmm(levels))
		d.ins("VPSHUFB", xmm(levels), xmm(lowBits), xmm(levels))
		d.ins("VBROADCASTSS", at(stack, 4*g), ymm(scale))
		for i := range 2 {
			d.ins("VPMOVSXBD", xmm(levels), ymm(values2))
			d.scaled(values2, 16*g+8*i)
			if i == 0 {
				d.ins("VPSRLDQ", "$8", xmm(levels), xmm(levels))
			}
		}
	}
}

// eightNibbles stores the levels of the nibbles of eight bytes, the low ones first.
func (d *decoderWriter) eightNibbles(from, first int) {
	const indices = values
	d.ins("VMOVDDUP", at(encodedAt, from), xmm(indices))
	if d.words() {
		d.ins("VPMOVZXBW", xmm(indices), ymm(indices))
		d.ins("VPSRLVW", static("nibbleShiftWords"), ymm(indices), ymm(indices))
	} else {
		d.ins("VPMOVZXBD", xmm(indices), zmm(indices))
		d.ins("VPSRLVD", static("nibbleShifts"), zmm(indices), zmm(indices))
	}
	d.fromTable(indices, values, first)
}
