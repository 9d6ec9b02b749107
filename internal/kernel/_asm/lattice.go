package main

import "fmt"

// A lattice is a codebook of IQ1, IQ2 or IQ3. Its points stay packed: a point is
// broadcast to as many lanes as it has coordinates, each lane shifts its own to the
// lowest bits, and VPERMPS takes the level for it, scaled beforehand once for a group.
type lattice struct {
	points, levels, shifts string
	each                   int // coordinates of a point
}

var (
	iq1    = lattice{"IQ1", "levelsIQ1", "shifts8", 8}
	iq2XXS = lattice{"IQ2XXS", "levelsIQ2", "shifts8", 8}
	iq2XS  = lattice{"IQ2XS", "levelsIQ2", "shifts8", 8}
	iq2S   = lattice{"IQ2S", "levelsIQ2", "shifts8", 8}
	iq3XXS = lattice{"IQ3XXS", "levelsIQ3XXS", "shifts4", 4}
	iq3S   = lattice{"IQ3S", "levelsIQ3S", "shifts4", 4}
)

// Vector registers: 0..2 and 6..8 scratch, 4 the levels of a group, 5 the block's
// scale. R13 points to the codebook. Mask registers: 1 signs, 2..4 the words of a
// vector's points after the first, 5 the lanes of the second point of 8.
const (
	tableScaled      = 4
	blockScale       = 5
	coordinateShifts = 11
	tableLevels      = 12
	signShifts       = 13
	signBit          = 14
)

func (l lattice) setup(d *decoderWriter) {
	l.setupFloats(d)
	if !d.words() {
		return
	}
	d.vector(coordinateShifts, "wordS"+l.shifts[1:])
	d.vector(signBit, "signWords")
	l.setupMasks(d, l.each)
}

func (l lattice) setupFloats(d *decoderWriter) {
	d.op("MOVQ $qtool∕internal∕codebook·%s(SB), R13", l.points)
	d.vector(coordinateShifts, l.shifts)
	d.vector(tableLevels, l.levels)
	d.vector(signBit, "signBit")
	if !d.wide() {
		d.vector(signShifts, "signShifts")
		return
	}
	l.setupMasks(d, 2*l.each)
	d.op("MOVL $0xff00, AX")
	d.op("KMOVD AX, K5")
}

// setupMasks selects the words of each point after the first.
func (l lattice) setupMasks(d *decoderWriter, words int) {
	for i := 1; i < 16/l.each; i++ {
		d.op("MOVL $%#08x, AX", uint32(1<<words-1)<<(i*words))
		d.op("KMOVD AX, K%d", 1+i)
	}
}

// An index is where the number of a point is stored.
type index func(point int) string

func bytesAt(offset int) index {
	return func(point int) string { return fmt.Sprintf("MOVBLZX %d(SI)", offset+point) }
}

// Words that a decoder computed for the whole block.
var indexWords index = func(point int) string { return fmt.Sprintf("MOVWLZX %d(SP)", 2*point) }

// Where a decoder keeps what it computed for the whole block: up to 64 indices of
// 2 bytes, or 32 and a shift of 4 bytes for each; 16 scales; 32 bytes of signs.
const (
	shiftsAt = 64
	signsAt  = 128
	scalesAt = 192
)

// broadcast puts points into the lanes of register 0, each to those of its coordinates.
func (l lattice) broadcast(d *decoderWriter, at int, where index, register string) {
	for i := range d.lanes / l.each {
		d.op("%s, R%d", where(at/l.each+i), 8+i)
	}
	switch {
	case d.wide():
		d.op("VPBROADCASTW (R13)(R8*2), %s0", register)
		for i := 1; i < 16/l.each; i++ {
			d.op("VPBROADCASTW (R13)(R%d*2), K%d, %s0", 8+i, 1+i, register)
		}
	case l.each == 8:
		d.op("VPBROADCASTW (R13)(R8*2), Y0")
	default:
		d.op("VPBROADCASTW (R13)(R8*2), X0")
		d.op("VPBROADCASTW (R13)(R9*2), X1")
		d.op("VINSERTI128 $1, X1, Y0, Y0")
	}
}

