package main

import "qtool/internal/ggml"

// Encoders of the formats of three levels, whose scale is the greatest magnitude. An element
// is at a level other than 0 if its product with the inverse of the scale is at least a half.
// Vectors of 256 bits are enough to wait for memory, so both tiers with assembly have these.
// Registers are those of the other encoders, and of vectors
const (
	ternaryX = 0 // elements at hand
	// Where these are at the lowest and at the highest level, all bits are set.
	ternaryLowest, ternaryHighest = 0, 1
	ternarySums                   = 2 // of digits, up to 6; a block's first sum is the result
	ternarySpare                  = 7
	ternaryMagnitudes             = 4 // to 7: the greatest ones of each lane

	// From float16: the greatest magnitude at level 0, and minus it.
	ternaryInside, ternaryMinus = 8, 9
	// From float32: the inverse of the scale, a half, and minus a half.
	ternaryInverse, ternaryHalf, ternaryMinusHalf = encodeInverse, 12, 13
)

// stackInside holds the greatest magnitude at level 0 of each block of a batch.
const stackInside = stackLow

// A ternaryEncoding is the layout of one format.
type ternaryEncoding struct {
	blocks
	lowest int // the predicate of the lowest level: products with an infinite inverse are no numbers
	pack   func(t *ternaryWriter)
}

// notAbove is atMost, or that there is no number.
const notAbove = 26

var ternaryEncodings = []ternaryEncoding{
	{blocksOf(ggml.TQ1_0), atMost, (*ternaryWriter).packFractions},
	{blocksOf(ggml.TQ2_0), atMost, (*ternaryWriter).packDistantPairs},
	{blocksOf(ggml.Q2_0), notAbove, (*ternaryWriter).packPairs},
}

// Constants of 16 words. While digits are summed up they are -1, 0 and 1.
var ternaryVectors = []vector{
	{"middlePairs", words(func(int) uint16 { return 0b01010101 })},
	{"joinTwo", words(func(i int) uint16 { return [2]uint16{1, 4}[i%2] })},
	{"joinFour", words(func(i int) uint16 { return [2]uint16{1, 16}[i%2] })},
	// 256 times five digits of 1, and what rounds up.
	{"middleFraction", words(func(int) uint16 { return 256*121 + 242 })},
	// The high word of a product is 2^7 times the quotient by 243, for each fraction there is.
	{"divide243", words(func(int) uint16 { return 1<<23/243 + 1 })},
}

// A ternaryWriter prints the encoders of one format.
type ternaryWriter struct {
	*batchWriter
	ternaryEncoding
	words bool // from float16, else from float32
}

// fewLevels are the formats of two and three levels.
func fewLevels() []string {
	names := []string{signBlocks.name}
	for _, d := range ternaryEncodings {
		names = append(names, d.name)
	}
	return names
}

// emitFewLevels prints their encoders.
func emitFewLevels(w *writer) {
	printVectors(w, ternaryVectors)
	b := &batchWriter{&encodeWriter{w, "AVX2", "Y", 8}, fromFloat16}
	for _, d := range ternaryEncodings {
		(&ternaryWriter{b, d, false}).fromFloats()
		(&ternaryWriter{b, d, true}).fromWords()
	}
	(&signWriter{b, false}).fromFloats()
	(&signWriter{b, true}).fromWords()
}

