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

// Vector registers of lattices, with those of other decoders up to 2 and from 6 to 8.
const (
	tableScaled      = 4 // the levels of a group
	blockScale       = 5
	coordinateShifts = 11
	tableLevels      = 12
	signShifts       = 13
	signBit          = 14
)

// Mask registers of lattices.
const (
	maskSigns       = "K1"
	maskNextPoints  = 2    // to 4: the words of a vector's points after the first
	maskSecondPoint = "K5" // the lanes of the second point of 8
)

// pointIndices are registers of the numbers of a vector's points, from this one on.
const pointIndices = 8

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
	d.ins("MOVQ", "$qtool∕internal∕codebook·"+l.points+"(SB)", pointsAt)
	d.vector(coordinateShifts, l.shifts)
	d.vector(tableLevels, l.levels)
	d.vector(signBit, "signBit")
	if !d.wide() {
		d.vector(signShifts, "signShifts")
		return
	}
	l.setupMasks(d, 2*l.each)
	d.ins("MOVL", "$0xff00", scratch)
	d.ins("KMOVD", scratch, maskSecondPoint)
}

// setupMasks selects the words of each point after the first.
func (l lattice) setupMasks(d *decoderWriter, words int) {
	for i := 1; i < 16/l.each; i++ {
		d.ins("MOVL", fmt.Sprintf("$%#08x", uint32(1<<words-1)<<(i*words)), scratch)
		d.ins("KMOVD", scratch, numbered("K", maskNextPoints+i-1))
	}
}

// An index is where the number of a point is stored.
type index func(point int) string

func bytesAt(offset int) index {
	return func(point int) string { return "MOVBLZX " + at(encodedAt, offset+point) }
}

// Words that a decoder computed for the whole block.
var indexWords index = func(point int) string { return "MOVWLZX " + at(stack, 2*point) }

// Where a decoder keeps what it computed for the whole block: up to 64 indices of
// 2 bytes, or 32 and a shift of 4 bytes for each; 16 scales; 32 bytes of signs.
const (
	shiftsAt = 64
	signsAt  = 128
	scalesAt = 192
)

// broadcast puts points into the lanes of values, each to those of its coordinates.
func (l lattice) broadcast(d *decoderWriter, first int, where index, register string) {
	for i := range d.lanes / l.each {
		d.op("%s, %s", where(first/l.each+i), latticeIndex(i))
	}
	switch {
	case d.wide():
		d.ins("VPBROADCASTW", indexed(pointsAt, latticeIndex(0), 2), numbered(register, values))
		for i := 1; i < 16/l.each; i++ {
			d.ins("VPBROADCASTW", indexed(pointsAt, latticeIndex(i), 2), numbered("K", maskNextPoints+i-1), numbered(register, values))
		}
	case l.each == 8:
		d.ins("VPBROADCASTW", indexed(pointsAt, latticeIndex(0), 2), ymm(values))
	default:
		d.ins("VPBROADCASTW", indexed(pointsAt, latticeIndex(0), 2), xmm(values))
		d.ins("VPBROADCASTW", indexed(pointsAt, latticeIndex(1), 2), xmm(values2))
		d.ins("VINSERTI128", "$1", xmm(values2), ymm(values), ymm(values))
	}
}

func latticeIndex(i int) string { return numbered("R", pointIndices+i) }

// load puts levels of table, those of the elements from first on, into values.
func (l lattice) load(d *decoderWriter, first, table int, where index) {
	l.broadcast(d, first, where, d.register)
	d.ins("VPSRLVD", d.v(coordinateShifts), d.v(values), d.v(values))
	d.ins("VPERMPS", d.v(table), d.v(values), d.v(values))
}

// loadWords puts levels of the rounded table into values.
func (l lattice) loadWords(d *decoderWriter, first int, where index) {
	l.broadcast(d, first, where, "Y")
	d.ins("VPSRLVW", ymm(coordinateShifts), ymm(values), ymm(values))
	d.ins("VPERMW", ymm(tableScaled), ymm(values), ymm(values))
}

