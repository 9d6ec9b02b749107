package main

import "qtool/internal/codebook"

var (
	codebookIQ2    = codebook.LevelsIQ2[:]
	codebookIQ3XXS = codebook.LevelsIQ3XXS[:]
	codebookIQ3S   = codebook.LevelsIQ3S[:]
)

func levelTable(levels []int8) (t [16]int8) {
	copy(t[:], levels)
	return t
}

// The elements of IQ1 are levels plus or minus an eighth: as integers, eight times that.
func eightTimesLevels() (t [16]int8) {
	for i, l := range codebook.LevelsIQ1 {
		t[i] = 8 * l
	}
	return t
}

// neonSetup: 22 holds the mask of a coordinate, 23 levels, 24 and 25 what spreads
// the coordinates of points, and 27 for four points; 21 copies of bytes with signs and
// 26 the bit of each. 8 is the block's scale, 9 a half, 10 and 11 factors.
func (l lattice) neonSetup(n *neonWriter) {
	n.op("MOVD $qtool∕internal∕codebook·%s(SB), R10", l.points)
	n.table(l.levels, 23)
	n.table("bitOfByte", 26)
	n.table("copies01", 21)
	n.op("FMOVS $0.5, F9")
	n.op("FMOVS $0.25, F10")
	n.op("FMOVS $0.125, F11")
	if l.each == 8 {
		n.every(3, 22)
		n.table("fourCopies", 24)
		n.table("pairShifts", 25)
		return
	}
	n.every(7, 22)
	n.table("words01", 24)
	n.table("words23", 27)
	n.table("tripleShifts", 25)
}

// load puts the levels of the sixteen elements of R3.. points into 28. where prints
// the index of a point into a register.
func (l lattice) neonLoad(n *neonWriter, first int, where func(point, register int)) {
	points := 16 / l.each
	for i := range points {
		where(first+i, 3+i)
		n.op("MOVHU (R10)(R%[1]d<<1), R%[1]d", 3+i)
		if i > 0 {
			n.op("ORR R%d<<%d, R3, R3", 3+i, 16*i)
		}
	}
	if l.each == 8 {
		n.op("FMOVS R3, F28")
		n.pairs(28)
	} else {
		n.op("FMOVD R3, F28")
		n.lookUp(28, 24, 29)
		n.lookUp(28, 27, 30)
		n.three("VUSHL.H8", 25, 29, 29)
		n.three("VUSHL.H8", 25, 30, 30)
		n.op("VUZP1 V30.B16, V29.B16, V28.B16")
		n.bytes("VAND", 22, 28, 28)
	}
	n.lookUp(23, 28, 28)
}

// signed gives the elements in 28 the signs of two bytes of a register.
func (n *neonWriter) signed(register string) {
	n.op("FMOVS %s, F29", register)
	n.masks(29, 21, 29)
	n.bytes("VEOR", 29, 28, 28)
	n.bytes("VSUB", 29, 28, 28)
	n.scaled(28, lane{20, 0})
}

// halfScale computes 20 = d·(R3 + 1/2)·factor.
func (n *neonWriter) halfScale(factor int) {
	n.op("SCVTFWS R3, F20")
	n.op("FADDS F9, F20, F20")
	n.op("FMULS F8, F20, F20")
	n.op("FMULS F%d, F20, F20", factor)
}

// oddScale computes 20 = d·(2·R3 + 1).
func (n *neonWriter) oddScale() {
	n.op("LSLW $1, R3, R3")
	n.op("ADDW $1, R3, R3")
	n.op("SCVTFWS R3, F20")
	n.op("FMULS F8, F20, F20")
}

// completeSigns sets bit 7 of the fields of R9 to the parity of their seven others;
// ones are the fields' lowest bits.
func (n *neonWriter) completeSigns(ones uint64) {
	n.op("EOR R9>>4, R9, R3")
	n.op("EOR R3>>2, R3, R3")
	n.op("EOR R3>>1, R3, R3")
	n.op("AND $%#x, R3, R3", ones)
	n.op("ORR R3<<7, R9, R9")
}

// signsAndScale takes the word at an offset: four times 7 signs, to the bytes of R9,
// and the scale of the group.
func (n *neonWriter) signsAndScale(at, factor int) {
	n.op("MOVWU %d(R1), R9", at)
	n.op("LSRW $28, R9, R3")
	n.halfScale(factor)
	n.op("ANDW $0x3fff, R9, R3")
	n.op("UBFX $14, R9, $14, R4")
	n.op("ORR R4<<16, R3, R3")
	n.op("ANDW $0x007f007f, R3, R9")
	n.op("ANDW $0x3f803f80, R3, R3")
	n.op("ORR R3<<1, R9, R9")
	n.completeSigns(0x0101010101010101)
}

func neonIQ2XXS(n *neonWriter) {
	n.float16(0, 8)
	for g := range 8 {
		n.signsAndScale(6+8*g, 10)
		for half := range 2 {
			iq2XXS.neonLoad(n, 2*half, func(point, register int) {
				n.op("MOVBU %d(R1), R%d", 2+8*g+point, register)
			})
			n.signed("R9")
			n.op("LSR $16, R9, R9")
		}
	}
}

