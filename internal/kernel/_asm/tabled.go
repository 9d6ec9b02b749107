package main

import "fmt"

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
		d.op("VMULPS %s, %s, %s", d.v(tableLevels), d.v(register), d.v(tableScaled))
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
func (d *decoderWriter) indices(at, to int) {
	if d.words() {
		d.op("VPMOVZXBW %d(SI), Y%d", at, to)
		return
	}
	d.op("VPMOVZXBD %d(SI), %s", at, d.v(to))
}

func (d *decoderWriter) shiftIndices(by, from, to int) {
	if d.words() {
		d.op("VPSRLW $%d, Y%d, Y%d", by, from, to)
		return
	}
	d.op("VPSRLD $%d, %s, %s", by, d.v(from), d.v(to))
}

// fromTable stores the levels of indices. Bits above those of an index, for which
// the table repeats its levels, need not be clear.
func (d *decoderWriter) fromTable(index, to, at int) {
	if d.words() {
		d.op("VPERMW Y%d, Y%d, Y%d", tableScaled, index, to)
		d.op("VMOVDQU Y%d, %d(DI)", to, 2*at)
		return
	}
	d.lookUp(index, to)
	d.store(to, at)
}

// lookUp replaces indices by float32 levels.
func (d *decoderWriter) lookUp(from, to int) {
	d.op("VPERMPS %s, %s, %s", d.v(d.table()), d.v(from), d.v(to))
}

// tabledNibbles stores the levels of the nibbles of sixteen bytes, the high ones at
// high.
func (d *decoderWriter) tabledNibbles(from, low, high int) {
	d.indices(from, bytesLow)
	d.fromTable(bytesLow, 0, low)
	d.shiftIndices(4, bytesLow, bytesLow)
	d.fromTable(bytesLow, 1, high)
}

// Formats of 5 bits have two tables with AVX-512: the upper one is for
// elements whose high bit is set, which K1 tells.
const (
	upperLevels, upperScaled = 20, 21
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
	d.op("VMULPS Z%d, Z%d, Z%d", upperLevels, scale, upperScaled)
	d.op("VMULPS Z%d, Z%d, Z%d", tableLevels, scale, tableScaled)
}

// moveTwoTables adds register low to both or subtracts it.
func (d *decoderWriter) moveTwoTables(op string) {
	for _, table := range []int{tableScaled, upperScaled} {
		d.op("%s Z%d, Z%[3]d, Z%[3]d", op, low, table)
	}
}

func (d *decoderWriter) roundTwoTables() {
	d.roundTable()
	if d.words() {
		roundToBF16(d.writer, upperScaled, upperScaled)
	}
}

// fromTwoTables is fromTable with the upper one where K1 says so.
func (d *decoderWriter) fromTwoTables(index, to, at int) {
	if d.words() {
		d.op("VPERMW Y%d, Y%d, Y%d", tableScaled, index, to)
		d.op("VPERMW Y%d, Y%d, K1, Y%d", upperScaled, index, to)
		d.op("VMOVDQU Y%d, %d(DI)", to, 2*at)
		return
	}
	upper := upperScaled
	if d.scaledLast {
		upper = upperLevels
	}
	d.lookUp(index, to)
	d.op("VPERMPS Z%d, Z%d, K1, Z%d", upper, index, to)
	d.store(to, at)
}

// tabledFifthBits stores 32 elements that begin with 32 high bits.
func (d *decoderWriter) tabledFifthBits(at int) {
	d.indices(at+4, bytesLow)
	for i := range 2 {
		if i == 1 {
			d.shiftIndices(4, bytesLow, bytesLow)
		}
		d.op("KMOVW %d(SI), K1", at+2*i)
		d.fromTwoTables(bytesLow, i, 16*i)
	}
}

// fromPairs stores the levels of bit pairs k of bytes that are indices in a register.
func (d *decoderWriter) fromPairs(from, k, at int) {
	if k == 0 {
		d.fromTable(from, 1, at)
		return
	}
	d.shiftIndices(2*k, from, 1)
	d.fromTable(1, 1, at)
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
	const negative = 5
	d.float16("0(SI)", scale)
	d.op("%s %s, %s, %s", d.bitwise("VPXOR"), d.v(signBit), d.v(scale), d.v(negative))
	for at := 0; at < 128; at += d.lanes {
		if d.wide() {
			d.op("KMOVW %d(SI), K1", 2+at/8)
			d.op("VBLENDMPS Z%d, Z%d, K1, Z0", scale, negative)
		} else {
			d.op("VPBROADCASTB %d(SI), Y0", 2+at/8)
			d.op("VPSLLVD Y%d, Y0, Y0", signShifts)
			d.op("VBLENDVPS Y0, Y%d, Y%d, Y0", scale, negative)
		}
		d.store(values, at)
	}
}

func decodeQ20(d *decoderWriter) {
	d.scaleTable("0(SI)")
	d.roundTable()
	for at := 0; at < 64; at += d.lanes {
		switch {
		case d.words():
			d.op("VPBROADCASTD %d(SI), Y0", 2+at/4)
			d.op("VPSHUFB eightCopies<>(SB), Y0, Y0")
			d.op("VPSRLVW wordShifts8<>(SB), Y0, Y0")
		case d.wide():
			d.op("VPBROADCASTD %d(SI), Z0", 2+at/4)
			d.op("VPSRLVD pairShifts<>(SB), Z0, Z0")
		default:
			d.op("VPBROADCASTW %d(SI), Y0", 2+at/4)
			d.op("VPSRLVD pairShifts<>(SB), Y0, Y0")
		}
		d.fromTable(0, 0, at)
	}
}