// signed stores vectors of a group with the signs whose bits are some bytes after base.
func (l lattice) signed(d *decoderWriter, from, to int, where index, base string, place int) {
	const signs = values2
	for first := from; first < to; first += d.lanes {
		if d.words() {
			l.loadWords(d, first, where)
			d.ins("KMOVW", at(base, place+first/8), maskSigns)
			d.ins("VPADDW", ymm(signBit), ymm(values), maskSigns, ymm(values))
			d.ins("VMOVDQU", ymm(values), at(sinkAt, 2*first))
			continue
		}
		l.load(d, first, tableScaled, where)
		if d.wide() {
			d.ins("KMOVW", at(base, place+first/8), maskSigns)
			d.ins("VPXORD", zmm(signBit), zmm(values), maskSigns, zmm(values))
		} else {
			d.ins("VPBROADCASTB", at(base, place+first/8), ymm(signs))
			d.ins("VPSLLVD", ymm(signShifts), ymm(signs), ymm(signs))
			d.ins("VPAND", ymm(signBit), ymm(signs), ymm(signs))
			d.ins("VPXOR", ymm(signs), ymm(values), ymm(values))
		}
		d.store(values, first)
	}
}

// scaleLevels puts the levels times scale g into tableScaled.
func (d *decoderWriter) scaleLevels(g int) {
	if d.wide() {
		d.ins("VMULPS.BCST", at(stack, scalesAt+4*g), zmm(tableLevels), zmm(tableScaled))
		d.roundTable()
		return
	}
	d.ins("VBROADCASTSS", at(stack, scalesAt+4*g), ymm(tableScaled))
	d.ins("VMULPS", ymm(tableLevels), ymm(tableScaled), ymm(tableScaled))
}

// scalesPlusHalf stores d·(s + 1/2)·factor for the eight integers s of a register.
func (d *decoderWriter) scalesPlusHalf(integers, g int, factor string) {
	d.ins("VCVTDQ2PS", ymm(integers), ymm(integers))
	d.ins("VADDPS", static("half"), ymm(integers), ymm(integers))
	d.ins("VMULPS", ymm(blockScale), ymm(integers), ymm(integers))
	d.ins("VMULPS", static(factor), ymm(integers), ymm(integers))
	d.ins("VMOVUPS", ymm(integers), at(stack, scalesAt+4*g))
}

// oddScales stores d·(2·s + 1) for the eight integers s of a register.
func (d *decoderWriter) oddScales(integers, g int) {
	d.ins("VPADDD", ymm(integers), ymm(integers), ymm(integers))
	d.ins("VPSUBD", static("minusOnes"), ymm(integers), ymm(integers))
	d.ins("VCVTDQ2PS", ymm(integers), ymm(integers))
	d.ins("VMULPS", ymm(blockScale), ymm(integers), ymm(integers))
	d.ins("VMOVUPS", ymm(integers), at(stack, scalesAt+4*g))
}

// unpackedScales is the register of scales that nibbleScales unpacks.
const unpackedScales = 0

// nibbleScales unpacks the nibbles of so many bytes, in order, to bytes of unpackedScales.
func (d *decoderWriter) nibbleScales(place, bytes int) {
	const scales, upper = unpackedScales, 1
	if bytes == 8 {
		d.ins("VMOVQ", at(encodedAt, place), xmm(scales))
	} else {
		d.ins("VMOVD", at(encodedAt, place), xmm(scales))
	}
	d.ins("VPSRLW", "$4", xmm(scales), xmm(upper))
	d.ins("VPAND", static("lowNibbles"), xmm(scales), xmm(scales))
	d.ins("VPAND", static("lowNibbles"), xmm(upper), xmm(upper))
	d.ins("VPUNPCKLBW", xmm(upper), xmm(scales), xmm(scales))
}

// nibbleScalesPlusHalf is scalesPlusHalf of sixteen scales in the nibbles of 8 bytes.
func (d *decoderWriter) nibbleScalesPlusHalf(place int) {
	const scales, integers = unpackedScales, 2
	d.nibbleScales(place, 8)
	for g := 0; g < 16; g += 8 {
		d.ins("VPMOVZXBD", xmm(scales), ymm(integers))
		d.scalesPlusHalf(integers, g, "quarter")
		if g == 0 {
			d.ins("VPSRLDQ", "$8", xmm(scales), xmm(scales))
		}
	}
}

// signBytes is the register of signs that completeSigns completes.
const signBytes = 0

