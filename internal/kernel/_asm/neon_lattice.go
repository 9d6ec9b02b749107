package main

import (
	"fmt"

	"qtool/internal/codebook"
)

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

// Registers of lattices.
const (
	latticeIndices  = "R8"
	latticeSigns    = "R9"
	latticeHighBits = "R11" // of indices, and shifts
	latticeScales   = "R12"
	latticeInteger  = neonScratch // a scale
	latticePoint    = 3           // the first of the registers of points
	latticeUpper    = "R4"        // what is shifted and joined with neonScratch
)

// Vector registers of lattices, with neonMask of a coordinate and neonLevels. The first four
// are floats.
const (
	latticeScale                               = 8 // of the block
	latticeHalf, latticeQuarter, latticeEighth = 9, 10, 11
	latticeSignCopies                          = 21     // where the bytes of signs are copied
	latticeSpread, latticeSpread2              = 24, 27 // where coordinates are copied: of two points, and of two more
	latticeShift                               = 27     // of IQ1
)

func (l lattice) neonSetup(n *neonWriter) {
	n.ins("MOVD", "$qtool∕internal∕codebook·"+l.points+"(SB)", neonPoints)
	n.table(l.levels, neonLevels)
	n.table("bitOfByte", neonBitOf)
	n.table("copies01", latticeSignCopies)
	n.ins("FMOVS", "$0.5", scalar(latticeHalf))
	n.ins("FMOVS", "$0.25", scalar(latticeQuarter))
	n.ins("FMOVS", "$0.125", scalar(latticeEighth))
	if l.each == 8 {
		n.every(3, neonMask)
		n.table("fourCopies", latticeSpread)
		n.table("pairShifts", neonShifts)
		return
	}
	n.every(7, neonMask)
	n.table("words01", latticeSpread)
	n.table("words23", latticeSpread2)
	n.table("tripleShifts", neonShifts)
}

// neonLoad puts the levels of sixteen elements into neonBytes: those of the points from first
// on, whose indices where prints into registers.
func (l lattice) neonLoad(n *neonWriter, first int, where func(point, register int)) {
	points := 16 / l.each
	for i := range points {
		point := numbered("R", latticePoint+i)
		where(first+i, latticePoint+i)
		n.ins("MOVHU", in(neonPoints)+"("+shifted(point, "<<", 1)+")", point)
		if i > 0 {
			n.ins("ORR", shifted(point, "<<", 16*i), neonScratch, neonScratch)
		}
	}
	if l.each == 8 {
		n.ins("FMOVS", neonScratch, scalar(neonBytes))
		n.pairs(neonBytes)
	} else {
		n.ins("FMOVD", neonScratch, scalar(neonBytes))
		n.lookUp(neonBytes, latticeSpread, neonLows)
		n.lookUp(neonBytes, latticeSpread2, neonHighs)
		n.three("VUSHL.H8", neonShifts, neonLows, neonLows)
		n.three("VUSHL.H8", neonShifts, neonHighs, neonHighs)
		n.ins("VUZP1", arranged(neonHighs, "B16"), arranged(neonLows, "B16"), arranged(neonBytes, "B16"))
		n.bytes("VAND", neonMask, neonBytes, neonBytes)
	}
	n.lookUp(neonLevels, neonBytes, neonBytes)
}

// signed gives the elements in neonBytes the signs of two bytes of a register, and stores
// them.
func (n *neonWriter) signed(register string) {
	n.ins("FMOVS", register, scalar(neonLows))
	n.storeSigned()
}

// storeSigned does so for the signs in neonLows.
func (n *neonWriter) storeSigned() {
	const masks = neonLows
	n.masks(masks, latticeSignCopies, masks)
	n.bytes("VEOR", masks, neonBytes, neonBytes)
	n.bytes("VSUB", masks, neonBytes, neonBytes)
	n.scaled(neonBytes, lane{neonScale, 0})
}

// scalePlusHalf computes neonScale = d·(latticeInteger + 1/2)·factor.
func (n *neonWriter) scalePlusHalf(factor int) {
	n.ins("SCVTFWS", latticeInteger, scalar(neonScale))
	n.ins("FADDS", scalar(latticeHalf), scalar(neonScale), scalar(neonScale))
	n.ins("FMULS", scalar(latticeScale), scalar(neonScale), scalar(neonScale))
	n.ins("FMULS", scalar(factor), scalar(neonScale), scalar(neonScale))
}