func (t *ternaryWriter) fromFloats() {
	t.encodeWriter.begin(t.name, "blocks", 0)
	t.constant(1<<31-1, constMagnitude)
	t.float(0.5, ternaryHalf)
	t.float(-0.5, ternaryMinusHalf)
	t.loop(1, func() {
		for i := range t.elements / t.lanes {
			greatest := ymm(ternaryMagnitudes + i%4)
			if i < 4 {
				t.ins("VANDPS", at(elementsAt, 32*i), ymm(constMagnitude), greatest)
				continue
			}
			t.ins("VANDPS", at(elementsAt, 32*i), ymm(constMagnitude), ymm(ternaryX))
			t.ins("VMAXPS", ymm(ternaryX), greatest, greatest)
		}
		t.reduce("VMAXPS", ternaryMagnitudes, encodeScale, ternaryInverse)
		t.scaleAndInverse(scaleOf(t.typ))
		t.ins("VXORPS", xmm(ternaryX), xmm(ternaryX), xmm(ternaryX))
		t.ins("VFMADD213PS", ymm(ternaryInverse), ymm(ternaryX), ymm(ternaryInverse)+" // infinity is no number any more")
		t.pack(t)
		t.ins("ADDQ", number(4*t.elements), elementsAt)
		t.ins("ADDQ", number(t.bytes), blockAt)
	})
}

func (t *ternaryWriter) fromWords() {
	t.begin(t.name, "blocks", stackBytes)
	t.batches(2*t.elements, t.bytes, func() {
		for i := range t.elements / 16 {
			greatest := ymm(ternaryMagnitudes + i%4)
			if i < 4 {
				t.ins("VPAND", at(batchAt, 32*i), ymm(batchMask), greatest)
				continue
			}
			t.ins("VPAND", at(batchAt, 32*i), ymm(batchMask), ymm(ternaryX))
			t.ins("VPMAXUW", ymm(ternaryX), greatest, greatest)
		}
		t.ins("VPMAXUW", ymm(ternaryMagnitudes+1), ymm(ternaryMagnitudes), ymm(ternaryMagnitudes))
		t.ins("VPMAXUW", ymm(ternaryMagnitudes+3), ymm(ternaryMagnitudes+2), ymm(ternaryMagnitudes+2))
		t.ins("VPMAXUW", ymm(ternaryMagnitudes+2), ymm(ternaryMagnitudes), ymm(surveyLeast))
		t.fold("VPMAXUW", surveyLeast)
		t.ins("VPXOR", xmm(batchMask), xmm(surveyLeast), xmm(surveyLeast))
		t.least()
		t.ins("VPEXTRW", "$0", xmm(surveyLeast), wordOf(stackExtreme))
	}, func() {
		for first := 0; first < 16; first += 8 {
			t.limits(first)
		}
	}, func() {
		t.ins("VPBROADCASTW", wordOf(stackInside), ymm(ternaryInside))
		t.ins("VPXOR", ymm(ternaryMinus), ymm(ternaryMinus), ymm(ternaryMinus))
		t.ins("VPSUBW", ymm(ternaryInside), ymm(ternaryMinus), ymm(ternaryMinus))
		t.store(stackScale, scaleOf(t.typ))
		t.pack(t)
	})
	t.end()
}

// limits keeps the scales of 8 blocks from first on, and the greatest magnitudes at level 0.
// Below half a scale no product is a half, above it all are, and at it one may be rounded to
// less.
func (t *ternaryWriter) limits(first int) {
	const inside = 3
	t.ins("VPXOR", at(stack, stackExtreme+2*first), xmm(batchMask), xmm(scalesX))
	t.ins("VMOVDQU", xmm(scalesX), at(stack, stackScale+2*first))
	t.ins("VCVTPH2PS", xmm(scalesX), ymm(scalesX))
	t.ins("VXORPS", xmm(scalesSpare), xmm(scalesSpare), xmm(scalesSpare))
	t.ins("VCMPPS", number(notEqual), ymm(scalesSpare), ymm(scalesX), ymm(scalesSpare))
	t.float(1, scalesInverse)
	t.ins("VDIVPS", ymm(scalesX), ymm(scalesInverse), ymm(scalesInverse))
	t.ins("VANDPS", ymm(scalesSpare), ymm(scalesInverse), ymm(scalesInverse))
	t.float(0.5, scalesSpare)
	t.ins("VMULPS", ymm(scalesSpare), ymm(scalesX), ymm(scalesX))
	t.ins("VCVTPS2PH", "$2", ymm(scalesX), xmm(inside)+" // the next one up")
	t.ins("VCVTPH2PS", xmm(inside), ymm(scalesX))
	t.ins("VMULPS", ymm(scalesInverse), ymm(scalesX), ymm(scalesX))
	t.ins("VCMPPS", number(atLeast), ymm(scalesSpare), ymm(scalesX), ymm(scalesX))
	t.ins("VEXTRACTI128", "$1", ymm(scalesX), xmm(scalesSpare))
	t.ins("VPACKSSDW", xmm(scalesSpare), xmm(scalesX), xmm(scalesX))
	t.ins("VPADDW", xmm(scalesX), xmm(inside), xmm(inside))
	t.ins("VMOVDQU", xmm(inside), at(stack, stackInside+2*first))
}