// completeSigns sets bit 7 of each byte of signBytes to the parity of the seven others, and
// stores them.
func (d *decoderWriter) completeSigns() {
	const signs, parity, spare = signBytes, 1, 2
	d.ins("VPSRLW", "$4", ymm(signs), ymm(parity))
	d.ins("VPXOR", ymm(signs), ymm(parity), ymm(parity))
	for _, n := range []int{2, 1} {
		d.ins("VPSRLW", number(n), ymm(parity), ymm(spare))
		d.ins("VPXOR", ymm(spare), ymm(parity), ymm(parity))
	}
	d.ins("VPSLLW", "$7", ymm(parity), ymm(parity))
	d.ins("VPAND", static("bytes128"), ymm(parity), ymm(parity))
	d.ins("VPOR", ymm(parity), ymm(signs), ymm(signs))
	d.ins("VMOVDQU", ymm(signs), at(stack, signsAt))
}

// groupWords is the register of the words that signsAndScales takes.
const groupWords = 0

// signsAndScales takes the words of eight groups: four times 7 signs from bit 0 and a scale
// from bit 28.
func (d *decoderWriter) signsAndScales(factor string) {
	const words, numbers, spare = groupWords, 1, 2
	d.ins("VPSRLD", "$28", ymm(words), ymm(numbers))
	d.scalesPlusHalf(numbers, 0, factor)
	spread := func(from, to, shift int, low, high string) {
		d.ins("VPSLLD", number(shift), ymm(from), ymm(spare))
		d.ins("VPAND", static(low), ymm(from), ymm(to))
		d.ins("VPAND", static(high), ymm(spare), ymm(spare))
		d.ins("VPOR", ymm(spare), ymm(to), ymm(to))
	}
	spread(words, numbers, 2, "bits14", "upperBits14")
	spread(numbers, signBytes, 1, "bits7", "upperBits7")
	d.completeSigns()
}

func decodeIQ2XXS(d *decoderWriter) {
	d.float16(at(encodedAt, 0), blockScale)
	d.ins("VMOVUPS", at(encodedAt, 2), ymm(groupWords))
	d.ins("VSHUFPS", "$0xdd", at(encodedAt, 34), ymm(groupWords), ymm(groupWords)+" // the odd words of groups 0 1 4 5, 2 3 6 7")
	d.ins("VPERMQ", "$0xd8", ymm(groupWords), ymm(groupWords))
	d.signsAndScales("quarter")
	for g := range 8 {
		d.scaleLevels(g)
		indices := bytesAt(2 + 8*g - 4*g) // point 4g is the first of group g
		iq2XXS.signed(d, 32*g, 32*g+32, indices, stack, signsAt)
	}
}

func decodeIQ3XXS(d *decoderWriter) {
	d.float16(at(encodedAt, 0), blockScale)
	d.ins("VMOVDQU", at(encodedAt, 66), ymm(groupWords))
	d.signsAndScales("half")
	for g := range 8 {
		d.scaleLevels(g)
		iq3XXS.signed(d, 32*g, 32*g+32, bytesAt(2), stack, signsAt)
	}
}

func decodeIQ2XS(d *decoderWriter) {
	const indices, words = signBytes, 6 // words, to 7: an index and 7 signs
	d.float16(at(encodedAt, 0), blockScale)
	d.nibbleScalesPlusHalf(66)
	for i := range 2 {
		d.ins("VMOVDQU", at(encodedAt, 2+32*i), ymm(words+i))
		d.ins("VPAND", static("bits9"), ymm(words+i), ymm(indices))
		d.ins("VMOVDQU", ymm(indices), at(stack, 32*i))
		d.ins("VPSRLW", "$9", ymm(words+i), ymm(words+i))
	}
	d.ins("VPACKUSWB", ymm(words+1), ymm(words), ymm(signBytes))
	d.ins("VPERMQ", "$0xd8", ymm(signBytes), ymm(signBytes))
	d.completeSigns()
	for g := range 16 {
		d.scaleLevels(g)
		iq2XS.signed(d, 16*g, 16*g+16, indexWords, stack, signsAt)
	}
}

// highBits is the register of the high bits of indices, a word for each.
const highBits = 0

// joinIndices stores the bytes from low on with the high bits on top of them, as indices from
// i on.
func (d *decoderWriter) joinIndices(low, i int) {
	const lowBytes = 1
	d.ins("VPMOVZXBW", at(encodedAt, low), ymm(lowBytes))
	d.ins("VPOR", ymm(lowBytes), ymm(highBits), ymm(highBits))
	d.ins("VMOVDQU", ymm(highBits), at(stack, 2*i))
}