// oddScale computes neonScale = d·(2·latticeInteger + 1).
func (n *neonWriter) oddScale() {
	n.ins("LSLW", "$1", latticeInteger, latticeInteger)
	n.ins("ADDW", "$1", latticeInteger, latticeInteger)
	n.ins("SCVTFWS", latticeInteger, scalar(neonScale))
	n.ins("FMULS", scalar(latticeScale), scalar(neonScale), scalar(neonScale))
}

// completeSigns sets bit 7 of the fields of latticeSigns to the parity of their seven others;
// ones are the fields' lowest bits.
func (n *neonWriter) completeSigns(ones uint64) {
	n.ins("EOR", shifted(latticeSigns, ">>", 4), latticeSigns, neonScratch)
	n.ins("EOR", shifted(neonScratch, ">>", 2), neonScratch, neonScratch)
	n.ins("EOR", shifted(neonScratch, ">>", 1), neonScratch, neonScratch)
	n.ins("AND", fmt.Sprintf("$%#x", ones), neonScratch, neonScratch)
	n.ins("ORR", shifted(neonScratch, "<<", 7), latticeSigns, latticeSigns)
}

// signsAndScale takes the word at an offset: four times 7 signs, to the bytes of latticeSigns,
// and the scale of the group.
func (n *neonWriter) signsAndScale(place, factor int) {
	n.ins("MOVWU", at(neonEncoded, place), latticeSigns)
	n.ins("LSRW", "$28", latticeSigns, latticeInteger)
	n.scalePlusHalf(factor)
	n.ins("ANDW", "$0x3fff", latticeSigns, neonScratch)
	n.ins("UBFX", "$14", latticeSigns, "$14", latticeUpper)
	n.ins("ORR", shifted(latticeUpper, "<<", 16), neonScratch, neonScratch)
	n.ins("ANDW", "$0x007f007f", neonScratch, latticeSigns)
	n.ins("ANDW", "$0x3f803f80", neonScratch, neonScratch)
	n.ins("ORR", shifted(neonScratch, "<<", 1), latticeSigns, latticeSigns)
	n.completeSigns(0x0101010101010101)
}

func neonIQ2XXS(n *neonWriter) {
	n.float16(0, latticeScale)
	for g := range 8 {
		n.signsAndScale(6+8*g, latticeQuarter)
		for half := range 2 {
			iq2XXS.neonLoad(n, 2*half, func(point, register int) {
				n.ins("MOVBU", at(neonEncoded, 2+8*g+point), numbered("R", register))
			})
			n.signed(latticeSigns)
			n.ins("LSR", "$16", latticeSigns, latticeSigns)
		}
	}
}

func neonIQ3XXS(n *neonWriter) {
	n.float16(0, latticeScale)
	for g := range 8 {
		n.signsAndScale(66+4*g, latticeHalf)
		for half := range 2 {
			iq3XXS.neonLoad(n, 8*g+4*half, func(point, register int) {
				n.ins("MOVBU", at(neonEncoded, 2+point), numbered("R", register))
			})
			n.signed(latticeSigns)
			n.ins("LSR", "$16", latticeSigns, latticeSigns)
		}
	}
}

func neonIQ2XS(n *neonWriter) {
	const allScales = "R11"
	n.table("copies02", latticeSignCopies) // signs are in words
	n.float16(0, latticeScale)
	n.ins("MOVD", at(neonEncoded, 66), allScales+" // scales")
	for g := 0; g < 16; g += 2 {
		n.ins("MOVD", at(neonEncoded, 2+4*g), latticeIndices)
		n.ins("LSR", "$9", latticeIndices, latticeSigns)
		n.ins("AND", "$0x007f007f007f007f", latticeSigns, latticeSigns)
		n.completeSigns(0x0001000100010001)
		for i := range 2 {
			n.ins("UBFX", number(4*(g+i)), allScales, "$4", latticeInteger)
			n.scalePlusHalf(latticeQuarter)
			iq2XS.neonLoad(n, 2*i, func(point, register int) {
				n.ins("UBFX", number(16*point), latticeIndices, "$9", numbered("R", register))
			})
			n.ins("FMOVD", latticeSigns, scalar(neonLows))
			n.storeSigned()
			n.ins("LSR", "$32", latticeSigns, latticeSigns)
		}
	}
}

// withHighBits prints an index: a byte, and on top of it high bits.
func (n *neonWriter) withHighBits(place, bit, count, register int) {
	const bits = "R7"
	n.ins("MOVBU", at(neonEncoded, place), numbered("R", register))
	n.ins("UBFX", number(bit), latticeHighBits, number(count), bits)
	n.ins("ORR", shifted(bits, "<<", 8), numbered("R", register), numbered("R", register))
}