// load puts levels of table, those of elements at and following, into 0.
func (l lattice) load(d *decoderWriter, at, table int, where index) {
	l.broadcast(d, at, where, d.register)
	d.op("VPSRLVD %s, %s, %s", d.v(coordinateShifts), d.v(0), d.v(0))
	d.op("VPERMPS %s, %s, %s", d.v(table), d.v(0), d.v(0))
}

// loadWords puts levels of the rounded table into 0.
func (l lattice) loadWords(d *decoderWriter, at int, where index) {
	l.broadcast(d, at, where, "Y")
	d.op("VPSRLVW Y%d, Y0, Y0", coordinateShifts)
	d.op("VPERMW Y%d, Y0, Y0", tableScaled)
}

// signed stores vectors of a group with the signs whose bits are at signs.
func (l lattice) signed(d *decoderWriter, from, to int, where index, signs int, base string) {
	for at := from; at < to; at += d.lanes {
		if d.words() {
			l.loadWords(d, at, where)
			d.op("KMOVW %d(%s), K1", signs+at/8, base)
			d.op("VPADDW Y%d, Y0, K1, Y0", signBit)
			d.op("VMOVDQU Y0, %d(DI)", 2*at)
			continue
		}
		l.load(d, at, tableScaled, where)
		if d.wide() {
			d.op("KMOVW %d(%s), K1", signs+at/8, base)
			d.op("VPXORD Z%d, Z0, K1, Z0", signBit)
		} else {
			d.op("VPBROADCASTB %d(%s), Y1", signs+at/8, base)
			d.op("VPSLLVD Y%d, Y1, Y1", signShifts)
			d.op("VPAND Y%d, Y1, Y1", signBit)
			d.op("VPXOR Y1, Y0, Y0")
		}
		d.store(0, at)
	}
}

// scaleLevels puts the levels times scale g into tableScaled.
func (d *decoderWriter) scaleLevels(g int) {
	if d.wide() {
		d.op("VMULPS.BCST %d(SP), Z%d, Z%d", scalesAt+4*g, tableLevels, tableScaled)
		d.roundTable()
		return
	}
	d.op("VBROADCASTSS %d(SP), Y%d", scalesAt+4*g, tableScaled)
	d.op("VMULPS Y%[1]d, Y%[2]d, Y%[2]d", tableLevels, tableScaled)
}

// halfScales stores d·(s + 1/2)·factor for the eight integers s of Y register i.
func (d *decoderWriter) halfScales(i, g int, factor string) {
	d.op("VCVTDQ2PS Y%[1]d, Y%[1]d", i)
	d.op("VADDPS half<>(SB), Y%[1]d, Y%[1]d", i)
	d.op("VMULPS Y%[1]d, Y%[2]d, Y%[2]d", blockScale, i)
	d.op("VMULPS %[1]s<>(SB), Y%[2]d, Y%[2]d", factor, i)
	d.op("VMOVUPS Y%d, %d(SP)", i, scalesAt+4*g)
}

// oddScales stores d·(2·s + 1) for the eight integers s of Y register i.
func (d *decoderWriter) oddScales(i, g int) {
	d.op("VPADDD Y%[1]d, Y%[1]d, Y%[1]d", i)
	d.op("VPSUBD minusOnes<>(SB), Y%[1]d, Y%[1]d", i)
	d.op("VCVTDQ2PS Y%[1]d, Y%[1]d", i)
	d.op("VMULPS Y%[1]d, Y%[2]d, Y%[2]d", blockScale, i)
	d.op("VMOVUPS Y%d, %d(SP)", i, scalesAt+4*g)
}