func neonIQ3XXS(n *neonWriter) {
	n.float16(0, 8)
	for g := range 8 {
		n.signsAndScale(66+4*g, 9)
		for half := range 2 {
			iq3XXS.neonLoad(n, 8*g+4*half, func(point, register int) {
				n.op("MOVBU %d(R1), R%d", 2+point, register)
			})
			n.signed("R9")
			n.op("LSR $16, R9, R9")
		}
	}
}

func neonIQ2XS(n *neonWriter) {
	n.table("copies02", 21) // signs are in words
	n.float16(0, 8)
	n.op("MOVD 66(R1), R11 // scales")
	for g := 0; g < 16; g += 2 {
		n.op("MOVD %d(R1), R8", 2+4*g)
		n.op("LSR $9, R8, R9")
		n.op("AND $0x007f007f007f007f, R9, R9")
		n.completeSigns(0x0001000100010001)
		for i := range 2 {
			n.op("UBFX $%d, R11, $4, R3", 4*(g+i))
			n.halfScale(10)
			iq2XS.neonLoad(n, 2*i, func(point, register int) {
				n.op("UBFX $%d, R8, $9, R%d", 16*point, register)
			})
			n.op("FMOVD R9, F29")
			n.masks(29, 21, 29)
			n.bytes("VEOR", 29, 28, 28)
			n.bytes("VSUB", 29, 28, 28)
			n.scaled(28, lane{20, 0})
			n.op("LSR $32, R9, R9")
		}
	}
}

// withHighBits prints an index: a byte, and on top of it bits of R11.
func (n *neonWriter) withHighBits(at, bit, bits, register int) {
	n.op("MOVBU %d(R1), R%d", at, register)
	n.op("UBFX $%d, R11, $%d, R7", bit, bits)
	n.op("ORR R7<<8, R%[1]d, R%[1]d", register)
}

func neonIQ2S(n *neonWriter) {
	n.float16(0, 8)
	n.op("MOVD 66(R1), R11 // high bits of indices")
	n.op("MOVD 74(R1), R12 // scales")
	for g := range 16 {
		n.op("UBFX $%d, R12, $4, R3", 4*g)
		n.halfScale(10)
		iq2S.neonLoad(n, 2*g, func(point, register int) { n.withHighBits(2+point, 2*point, 2, register) })
		n.op("MOVHU %d(R1), R9", 34+2*g)
		n.signed("R9")
	}
}

func neonIQ3S(n *neonWriter) {
	n.float16(0, 8)
	n.op("MOVD 66(R1), R11 // high bits of indices")
	n.op("MOVWU 106(R1), R12 // scales")
	for g := range 8 {
		n.op("UBFX $%d, R12, $4, R3", 4*g)
		n.oddScale()
		for half := range 2 {
			iq3S.neonLoad(n, 8*g+4*half, func(point, register int) { n.withHighBits(2+point, point, 1, register) })
			n.op("MOVHU %d(R1), R9", 74+4*g+2*half)
			n.signed("R9")
		}
	}
}

// shift1 puts 1, or -1 where a bit of R11 is set, into a register.
func (n *neonWriter) shift1(bit int, register string) {
	n.op("SBFX $%d, R11, $1, %s", bit, register)
	n.op("ORR $1, %[1]s, %[1]s", register)
}

func neonIQ1S(n *neonWriter) {
	n.float16(0, 8)
	for g := range 8 {
		n.op("MOVHU %d(R1), R11", 34+2*g)
		n.op("UBFX $12, R11, $3, R3")
		n.oddScale()
		n.op("FMULS F11, F20, F20")
		n.shift1(15, "R3")
		n.op("VDUP R3, V27.B16")
		for half := range 2 {
			iq1.neonLoad(n, 2*half, func(point, register int) { n.withHighBits(2+4*g+point, 3*point, 3, register) })
			n.bytes("VADD", 27, 28, 28)
			n.scaled(28, lane{20, 0})
		}
	}
}

func neonIQ1M(n *neonWriter) {
	n.op("MOVD 48(R1), R12 // scales")
	n.op("LSR $12, R12, R3")
	n.op("AND $0x000f000f000f000f, R3, R3 // the quarters of d, 16 bits apart")
	n.op("ORR R3>>12, R3, R3 // pairs of them")
	n.op("LSR $24, R3, R4")
	n.op("AND $0xff00, R4, R4")
	n.op("AND $0xff, R3, R3")
	n.op("ORR R4, R3, R3")
	n.toFloat("R3", 8)
	for g := range 16 {
		if g%8 == 0 {
			n.op("MOVD %d(R1), R11 // high bits of indices and shifts", 32+g)
		}
		n.op("UBFX $%d, R12, $3, R3", g/4*16+g%4*3)
		n.oddScale()
		n.op("FMULS F11, F20, F20")
		n.shift1(8*(g%8)+3, "R3")
		n.shift1(8*(g%8)+7, "R4")
		n.op("AND $0xff, R3, R3")
		n.op("ORR R4<<8, R3, R3")
		n.op("FMOVS R3, F27")
		n.lookUp(27, 21, 27)
		iq1.neonLoad(n, 2*g, func(point, register int) { n.withHighBits(point, 4*(point%16), 3, register) })
		n.bytes("VADD", 27, 28, 28)
		n.scaled(28, lane{20, 0})
	}
}