func decodeIQ2S(d *decoderWriter) {
	d.float16(at(encodedAt, 0), blockScale)
	d.nibbleScalesPlusHalf(74)
	for i := 0; i < 32; i += 16 {
		d.ins("VPBROADCASTD", at(encodedAt, 66+i/4), ymm(highBits))
		d.ins("VPSHUFB", static("eightCopies"), ymm(highBits), ymm(highBits))
		d.ins("VPMULLW", static("pairsToTop"), ymm(highBits), ymm(highBits))
		d.ins("VPSRLW", "$14", ymm(highBits), ymm(highBits))
		d.ins("VPSLLW", "$8", ymm(highBits), ymm(highBits))
		d.joinIndices(2+i, i)
	}
	for g := range 16 {
		d.scaleLevels(g)
		iq2S.signed(d, 16*g, 16*g+16, indexWords, encodedAt, 34)
	}
}

func decodeIQ3S(d *decoderWriter) {
	d.float16(at(encodedAt, 0), blockScale)
	d.nibbleScales(106, 4)
	d.ins("VPMOVZXBD", xmm(unpackedScales), ymm(unpackedScales))
	d.oddScales(unpackedScales, 0)
	for i := 0; i < 64; i += 16 {
		d.ins("VPBROADCASTW", at(encodedAt, 66+i/8), ymm(highBits))
		d.ins("VPSHUFB", static("byteCopies"), ymm(highBits), ymm(highBits))
		d.ins("VPAND", static("bitOfWord"), ymm(highBits), ymm(highBits))
		d.ins("VPCMPEQW", static("bitOfWord"), ymm(highBits), ymm(highBits))
		d.ins("VPAND", static("ninthBits"), ymm(highBits), ymm(highBits))
		d.joinIndices(2+i, i)
	}
	for g := range 8 {
		d.scaleLevels(g)
		iq3S.signed(d, 32*g, 32*g+32, indexWords, encodedAt, 74)
	}
}

// triples moves bit triple i%4 of word i of highBits to bits from place.
func (d *decoderWriter) triples(place int) {
	d.ins("VPMULLW", static("triplesToTop"), ymm(highBits), ymm(highBits))
	d.ins("VPSRLW", "$13", ymm(highBits), ymm(highBits))
	if place > 0 {
		d.ins("VPSLLW", number(place), ymm(highBits), ymm(highBits))
	}
}

func decodeIQ1S(d *decoderWriter) {
	const words, shifts, moved = 0, 1, 1 // moved: levels
	d.float16(at(encodedAt, 0), blockScale)
	d.ins("VPMOVZXWD", at(encodedAt, 34), ymm(words))
	d.ins("VPSLLD", "$16", ymm(words), ymm(shifts))
	d.ins("VPAND", static("signBit"), ymm(shifts), ymm(shifts))
	d.ins("VPXOR", static("eighth"), ymm(shifts), ymm(shifts))
	d.ins("VMOVUPS", ymm(shifts), at(stack, shiftsAt))
	d.ins("VPSRLD", "$12", ymm(words), ymm(words))
	d.ins("VPAND", static("bits3"), ymm(words), ymm(words))
	d.oddScales(words, 0)
	for i := 0; i < 32; i += 16 {
		d.ins("VPBROADCASTQ", at(encodedAt, 34+i/2), ymm(highBits))
		d.ins("VPSHUFB", static("fourCopies"), ymm(highBits), ymm(highBits))
		d.triples(8)
		d.joinIndices(2+i, i)
	}
	for g := range 8 {
		d.ins("VBROADCASTSS", at(stack, shiftsAt+4*g), d.v(moved))
		d.ins("VADDPS", d.v(tableLevels), d.v(moved), d.v(moved))
		d.ins("VBROADCASTSS", at(stack, scalesAt+4*g), d.v(tableScaled))
		d.ins("VMULPS", d.v(moved), d.v(tableScaled), d.v(tableScaled))
		d.roundTable()
		for first := 32 * g; first < 32*g+32; first += d.lanes {
			if d.words() {
				iq1.loadWords(d, first, indexWords)
				d.ins("VMOVDQU", ymm(values), at(sinkAt, 2*first))
				continue
			}
			iq1.load(d, first, tableScaled, indexWords)
			d.store(values, first)
		}
	}
}