// nibbleScales unpacks the halves of so many bytes, in order, to bytes of X0.
func (d *decoderWriter) nibbleScales(at, bytes int) {
	if bytes == 8 {
		d.op("VMOVQ %d(SI), X0", at)
	} else {
		d.op("VMOVD %d(SI), X0", at)
	}
	d.op("VPSRLW $4, X0, X1")
	d.op("VPAND lowNibbles<>(SB), X0, X0")
	d.op("VPAND lowNibbles<>(SB), X1, X1")
	d.op("VPUNPCKLBW X1, X0, X0")
}

// halfNibbleScales is halfScales of sixteen scales in the halves of 8 bytes.
func (d *decoderWriter) halfNibbleScales(at int) {
	d.nibbleScales(at, 8)
	for g := 0; g < 16; g += 8 {
		d.op("VPMOVZXBD X0, Y2")
		d.halfScales(2, g, "quarter")
		if g == 0 {
			d.op("VPSRLDQ $8, X0, X0")
		}
	}
}

// completeSigns sets bit 7 of each byte of Y0 to the parity of the seven others.
func (d *decoderWriter) completeSigns() {
	d.op("VPSRLW $4, Y0, Y1")
	d.op("VPXOR Y0, Y1, Y1")
	for _, n := range []int{2, 1} {
		d.op("VPSRLW $%d, Y1, Y2", n)
		d.op("VPXOR Y2, Y1, Y1")
	}
	d.op("VPSLLW $7, Y1, Y1")
	d.op("VPAND bytes128<>(SB), Y1, Y1")
	d.op("VPOR Y1, Y0, Y0")
	d.op("VMOVDQU Y0, %d(SP)", signsAt)
}

// signsAndScales takes the words of eight groups, in Y0: four times 7 signs from
// bit 0 and a scale from bit 28.
func (d *decoderWriter) signsAndScales(factor string) {
	d.op("VPSRLD $28, Y0, Y1")
	d.halfScales(1, 0, factor)
	spread := func(from, to, shift int, low, high string) {
		d.op("VPSLLD $%d, Y%d, Y2", shift, from)
		d.op("VPAND %s<>(SB), Y%d, Y%d", low, from, to)
		d.op("VPAND %s<>(SB), Y2, Y2", high)
		d.op("VPOR Y2, Y%[1]d, Y%[1]d", to)
	}
	spread(0, 1, 2, "bits14", "upperBits14")
	spread(1, 0, 1, "bits7", "upperBits7")
	d.completeSigns()
}

func decodeIQ2XXS(d *decoderWriter) {
	d.float16("0(SI)", blockScale)
	d.op("VMOVUPS 2(SI), Y0")
	d.op("VSHUFPS $0xdd, 34(SI), Y0, Y0 // the odd words of groups 0 1 4 5, 2 3 6 7")
	d.op("VPERMQ $0xd8, Y0, Y0")
	d.signsAndScales("quarter")
	for g := range 8 {
		d.scaleLevels(g)
		indices := bytesAt(2 + 8*g - 4*g) // point 4g is the first of group g
		iq2XXS.signed(d, 32*g, 32*g+32, indices, signsAt, "SP")
	}
}

func decodeIQ3XXS(d *decoderWriter) {
	d.float16("0(SI)", blockScale)
	d.op("VMOVDQU 66(SI), Y0")
	d.signsAndScales("half")
	for g := range 8 {
		d.scaleLevels(g)
		iq3XXS.signed(d, 32*g, 32*g+32, bytesAt(2), signsAt, "SP")
	}
}

func decodeIQ2XS(d *decoderWriter) {
	d.float16("0(SI)", blockScale)
	d.halfNibbleScales(66)
	for i := range 2 {
		d.op("VMOVDQU %d(SI), Y%d", 2+32*i, 6+i)
		d.op("VPAND bits9<>(SB), Y%d, Y0", 6+i)
		d.op("VMOVDQU Y0, %d(SP)", 32*i)
		d.op("VPSRLW $9, Y%[1]d, Y%[1]d", 6+i)
	}
	d.op("VPACKUSWB Y7, Y6, Y0")
	d.op("VPERMQ $0xd8, Y0, Y0")
	d.completeSigns()
	for g := range 16 {
		d.scaleLevels(g)
		iq2XS.signed(d, 16*g, 16*g+16, indexWords, signsAt, "SP")
	}
}

