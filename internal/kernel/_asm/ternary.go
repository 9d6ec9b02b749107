package main

import "qtool/internal/ggml"

// Encoders of the formats of three levels, whose scale is the greatest size. An element is
// at a level other than 0 if its product with the inverse of the scale is at least a half.
// Vectors of 256 bits are enough to wait for memory, so both tiers with assembly have these.
//
// Pointers are those of the other encoders. Vectors: 0, 1 and 7 for what is at hand, 2 to 6
// for sums of digits, and
const (
	// of float16, the greatest magnitude at level 0, and minus it;
	ternaryInside, ternaryMinus = 8, 9
	// of float32, the inverse of the scale, a half, and minus a half.
	ternaryInverse, ternaryHalf, ternaryMinusHalf = 9, 12, 13
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

// A ternaryWriter prints the encoders of one format, from float16 or from float32.
type ternaryWriter struct {
	*batchWriter
	ternaryEncoding
	words bool
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
			size := 4 + i%4
			if i < 4 {
				t.op("VANDPS %d(SI), Y%d, Y%d", 32*i, constMagnitude, size)
				continue
			}
			t.op("VANDPS %d(SI), Y%d, Y0", 32*i, constMagnitude)
			t.op("VMAXPS Y0, Y%[1]d, Y%[1]d", size)
		}
		t.reduce("VMAXPS", 4, 8, ternaryInverse)
		t.scaleAndInverse(scaleOf(t.typ))
		t.op("VXORPS X0, X0, X0")
		t.op("VFMADD213PS Y%[1]d, Y0, Y%[1]d // infinity is no number any more", ternaryInverse)
		t.pack(t)
		t.op("ADDQ $%d, SI", 4*t.elements)
		t.op("ADDQ $%d, DI", t.bytes)
	})
}

func (t *ternaryWriter) fromWords() {
	t.begin(t.name, "blocks", stackBytes)
	t.batches(2*t.elements, t.bytes, func() {
		for i := range t.elements / 16 {
			size := 4 + i%4
			if i < 4 {
				t.op("VPAND %d(R11), Y%d, Y%d", 32*i, batchMask, size)
				continue
			}
			t.op("VPAND %d(R11), Y%d, Y0", 32*i, batchMask)
			t.op("VPMAXUW Y0, Y%[1]d, Y%[1]d", size)
		}
		t.op("VPMAXUW Y5, Y4, Y4")
		t.op("VPMAXUW Y7, Y6, Y6")
		t.op("VPMAXUW Y6, Y4, Y2")
		t.fold("VPMAXUW", 2)
		t.op("VPXOR X%d, X2, X2", batchMask)
		t.least()
		t.op("VPEXTRW $0, X2, %d(SP)(R10*2)", stackExtreme)
	}, func() {
		for at := 0; at < 16; at += 8 {
			t.limits(at)
		}
	}, func() {
		t.op("VPBROADCASTW %d(SP)(R10*2), Y%d", stackInside, ternaryInside)
		t.op("VPXOR Y%[1]d, Y%[1]d, Y%[1]d", ternaryMinus)
		t.op("VPSUBW Y%d, Y%[2]d, Y%[2]d", ternaryInside, ternaryMinus)
		t.store(stackScale, scaleOf(t.typ))
		t.pack(t)
	})
	t.end()
}

// limits keeps the scales of 8 blocks, and the greatest magnitudes at level 0. Below half a scale
// no product is a half, above it all are, and at it one may be rounded to less.
func (t *ternaryWriter) limits(at int) {
	t.op("VPXOR %d(SP), X%d, X0", stackExtreme+2*at, batchMask)
	t.op("VMOVDQU X0, %d(SP)", stackScale+2*at)
	t.op("VCVTPH2PS X0, Y0")
	t.op("VXORPS X1, X1, X1")
	t.op("VCMPPS $%d, Y1, Y0, Y1", notEqual)
	t.float(1, 2)
	t.op("VDIVPS Y0, Y2, Y2")
	t.op("VANDPS Y1, Y2, Y2")
	t.float(0.5, 1)
	t.op("VMULPS Y1, Y0, Y0")
	t.op("VCVTPS2PH $2, Y0, X3 // the next one up")
	t.op("VCVTPH2PS X3, Y0")
	t.op("VMULPS Y2, Y0, Y0")
	t.op("VCMPPS $%d, Y1, Y0, Y0", atLeast)
	t.op("VEXTRACTI128 $1, Y0, X1")
	t.op("VPACKSSDW X1, X0, X0")
	t.op("VPADDW X0, X3, X3")
	t.op("VMOVDQU X3, %d(SP)", stackInside+2*at)
}

// classify sets all bits of Y1 where the elements from first on are at the highest level, and of
// Y0 where at the lowest.
func (t *ternaryWriter) classify(first int) {
	if t.words {
		t.op("VMOVDQU %d(R11), Y0", 2*first)
		t.op("VPAND Y%d, Y0, Y1", batchMask)
		t.op("VPSIGNW Y0, Y1, Y0")
		t.op("VPCMPGTW Y%d, Y0, Y1", ternaryInside)
		t.op("VPCMPGTW Y0, Y%d, Y0", ternaryMinus)
		return
	}
	t.op("VMULPS %d(SI), Y%d, Y0", 4*first, ternaryInverse)
	t.op("VCMPPS $%d, Y%d, Y0, Y1", atLeast, ternaryHalf)
	t.op("VCMPPS $%d, Y%d, Y0, Y0", t.lowest, ternaryMinusHalf)
}