func decodeTQ20(d *decoderWriter) {
	d.scaleTable("64(SI)")
	d.roundTable()
	for half := range 2 {
		for at := 0; at < 32; at += d.lanes {
			d.indices(32*half+at, 0)
			for k := range 4 {
				d.fromPairs(0, k, 128*half+32*k+at)
			}
		}
	}
}

// nextTrit puts the top digit of the fractions in 0 times 3 into 1, as an index.
func (d *decoderWriter) nextTrit(last bool) {
	d.op("VPADD%s, %s, %s", d.index(0), d.indexRegister(0), d.indexRegister(1))
	d.op("VPADD%s, %s, %s", d.index(0), d.indexRegister(1), d.indexRegister(1))
	if !last {
		d.lowByte(1, 0)
	}
	d.shiftIndices(8, 1, 1)
}

// indexRegister names register i as one of indices, index also their size.
func (d *decoderWriter) indexRegister(i int) string {
	if d.words() {
		return fmt.Sprint("Y", i)
	}
	return d.v(i)
}

func (d *decoderWriter) index(i int) string {
	if d.words() {
		return "W " + d.indexRegister(i)
	}
	return "D " + d.indexRegister(i)
}

// lowByte leaves the lowest byte of indices.
func (d *decoderWriter) lowByte(from, to int) {
	if d.words() {
		d.op("VPAND lowBytes<>(SB), Y%d, Y%d", from, to)
		return
	}
	d.op("%s %s, %s, %s", d.bitwise("VPAND"), d.v(lowBits), d.v(from), d.v(to))
}

func decodeTQ10(d *decoderWriter) {
	d.scaleTable("52(SI)")
	d.roundTable()
	for _, part := range []struct{ bytes, at, n int }{{0, 0, 32}, {32, 160, 16}} {
		for at := 0; at < part.n; at += d.lanes {
			d.indices(part.bytes+at, 0)
			for digit := range 5 {
				d.nextTrit(digit == 4)
				d.fromTable(1, 1, part.at+digit*part.n+at)
			}
		}
	}
	// Four bytes with four digits: those of all bytes side by side.
	for at := 0; at < 16; at += d.lanes {
		d.op("VPBROADCASTD 48(SI), X0")
		if d.words() {
			d.op("VPMOVZXBW X0, Y0")
			d.op("VPMULLW wordPowersOf3<>(SB), Y0, Y0")
		} else {
			d.op("VPMOVZXBD X0, %s", d.v(values))
			d.op("VPMULLD %s<>(SB), %[2]s, %[2]s", [2]string{"powersOf3", "upperPowersOf3"}[at/8], d.v(values))
		}
		d.lowByte(0, 0)
		d.nextTrit(true)
		d.fromTable(1, 1, 240+at)
	}
}

func decodeNVFP4(d *decoderWriter) {
	// A float8 of 4 bits of exponent is a binary16 but for its bias: 2^8 too small,
	// and half of it is wanted. 0x7f stands for 0.
	d.op("VMOVD (SI), X0")
	d.op("VPCMPEQB notANumber<>(SB), X0, X1")
	d.op("VPANDN X0, X1, X0")
	d.op("VPMOVZXBW X0, X0")
	d.op("VPSLLW $9, X0, X0 // without the sign")
	d.op("VPSRLW $2, X0, X0")
	d.op("VCVTPH2PS X0, X0")
	d.op("VMULPS times128<>(SB), X0, X0")
	d.op("VMOVUPS X0, (SP)")
	for g := range 4 {
		if d.wide() {
			d.op("VMULPS.BCST %d(SP), Z%d, Z%d", 4*g, tableLevels, tableScaled)
			d.roundTable()
			d.eightNibbles(4+8*g, 16*g)
			continue
		}
		d.op("VMOVQ %d(SI), X0", 4+8*g)
		d.op("VPSRLW $4, X0, X1")
		d.op("VPUNPCKLQDQ X1, X0, X0")
		d.op("VPAND X%d, X0, X0", nibbleMask)
		d.op("VPSHUFB X0, X%d, X0", lowBits)
		d.op("VBROADCASTSS %d(SP), Y%d", 4*g, scale)
		for i := range 2 {
			d.op("VPMOVSXBD X0, Y1")
			d.scaled(values2, 16*g+8*i)
			if i == 0 {
				d.op("VPSRLDQ $8, X0, X0")
			}
		}
	}
}

// eightNibbles stores the levels of the nibbles of eight bytes, the low ones first.
func (d *decoderWriter) eightNibbles(from, at int) {
	d.op("VMOVDDUP %d(SI), X0", from)
	if d.words() {
		d.op("VPMOVZXBW X0, Y0")
		d.op("VPSRLVW nibbleShiftWords<>(SB), Y0, Y0")
	} else {
		d.op("VPMOVZXBD X0, Z0")
		d.op("VPSRLVD nibbleShifts<>(SB), Z0, Z0")
	}
	d.fromTable(0, 0, at)
}