// joinIndices stores the bytes at low with the bits of Y0's words on top, as
// indices from i.
func (d *decoderWriter) joinIndices(low, i int) {
	d.op("VPMOVZXBW %d(SI), Y1", low)
	d.op("VPOR Y1, Y0, Y0")
	d.op("VMOVDQU Y0, %d(SP)", 2*i)
}

func decodeIQ2S(d *decoderWriter) {
	d.float16("0(SI)", blockScale)
	d.halfNibbleScales(74)
	for i := 0; i < 32; i += 16 {
		d.op("VPBROADCASTD %d(SI), Y0", 66+i/4)
		d.op("VPSHUFB eightCopies<>(SB), Y0, Y0")
		d.op("VPMULLW pairsToTop<>(SB), Y0, Y0")
		d.op("VPSRLW $14, Y0, Y0")
		d.op("VPSLLW $8, Y0, Y0")
		d.joinIndices(2+i, i)
	}
	for g := range 16 {
		d.scaleLevels(g)
		iq2S.signed(d, 16*g, 16*g+16, indexWords, 34, "SI")
	}
}

func decodeIQ3S(d *decoderWriter) {
	d.float16("0(SI)", blockScale)
	d.nibbleScales(106, 4)
	d.op("VPMOVZXBD X0, Y0")
	d.oddScales(0, 0)
	for i := 0; i < 64; i += 16 {
		d.op("VPBROADCASTW %d(SI), Y0", 66+i/8)
		d.op("VPSHUFB byteCopies<>(SB), Y0, Y0")
		d.op("VPAND bitOfWord<>(SB), Y0, Y0")
		d.op("VPCMPEQW bitOfWord<>(SB), Y0, Y0")
		d.op("VPAND ninthBits<>(SB), Y0, Y0")
		d.joinIndices(2+i, i)
	}
	for g := range 8 {
		d.scaleLevels(g)
		iq3S.signed(d, 32*g, 32*g+32, indexWords, 74, "SI")
	}
}

// triples moves bit triple i%4 of word i of Y0 to bits from place.
func (d *decoderWriter) triples(place int) {
	d.op("VPMULLW triplesToTop<>(SB), Y0, Y0")
	d.op("VPSRLW $13, Y0, Y0")
	if place > 0 {
		d.op("VPSLLW $%d, Y0, Y0", place)
	}
}

func decodeIQ1S(d *decoderWriter) {
	d.float16("0(SI)", blockScale)
	d.op("VPMOVZXWD 34(SI), Y0")
	d.op("VPSLLD $16, Y0, Y1")
	d.op("VPAND signBit<>(SB), Y1, Y1")
	d.op("VPXOR eighth<>(SB), Y1, Y1")
	d.op("VMOVUPS Y1, %d(SP)", shiftsAt)
	d.op("VPSRLD $12, Y0, Y0")
	d.op("VPAND bits3<>(SB), Y0, Y0")
	d.oddScales(0, 0)
	for i := 0; i < 32; i += 16 {
		d.op("VPBROADCASTQ %d(SI), Y0", 34+i/2)
		d.op("VPSHUFB fourCopies<>(SB), Y0, Y0")
		d.triples(8)
		d.joinIndices(2+i, i)
	}
	for g := range 8 {
		d.op("VBROADCASTSS %d(SP), %s", shiftsAt+4*g, d.v(1))
		d.op("VADDPS %s, %s, %s", d.v(tableLevels), d.v(1), d.v(1))
		d.op("VBROADCASTSS %d(SP), %s", scalesAt+4*g, d.v(tableScaled))
		d.op("VMULPS %s, %s, %s", d.v(1), d.v(tableScaled), d.v(tableScaled))
		d.roundTable()
		for at := 32 * g; at < 32*g+32; at += d.lanes {
			if d.words() {
				iq1.loadWords(d, at, indexWords)
				d.op("VMOVDQU Y0, %d(DI)", 2*at)
				continue
			}
			iq1.load(d, at, tableScaled, indexWords)
			d.store(0, at)
		}
	}
}