// classify sets all bits of ternaryHighest where the elements from first on are at the highest
// level, and of ternaryLowest where at the lowest.
func (t *ternaryWriter) classify(first int) {
	if t.words {
		t.ins("VMOVDQU", at(batchAt, 2*first), ymm(ternaryX))
		t.ins("VPAND", ymm(batchMask), ymm(ternaryX), ymm(ternaryHighest))
		t.ins("VPSIGNW", ymm(ternaryX), ymm(ternaryHighest), ymm(ternaryX))
		t.ins("VPCMPGTW", ymm(ternaryInside), ymm(ternaryX), ymm(ternaryHighest))
		t.ins("VPCMPGTW", ymm(ternaryX), ymm(ternaryMinus), ymm(ternaryLowest))
		return
	}
	t.ins("VMULPS", at(elementsAt, 4*first), ymm(ternaryInverse), ymm(ternaryX))
	t.ins("VCMPPS", number(atLeast), ymm(ternaryHalf), ymm(ternaryX), ymm(ternaryHighest))
	t.ins("VCMPPS", number(t.lowest), ymm(ternaryMinusHalf), ymm(ternaryX), ymm(ternaryLowest))
}

// digits puts numbers to a base into the 16 words of a vector: word i has the digits of the
// elements i after those of first, the highest one first. From float32, it takes the vector
// after it, too.
func (t *ternaryWriter) digits(to, base int, first ...int) {
	lanes, kind := 8, "D"
	if t.words {
		lanes, kind = 16, "W"
	}
	for vector := range 16 / lanes {
		sum := to + vector
		for i, x := range first {
			t.classify(x + lanes*vector)
			if i == 0 {
				t.ins("VPSUB"+kind, ymm(ternaryHighest), ymm(ternaryLowest), ymm(sum))
				continue
			}
			t.shift(kind, ymm, sum, base)
			t.ins("VPSUB"+kind, ymm(ternaryHighest), ymm(sum), ymm(sum))
			t.ins("VPADD"+kind, ymm(ternaryLowest), ymm(sum), ymm(sum))
		}
	}
	if !t.words {
		t.ins("VPACKSSDW", ymm(to+1), ymm(to), ymm(to))
		t.ins("VPERMQ", "$0xd8", ymm(to), ymm(to))
	}
}

// shift multiplies the numbers of a vector of a width by the base, 3 or 4.
func (t *ternaryWriter) shift(kind string, width func(i int) string, sum, base int) {
	numbers, spare := width(sum), width(ternarySpare)
	if base == 4 {
		t.ins("VPSLL"+kind, "$2", numbers, numbers)
		return
	}
	t.ins("VPADD"+kind, numbers, numbers, spare)
	t.ins("VPADD"+kind, spare, numbers, numbers)
}

// bytes32 makes bytes of the words of two vectors, in the first one.
func (t *ternaryWriter) bytes32(a, b int) {
	t.ins("VPACKUSWB", ymm(b), ymm(a), ymm(a))
	t.ins("VPERMQ", "$0xd8", ymm(a), ymm(a))
}