// digits puts numbers to a base into the 16 words of Y(to): word i has the digits of the elements
// i after those of first, the highest one first. Of float32, it takes the register after it, too.
func (t *ternaryWriter) digits(to, base int, first ...int) {
	lanes, kind := 8, "D"
	if t.words {
		lanes, kind = 16, "W"
	}
	for part := range 16 / lanes {
		sum := to + part
		for i, at := range first {
			t.classify(at + lanes*part)
			if i == 0 {
				t.op("VPSUB%s Y1, Y0, Y%d", kind, sum)
				continue
			}
			t.shift(kind, "Y", sum, base)
			t.op("VPSUB%s Y1, Y%[2]d, Y%[2]d", kind, sum)
			t.op("VPADD%s Y0, Y%[2]d, Y%[2]d", kind, sum)
		}
	}
	if !t.words {
		t.op("VPACKSSDW Y%d, Y%[2]d, Y%[2]d", to+1, to)
		t.op("VPERMQ $0xd8, Y%[1]d, Y%[1]d", to)
	}
}

// shift multiplies by the base, 3 or 4.
func (t *ternaryWriter) shift(kind, width string, sum, base int) {
	if base == 4 {
		t.op("VPSLL%s $2, %s%[3]d, %[2]s%[3]d", kind, width, sum)
		return
	}
	t.op("VPADD%s %[2]s%[3]d, %[2]s%[3]d, %[2]s7", kind, width, sum)
	t.op("VPADD%s %[2]s7, %[2]s%[3]d, %[2]s%[3]d", kind, width, sum)
}

// bytes32 makes bytes of the words of Y(a) and Y(b).
func (t *ternaryWriter) bytes32(a, b int) {
	t.op("VPACKUSWB Y%d, Y%[2]d, Y%[2]d", b, a)
	t.op("VPERMQ $0xd8, Y%[1]d, Y%[1]d", a)
}

// packDistantPairs packs elements 32 apart, of each half.
func (t *ternaryWriter) packDistantPairs() {
	for half := 0; half < 256; half += 128 {
		for c := range 2 {
			at, sum := half+16*c, 2+2*c
			t.digits(sum, 4, at+96, at+64, at+32, at)
			t.op("VPADDW middlePairs<>(SB), Y%[1]d, Y%[1]d", sum)
		}
		t.bytes32(2, 4)
		t.op("VMOVDQU Y2, %d(DI)", half/4)
	}
}

// packFractions packs elements 32, 16 and 4 apart.
func (t *ternaryWriter) packFractions() {
	for c := range 2 {
		t.digits(2+2*c, 3, 16*c, 16*c+32, 16*c+64, 16*c+96, 16*c+128)
		t.fractions("Y", 2+2*c)
	}
	t.bytes32(2, 4)
	t.op("VMOVDQU Y2, (DI)")
	t.digits(2, 3, 160, 176, 192, 208, 224)
	t.fractions("Y", 2)
	t.bytes32(2, 2)
	t.op("VMOVDQU X2, 32(DI)")

	t.digits(2, 3, 240) // four digits of four numbers
	t.op("VEXTRACTI128 $1, Y2, X3")
	t.shift("W", "X", 2, 3)
	t.shift("W", "X", 2, 3)
	t.op("VPADDW X3, X2, X2")
	t.op("VPSRLDQ $8, X2, X3")
	t.shift("W", "X", 2, 3)
	t.op("VPADDW X3, X2, X2")
	t.shift("W", "X", 2, 3)
	t.op("VPCMPEQW X3, X3, X3")
	t.op("VPADDW X3, X2, X2")
	t.fractions("X", 2)
	t.op("VPACKUSWB X2, X2, X2")
	t.op("VMOVD X2, 48(DI)")
}

// fractions makes fractions of 256 of numbers of five digits.
func (t *ternaryWriter) fractions(width string, n int) {
	t.op("VPSLLW $8, %[1]s%[2]d, %[1]s%[2]d", width, n)
	t.op("VPADDW middleFraction<>(SB), %[1]s%[2]d, %[1]s%[2]d", width, n)
	t.op("VPMULHUW divide243<>(SB), %[1]s%[2]d, %[1]s%[2]d", width, n)
	t.op("VPSRLW $7, %[1]s%[2]d, %[1]s%[2]d", width, n)
}

// packPairs packs elements that follow each other.
func (t *ternaryWriter) packPairs() {
	for c := 0; c < 4; c += 2 {
		sum := 2 + c
		for i := range 2 {
			t.digits(sum+i, 4, 16*(c+i))
			t.op("VPMADDWD joinTwo<>(SB), Y%[1]d, Y%[1]d", sum+i)
		}
		t.op("VPACKSSDW Y%d, Y%[2]d, Y%[2]d", sum+1, sum)
		t.op("VPMADDWD joinFour<>(SB), Y%[1]d, Y%[1]d", sum)
	}
	t.op("VPACKSSDW Y4, Y2, Y2")
	t.op("VPADDW middlePairs<>(SB), Y2, Y2")
	t.op("VPACKUSWB Y2, Y2, Y2 // of bytes, 0 1 4 5 8 9 12 13 in one half, the others in the other")
	t.op("VEXTRACTI128 $1, Y2, X3")
	t.op("VPUNPCKLWD X3, X2, X2")
	t.op("VMOVDQU X2, 2(DI)")
}