func neonIQ2S(n *neonWriter) {
	n.float16(0, latticeScale)
	n.ins("MOVD", at(neonEncoded, 66), latticeHighBits+" // high bits of indices")
	n.ins("MOVD", at(neonEncoded, 74), latticeScales+" // scales")
	for g := range 16 {
		n.ins("UBFX", number(4*g), latticeScales, "$4", latticeInteger)
		n.scalePlusHalf(latticeQuarter)
		iq2S.neonLoad(n, 2*g, func(point, register int) { n.withHighBits(2+point, 2*point, 2, register) })
		n.ins("MOVHU", at(neonEncoded, 34+2*g), latticeSigns)
		n.signed(latticeSigns)
	}
}

func neonIQ3S(n *neonWriter) {
	n.float16(0, latticeScale)
	n.ins("MOVD", at(neonEncoded, 66), latticeHighBits+" // high bits of indices")
	n.ins("MOVWU", at(neonEncoded, 106), latticeScales+" // scales")
	for g := range 8 {
		n.ins("UBFX", number(4*g), latticeScales, "$4", latticeInteger)
		n.oddScale()
		for half := range 2 {
			iq3S.neonLoad(n, 8*g+4*half, func(point, register int) { n.withHighBits(2+point, point, 1, register) })
			n.ins("MOVHU", at(neonEncoded, 74+4*g+2*half), latticeSigns)
			n.signed(latticeSigns)
		}
	}
}

// shift1 puts 1, or -1 where a bit of latticeHighBits is set, into a register.
func (n *neonWriter) shift1(bit int, register string) {
	n.ins("SBFX", number(bit), latticeHighBits, "$1", register)
	n.ins("ORR", "$1", register, register)
}

func neonIQ1S(n *neonWriter) {
	n.float16(0, latticeScale)
	for g := range 8 {
		n.ins("MOVHU", at(neonEncoded, 34+2*g), latticeHighBits)
		n.ins("UBFX", "$12", latticeHighBits, "$3", latticeInteger)
		n.oddScale()
		n.ins("FMULS", scalar(latticeEighth), scalar(neonScale), scalar(neonScale))
		n.shift1(15, neonScratch)
		n.ins("VDUP", neonScratch, arranged(latticeShift, "B16"))
		for half := range 2 {
			iq1.neonLoad(n, 2*half, func(point, register int) { n.withHighBits(2+4*g+point, 3*point, 3, register) })
			n.bytes("VADD", latticeShift, neonBytes, neonBytes)
			n.scaled(neonBytes, lane{neonScale, 0})
		}
	}
}

func neonIQ1M(n *neonWriter) {
	n.ins("MOVD", at(neonEncoded, 48), latticeScales+" // scales")
	n.ins("LSR", "$12", latticeScales, neonScratch)
	n.ins("AND", "$0x000f000f000f000f", neonScratch, neonScratch+" // the quarters of d, 16 bits apart")
	n.ins("ORR", shifted(neonScratch, ">>", 12), neonScratch, neonScratch+" // pairs of them")
	n.ins("LSR", "$24", neonScratch, latticeUpper)
	n.ins("AND", "$0xff00", latticeUpper, latticeUpper)
	n.ins("AND", "$0xff", neonScratch, neonScratch)
	n.ins("ORR", latticeUpper, neonScratch, neonScratch)
	n.toFloat(neonScratch, latticeScale)
	for g := range 16 {
		if g%8 == 0 {
			n.ins("MOVD", at(neonEncoded, 32+g), latticeHighBits+" // high bits of indices and shifts")
		}
		n.ins("UBFX", number(g/4*16+g%4*3), latticeScales, "$3", latticeInteger)
		n.oddScale()
		n.ins("FMULS", scalar(latticeEighth), scalar(neonScale), scalar(neonScale))
		n.shift1(8*(g%8)+3, neonScratch)
		n.shift1(8*(g%8)+7, latticeUpper)
		n.ins("AND", "$0xff", neonScratch, neonScratch)
		n.ins("ORR", shifted(latticeUpper, "<<", 8), neonScratch, neonScratch)
		n.ins("FMOVS", neonScratch, scalar(latticeShift))
		n.lookUp(latticeShift, latticeSignCopies, latticeShift)
		iq1.neonLoad(n, 2*g, func(point, register int) { n.withHighBits(point, 4*(point%16), 3, register) })
		n.bytes("VADD", latticeShift, neonBytes, neonBytes)
		n.scaled(neonBytes, lane{neonScale, 0})
	}
}