// packDistantPairs packs four elements that lie 32 apart into a byte.
func (t *ternaryWriter) packDistantPairs() {
	for group := 0; group < 256; group += 128 {
		for c := range 2 {
			first, sum := group+16*c, ternarySums+2*c
			t.digits(sum, 4, first+96, first+64, first+32, first)
			t.ins("VPADDW", static("middlePairs"), ymm(sum), ymm(sum))
		}
		t.bytes32(ternarySums, ternarySums+2)
		t.ins("VMOVDQU", ymm(ternarySums), at(blockAt, group/4))
	}
}

// packFractions packs five elements that lie 32, then 16 apart into a byte, and four that lie
// 4 apart.
func (t *ternaryWriter) packFractions() {
	const sum, next = ternarySums, ternarySums + 1
	for c := range 2 {
		t.digits(sum+2*c, 3, 16*c, 16*c+32, 16*c+64, 16*c+96, 16*c+128)
		t.fractions(ymm, sum+2*c)
	}
	t.bytes32(sum, sum+2)
	t.ins("VMOVDQU", ymm(sum), in(blockAt))
	t.digits(sum, 3, 160, 176, 192, 208, 224)
	t.fractions(ymm, sum)
	t.bytes32(sum, sum)
	t.ins("VMOVDQU", xmm(sum), at(blockAt, 32))

	t.digits(sum, 3, 240) // four digits of four numbers
	t.ins("VEXTRACTI128", "$1", ymm(sum), xmm(next))
	t.shift("W", xmm, sum, 3)
	t.shift("W", xmm, sum, 3)
	t.ins("VPADDW", xmm(next), xmm(sum), xmm(sum))
	t.ins("VPSRLDQ", "$8", xmm(sum), xmm(next))
	t.shift("W", xmm, sum, 3)
	t.ins("VPADDW", xmm(next), xmm(sum), xmm(sum))
	t.shift("W", xmm, sum, 3)
	t.ins("VPCMPEQW", xmm(next), xmm(next), xmm(next))
	t.ins("VPADDW", xmm(next), xmm(sum), xmm(sum))
	t.fractions(xmm, sum)
	t.ins("VPACKUSWB", xmm(sum), xmm(sum), xmm(sum))
	t.ins("VMOVD", xmm(sum), at(blockAt, 48))
}

// fractions makes fractions of 256 of numbers of five digits.
func (t *ternaryWriter) fractions(width func(i int) string, n int) {
	numbers := width(n)
	t.ins("VPSLLW", "$8", numbers, numbers)
	t.ins("VPADDW", static("middleFraction"), numbers, numbers)
	t.ins("VPMULHUW", static("divide243"), numbers, numbers)
	t.ins("VPSRLW", "$7", numbers, numbers)
}

// packPairs packs elements that follow each other.
func (t *ternaryWriter) packPairs() {
	for c := 0; c < 4; c += 2 {
		sum := ternarySums + c
		for i := range 2 {
			t.digits(sum+i, 4, 16*(c+i))
			t.ins("VPMADDWD", static("joinTwo"), ymm(sum+i), ymm(sum+i))
		}
		t.ins("VPACKSSDW", ymm(sum+1), ymm(sum), ymm(sum))
		t.ins("VPMADDWD", static("joinFour"), ymm(sum), ymm(sum))
	}
	t.ins("VPACKSSDW", ymm(ternarySums+2), ymm(ternarySums), ymm(ternarySums))
	t.ins("VPADDW", static("middlePairs"), ymm(ternarySums), ymm(ternarySums))
	t.ins("VPACKUSWB", ymm(ternarySums), ymm(ternarySums), ymm(ternarySums)+" // of bytes, 0 1 4 5 8 9 12 13 in one half, the others in the other")
	t.ins("VEXTRACTI128", "$1", ymm(ternarySums), xmm(ternarySums+1))
	t.ins("VPUNPCKLWD", xmm(ternarySums+1), xmm(ternarySums), xmm(ternarySums))
	t.ins("VMOVDQU", xmm(ternarySums), at(blockAt, 2))
}