func decodeIQ1M(d *decoderWriter) {
	const quarters, others = "R8", "R9" // of the scale
	d.ins("MOVQ", "$0x000f000f000f000f", others)
	d.ins("MOVQ", at(encodedAt, 48), quarters)
	d.ins("SHRQ", "$12", quarters)
	d.ins("ANDQ", others, quarters+" // the quarters of d, 16 bits apart")
	d.ins("MOVQ", quarters, others)
	d.ins("SHRQ", "$12", others)
	d.ins("ORQ", others, quarters+" // pairs of them")
	d.ins("MOVQ", quarters, others)
	d.ins("SHRQ", "$24", others)
	d.ins("ANDL", "$0xff00", others)
	d.ins("ANDL", "$0xff", quarters)
	d.ins("ORL", others, quarters)
	d.ins("VMOVD", quarters, xmm(blockScale))
	d.ins("VCVTPH2PS", xmm(blockScale), xmm(blockScale))
	d.ins("VBROADCASTSS", xmm(blockScale), d.v(blockScale))

	const scales = highBits // and the register after it
	d.ins("VPBROADCASTQ", at(encodedAt, 48), ymm(scales))
	d.ins("VPERMQ", "$0x00", ymm(scales), ymm(scales))
	d.ins("VPSHUFB", static("fourCopies"), ymm(scales), ymm(scales))
	d.triples(0)
	d.ins("VEXTRACTI128", "$1", ymm(scales), xmm(scales+1))
	for i := range 2 {
		d.ins("VPMOVZXWD", xmm(scales+i), ymm(scales+i))
		d.oddScales(scales+i, 8*i)
	}
	d.highNibbles()
	for i := 0; i < 32; i += 16 {
		nibbles := qh + i/16
		d.ins("VPMOVZXBW", xmm(nibbles), ymm(highBits))
		d.ins("VPSLLW", "$8", ymm(highBits), ymm(highBits))
		d.ins("VPAND", static("highBits3"), ymm(highBits), ymm(highBits))
		d.joinIndices(i, i)
		const shifts = 0
		for j := i; j < i+16; j += 8 {
			d.ins("VPMOVZXBD", xmm(nibbles), ymm(shifts))
			d.ins("VPSLLD", "$28", ymm(shifts), ymm(shifts))
			d.ins("VPAND", static("signBit"), ymm(shifts), ymm(shifts))
			d.ins("VPXOR", static("eighth"), ymm(shifts), ymm(shifts))
			d.ins("VMOVUPS", ymm(shifts), at(stack, shiftsAt+4*j))
			if j == i {
				d.ins("VPSRLDQ", "$8", xmm(nibbles), xmm(nibbles))
			}
		}
	}
	for first := 0; first < 256; first += d.lanes {
		iq1.load(d, first, tableLevels, indexWords)
		shift, scale := shiftsAt+first/8*4, scalesAt+first/16*4
		if d.wide() {
			d.ins("VADDPS.BCST", at(stack, shift), zmm(values), zmm(values2))
			d.ins("VADDPS.BCST", at(stack, shift+4), zmm(values), maskSecondPoint, zmm(values2))
			d.ins("VMULPS.BCST", at(stack, scale), zmm(values2), zmm(values))
		} else {
			d.ins("VBROADCASTSS", at(stack, shift), ymm(values2))
			d.ins("VADDPS", ymm(values2), ymm(values), ymm(values))
			d.ins("VBROADCASTSS", at(stack, scale), ymm(values2))
			d.ins("VMULPS", ymm(values2), ymm(values), ymm(values))
		}
		d.store(values, first)
	}
}

// qh is the register of the high bits and shifts of IQ1_M, and the one after it.
const qh = 6

// highNibbles unpacks them, in order, to bytes.
func (d *decoderWriter) highNibbles() {
	const low, high = 0, 1
	d.ins("VMOVDQU", at(encodedAt, 32), xmm(low))
	d.ins("VPSRLW", "$4", xmm(low), xmm(high))
	d.ins("VPAND", static("lowNibbles"), xmm(low), xmm(low))
	d.ins("VPAND", static("lowNibbles"), xmm(high), xmm(high))
	d.ins("VPUNPCKLBW", xmm(high), xmm(low), xmm(qh))
	d.ins("VPUNPCKHBW", xmm(high), xmm(low), xmm(qh+1))
}