func decodeIQ1M(d *decoderWriter) {
	d.op("MOVQ $0x000f000f000f000f, R9")
	d.op("MOVQ 48(SI), R8")
	d.op("SHRQ $12, R8")
	d.op("ANDQ R9, R8 // the quarters of d, 16 bits apart")
	d.op("MOVQ R8, R9")
	d.op("SHRQ $12, R9")
	d.op("ORQ R9, R8 // pairs of them")
	d.op("MOVQ R8, R9")
	d.op("SHRQ $24, R9")
	d.op("ANDL $0xff00, R9")
	d.op("ANDL $0xff, R8")
	d.op("ORL R9, R8")
	d.op("VMOVD R8, X%d", blockScale)
	d.op("VCVTPH2PS X%[1]d, X%[1]d", blockScale)
	d.op("VBROADCASTSS X%d, %s", blockScale, d.v(blockScale))

	d.op("VPBROADCASTQ 48(SI), Y0")
	d.op("VPERMQ $0x00, Y0, Y0")
	d.op("VPSHUFB fourCopies<>(SB), Y0, Y0")
	d.triples(0)
	d.op("VEXTRACTI128 $1, Y0, X1")
	for i := range 2 {
		d.op("VPMOVZXWD X%[1]d, Y%[1]d", i)
		d.oddScales(i, 8*i)
	}
	// Halves of qh in order: bytes of X6 and X7.
	d.op("VMOVDQU 32(SI), X0")
	d.op("VPSRLW $4, X0, X1")
	d.op("VPAND lowNibbles<>(SB), X0, X0")
	d.op("VPAND lowNibbles<>(SB), X1, X1")
	d.op("VPUNPCKLBW X1, X0, X6")
	d.op("VPUNPCKHBW X1, X0, X7")
	for i := 0; i < 32; i += 16 {
		half := 6 + i/16
		d.op("VPMOVZXBW X%d, Y0", half)
		d.op("VPSLLW $8, Y0, Y0")
		d.op("VPAND highBits3<>(SB), Y0, Y0")
		d.joinIndices(i, i)
		for j := i; j < i+16; j += 8 {
			d.op("VPMOVZXBD X%d, Y0", half)
			d.op("VPSLLD $28, Y0, Y0")
			d.op("VPAND signBit<>(SB), Y0, Y0")
			d.op("VPXOR eighth<>(SB), Y0, Y0")
			d.op("VMOVUPS Y0, %d(SP)", shiftsAt+4*j)
			if j == i {
				d.op("VPSRLDQ $8, X%[1]d, X%[1]d", half)
			}
		}
	}
	for at := 0; at < 256; at += d.lanes {
		iq1.load(d, at, tableLevels, indexWords)
		shift, scale := shiftsAt+at/8*4, scalesAt+at/16*4
		if d.wide() {
			d.op("VADDPS.BCST %d(SP), Z0, Z1", shift)
			d.op("VADDPS.BCST %d(SP), Z0, K5, Z1", shift+4)
			d.op("VMULPS.BCST %d(SP), Z1, Z0", scale)
		} else {
			d.op("VBROADCASTSS %d(SP), Y1", shift)
			d.op("VADDPS Y1, Y0, Y0")
			d.op("VBROADCASTSS %d(SP), Y1", scale)
			d.op("VMULPS Y1, Y0, Y0")
		}
		d.store(0, at)
	}
}
