package main

import (
	"fmt"
	"math"

	"qtool/internal/ggml"
)

// Encoders that take float16 or bfloat16 elements as they are stored, words, in batches of 16
// blocks of 32: first each block is surveyed by its words, then all scales are divided at
// once, then blocks are packed while they are in the first cache. Pointers are those of the
// other encoders, but that elementsAt stays at the first block of the batch.
const (
	batchBlocks = "R9"  // of the batch
	batchDone   = "R10" // the block of the batch at hand, from 0
	batchAt     = "R11" // its elements
)

// On the stack are, for each block of a batch, the word that tells its extreme, its lowest
// element, the inverse of its scale, the lowest element as float32, and its scale:
const (
	stackExtreme, stackLow      = 0, 32
	stackInverse, stackLowFloat = 64, 128
	stackScale                  = 192
	stackBytes                  = 224
)

// wordOf is the word, and floatOf the float32, that the stack has of the block at hand.
func wordOf(place int) string  { return at(stack, place) + times(batchDone, 2) }
func floatOf(place int) string { return at(stack, place) + times(batchDone, 4) }

// Vector registers of a survey.
const (
	surveyWords    = 0 // and 1: the elements, or 0x7fff less their magnitudes
	surveyLeast    = 2
	surveySpare    = 3
	surveyGreatest = 4
)

// Vector registers of the scales of 8 blocks.
const (
	scalesX       = 0 // what is divided, then the scales
	scalesSpare   = 1
	scalesInverse = 2 // before: the divisor
)

// Vector registers from 10 on hold constants, and the least that 0x7fff less the magnitude of
// an element has been. The tier with more of them has two constants more. The others are
// those of the other encoders.
const (
	batchTop, batchShift, batchSign   = 10, 11, 12
	batchLeast, batchMask, batchOrder = 13, 14, 15
	batchLowNibble, batchBit4         = 16, 17
	batchLow                          = encodeScale // the lowest element of the block at hand
)

// A batchWriter prints the encoders of one tier and source.
type batchWriter struct {
	*encodeWriter
	source wordSource
}

// A wordSource is how elements are stored, as it is in the names of functions.
type wordSource string

const (
	fromFloat16  wordSource = "Halves"
	fromBFloat16 wordSource = "BFloats"
)

// widen makes float32 of the elements at an address, or in a register.
func (b *batchWriter) widen(from, to string) {
	if b.source == fromFloat16 {
		b.ins("VCVTPH2PS", from, to)
		return
	}
	b.ins("VPMOVZXWD", from, to)
	b.ins("VPSLLD", "$16", to, to)
}

// surveyMagnitude keeps the first greatest element of a block, or what tells its size.
func (b *batchWriter) surveyMagnitude(signed bool) {
	b.ins("VMOVDQU", in(batchAt), ymm(surveyWords))
	b.ins("VMOVDQU", at(batchAt, 32), ymm(surveyWords+1))
	b.ins("VPANDN", ymm(batchMask), ymm(surveyWords), ymm(surveyWords))
	b.ins("VPANDN", ymm(batchMask), ymm(surveyWords+1), ymm(surveyWords+1))
	b.ins("VPMINUW", ymm(surveyWords), ymm(surveyWords+1), ymm(surveyLeast))
	b.fold("VPMINUW", surveyLeast)
	b.least()
	if signed {
		b.firstWord(stackExtreme)
	} else {
		b.ins("VPEXTRW", "$0", xmm(surveyLeast), wordOf(stackExtreme))
	}
}

// least takes the eight words of surveyLeast, each 0x7fff less a magnitude, into account, and
// leaves the least of them in word 0.
func (b *batchWriter) least() {
	b.ins("VPMINUW", xmm(surveyLeast), xmm(batchLeast), xmm(batchLeast))
	b.ins("VPHMINPOSUW", xmm(surveyLeast), xmm(surveyLeast))
}

// surveySpan keeps the first least element of a block, and what tells the greatest. Signed
// magnitudes have the order of the elements, zeros of both signs being one.
func (b *batchWriter) surveySpan() {
	x := ymm(surveyLeast)
	for i := range 2 {
		b.ins("VMOVDQU", at(batchAt, 32*i), x)
		b.ins("VPAND", ymm(batchMask), x, ymm(surveyWords+i))
		b.ins("VPSIGNW", x, ymm(surveyWords+i), ymm(surveyWords+i))
	}
	b.ins("VPMAXSW", ymm(surveyWords), ymm(surveyWords+1), ymm(surveyGreatest))
	b.ins("VPMINSW", ymm(surveyWords), ymm(surveyWords+1), ymm(surveyLeast))
	b.fold("VPMAXSW", surveyGreatest)
	b.fold("VPMINSW", surveyLeast)
	b.ins("VPXOR", xmm(batchMask), xmm(surveyGreatest), xmm(surveyGreatest)+" // 0x7fff less it")
	b.ins("VPADDW", xmm(batchMask), xmm(surveyLeast), xmm(surveySpare))
	b.ins("VPMINUW", xmm(surveyGreatest), xmm(batchLeast), xmm(batchLeast))
	b.ins("VPMINUW", xmm(surveySpare), xmm(batchLeast), xmm(batchLeast))
	b.ins("VPHMINPOSUW", xmm(surveyGreatest), xmm(surveyGreatest))
	b.ins("VPEXTRW", "$0", xmm(surveyGreatest), wordOf(stackExtreme))
	b.ins("VPXOR", xmm(batchSign), xmm(surveyLeast), xmm(surveyLeast))
	b.ins("VPHMINPOSUW", xmm(surveyLeast), xmm(surveyLeast))
	b.ins("VPXOR", xmm(batchSign), xmm(surveyLeast), xmm(surveyLeast))
	b.firstWord(stackLow)
}

// fold makes eight words of the sixteen of a vector.
func (b *batchWriter) fold(op string, words int) {
	b.ins("VEXTRACTI128", "$1", ymm(words), xmm(surveySpare))
	b.ins(op, xmm(surveySpare), xmm(words), xmm(words))
}

// firstWord keeps the first of the block's words whose companion in surveyWords equals word 0
// of surveyLeast.
func (b *batchWriter) firstWord(place int) {
	const upper = "BX"
	b.ins("VPBROADCASTW", xmm(surveyLeast), ymm(surveyLeast))
	b.ins("VPCMPEQW", ymm(surveyWords), ymm(surveyLeast), ymm(surveyWords))
	b.ins("VPCMPEQW", ymm(surveyWords+1), ymm(surveyLeast), ymm(surveyWords+1))
	b.ins("VPMOVMSKB", ymm(surveyWords), scratch+" // two bits a word")
	b.ins("VPMOVMSKB", ymm(surveyWords+1), upper)
	b.ins("SHLQ", "$32", upper)
	b.ins("ORQ", upper, scratch)
	b.ins("TZCNTQ", scratch, scratch)
	b.ins("MOVWLZX", indexed(batchAt, scratch, 1), scratch)
	b.ins("MOVW", scratch, wordOf(place))
}

// float8 puts a number into all 8 lanes of a vector.
func (b *batchWriter) float8(f float32, to int) {
	b.ins("MOVL", fmt.Sprintf("$%#x", math.Float32bits(f)), scratch)
	b.ins("VMOVD", scratch, xmm(to))
	b.ins("VPBROADCASTD", xmm(to), ymm(to))
}

// divide keeps scalesX / n as the scales of 8 blocks from first on, and their inverses, 0 for
// those that are 0.
func (b *batchWriter) divide(n float32, first int) {
	b.ins("VXORPS", xmm(scalesSpare), xmm(scalesSpare), xmm(scalesSpare))
	b.ins("VCMPPS", "$4", ymm(scalesSpare), ymm(scalesX), ymm(scalesSpare))
	b.ins("VANDPS", ymm(scalesSpare), ymm(scalesX), ymm(scalesX)+" // a zero has no sign")
	b.float8(n, scalesInverse)
	b.ins("VDIVPS", ymm(scalesInverse), ymm(scalesX), ymm(scalesX))
	b.ins("VCVTPS2PH", "$0", ymm(scalesX), at(stack, stackScale+2*first))
	b.float8(1, scalesInverse)
	b.ins("VDIVPS", ymm(scalesX), ymm(scalesInverse), ymm(scalesInverse))
	b.ins("VANDPS", ymm(scalesSpare), ymm(scalesInverse), ymm(scalesInverse))
	b.ins("VMOVUPS", ymm(scalesInverse), at(stack, stackInverse+4*first))
}

// dropInfinite makes infinite inverses of 8 blocks 0: levels are 0 then.
func (b *batchWriter) dropInfinite(first int) {
	b.float8(float32(math.Inf(1)), scalesSpare)
	b.ins("VCMPPS", number(notEqual), ymm(scalesSpare), ymm(scalesInverse), ymm(scalesSpare))
	b.ins("VANDPS", ymm(scalesSpare), ymm(scalesInverse), ymm(scalesInverse))
	b.ins("VMOVUPS", ymm(scalesInverse), at(stack, stackInverse+4*first))
}

// scalesOfSpan divides the spans of 8 blocks.
func (b *batchWriter) scalesOfSpan(n float32, first int) {
	const low = scalesSpare
	b.ins("VPXOR", at(stack, stackExtreme+2*first), xmm(batchMask), xmm(scalesX))
	b.ins("VPABSW", xmm(scalesX), xmm(scalesSpare))
	b.ins("VPAND", xmm(batchSign), xmm(scalesX), xmm(scalesX))
	b.ins("VPOR", xmm(scalesSpare), xmm(scalesX), xmm(scalesX))
	b.widen(xmm(scalesX), ymm(scalesX))
	b.widen(at(stack, stackLow+2*first), ymm(low))
	b.ins("VMOVUPS", ymm(low), at(stack, stackLowFloat+4*first))
	if b.source == fromBFloat16 {
		b.ins("VCVTPS2PH", "$0", ymm(low), at(stack, stackLow+2*first)+" // as it is stored")
	}
	b.ins("VSUBPS", ymm(low), ymm(scalesX), ymm(scalesX))
	b.divide(n, first)
}

// multiply makes levels of the elements, less the lowest if so asked, times the inverse.
func (b *batchWriter) multiply(lessLow bool) {
	b.ins("VBROADCASTSS", floatOf(stackInverse), b.v(encodeInverse))
	if lessLow {
		b.ins("VBROADCASTSS", floatOf(stackLowFloat), b.v(batchLow))
	}
	for i := range b.vectors() {
		x := b.v(encodeLevels + i)
		b.widen(at(batchAt, 2*b.lanes*i), x)
		if lessLow {
			b.ins("VSUBPS", b.v(batchLow), x, x)
		}
		b.ins("VMULPS", b.v(encodeInverse), x, x)
	}
}

// store stores the word that the stack has of the block at a byte of it.
func (b *batchWriter) store(from, place int) {
	b.ins("MOVWLZX", wordOf(from), scratch)
	b.ins("MOVW", scratch, at(blockAt, place))
}

// narrow makes bytes of levels that are small integers: with 8 lanes 32 in the first vector,
// with 16 lanes 16 in each of two.
func (b *batchWriter) narrow() {
	if b.wide() {
		b.ins("VPMOVDB", zmm(encodeLevels), xmm(encodeLevels))
		b.ins("VPMOVDB", zmm(encodeLevels+1), xmm(encodeLevels+1))
		return
	}
	b.ins("VPACKSSDW", ymm(encodeLevels+1), ymm(encodeLevels), ymm(encodeLevels))
	b.ins("VPACKSSDW", ymm(encodeLevels+3), ymm(encodeLevels+2), ymm(encodeLevels+2))
	b.ins("VPACKSSWB", ymm(encodeLevels+2), ymm(encodeLevels), ymm(encodeLevels))
	b.ins("VPERMD", ymm(encodeLevels), ymm(batchOrder), ymm(encodeLevels))
}

// packLevels stores levels as encodeWriter.nibbles does, those above the top as the top.
func (b *batchWriter) packLevels(place, fifth int) {
	const bits, upperBits = "K1", "K2"
	b.each("VADDPS "+b.v(batchShift)+", %s, %s", encodeLevels, encodeLevels)
	b.each("VCVTTPS2DQ %s, %s", encodeLevels, encodeLevels)
	if !b.wide() {
		b.narrow()
		b.ins("VPMINSB", ymm(batchTop), ymm(encodeLevels), ymm(encodeLevels))
		b.nibbles(place, fifth)
		return
	}
	b.each("VPMINSD "+b.v(batchTop)+", %s, %s", encodeLevels, encodeLevels)
	if fifth > 0 {
		b.ins("VPTESTMD", zmm(batchBit4), zmm(encodeLevels), bits)
		b.ins("VPTESTMD", zmm(batchBit4), zmm(encodeLevels+1), upperBits)
		b.ins("KUNPCKWD", bits, upperBits, bits)
		b.ins("KMOVD", bits, at(blockAt, fifth))
		b.ins("VPANDD", zmm(batchLowNibble), zmm(encodeLevels), zmm(encodeLevels))
	}
	b.ins("VPSLLD", "$4", zmm(encodeLevels+1), zmm(encodeLevels+1))
	b.ins("VPORD", zmm(encodeLevels+1), zmm(encodeLevels), zmm(encodeLevels))
	b.ins("VPMOVDB", zmm(encodeLevels), xmm(encodeLevels))
	b.ins("VMOVDQU", xmm(encodeLevels), at(blockAt, place))
}

// A batchEncoding prints the steps of one type's encoder.
type batchEncoding struct {
	blocks
	top          uint32 // the highest level
	shift        float32
	survey, pack func(b *batchWriter)
	scales       func(b *batchWriter, first int) // of 8 blocks from first on
}

var batchEncodings = []batchEncoding{
	{
		blocks: blocksOf(ggml.Q8_0), shift: math.Nextafter32(0.5, 0), // see encodings
		survey: func(b *batchWriter) { b.surveyMagnitude(false) },
		scales: func(b *batchWriter, first int) {
			b.ins("VPXOR", at(stack, stackExtreme+2*first), xmm(batchMask), xmm(scalesX))
			b.widen(xmm(scalesX), ymm(scalesX))
			b.divide(127, first)
			if b.source == fromBFloat16 {
				b.dropInfinite(first)
			}
		},
		pack: func(b *batchWriter) {
			b.multiply(false)
			b.store(stackScale, 0)
			for i := range b.vectors() {
				x, rounding := b.v(encodeLevels+i), b.v(encodeX+i)
				b.ins("VANDPS", b.v(batchSign), x, rounding)
				b.ins("VORPS", b.v(batchShift), rounding, rounding)
				b.ins("VADDPS", rounding, x, x)
				b.ins("VCVTTPS2DQ", x, x)
			}
			b.narrow()
			if b.wide() {
				b.ins("VMOVDQU", xmm(encodeLevels), at(blockAt, 2))
				b.ins("VMOVDQU", xmm(encodeLevels+1), at(blockAt, 18))
			} else {
				b.ins("VMOVDQU", ymm(encodeLevels), at(blockAt, 2))
			}
		},
	},
	symmetricBatches(ggml.Q4_0, 8, 0),
	symmetricBatches(ggml.Q5_0, 16, 2),
	affineBatches(ggml.Q4_1, 15, 0),
	affineBatches(ggml.Q5_1, 31, 4),
}

// symmetricBatches is symmetricEncoding.
func symmetricBatches(t ggml.Type, n, fifth int) batchEncoding {
	return batchEncoding{
		blocks: blocksOf(t), top: uint32(2*n - 1), shift: float32(n) + 0.5,
		survey: func(b *batchWriter) { b.surveyMagnitude(true) },
		scales: func(b *batchWriter, first int) {
			b.widen(at(stack, stackExtreme+2*first), ymm(scalesX))
			b.divide(float32(-n), first)
		},
		pack: func(b *batchWriter) {
			b.multiply(false)
			b.store(stackScale, 0)
			b.packLevels(t.BlockBytes()-16, fifth)
		},
	}
}

// affineBatches is affineEncoding.
func affineBatches(t ggml.Type, n, fifth int) batchEncoding {
	return batchEncoding{
		blocks: blocksOf(t), top: uint32(n), shift: 0.5,
		survey: (*batchWriter).surveySpan,
		scales: func(b *batchWriter, first int) { b.scalesOfSpan(float32(n), first) },
		pack: func(b *batchWriter) {
			b.multiply(true)
			b.store(stackScale, 0)
			b.store(stackLow, 2)
			b.packLevels(t.BlockBytes()-16, fifth)
		},
	}
}

// emitBatchEncoders prints the encoders with so many lanes.
func emitBatchEncoders(tier, register string, lanes int, source wordSource) func(w *writer) {
	return func(w *writer) {
		b := &batchWriter{&encodeWriter{w, tier, register, lanes}, source}
		for _, d := range batchEncodings {
			b.encoder(d)
		}
		if source == fromFloat16 {
			b.toBF16()
			b.survey("F16")
		} else {
			b.toF16()
			b.survey("BF16")
		}
	}
}

// begin prints the head of a function and what all have in common.
func (b *batchWriter) begin(name, counts string, frame int) {
	b.printf("\n// func encode%s%s%s(dst, src *byte, n int) (magnitude uint32)\n//\n//\tn counts %s\n", b.source, name, b.tier, counts)
	b.printf("TEXT ·encode%s%s%s(SB), NOSPLIT, $%d-28\n", b.source, name, b.tier, frame)
	b.arguments()
	b.constant(0x7fff7fff, batchMask)
	b.ins("VMOVDQA", ymm(batchMask), ymm(batchLeast))
}

// end returns the greatest magnitude.
func (b *batchWriter) end() {
	b.printf("\ndone:\n")
	b.ins("VPHMINPOSUW", xmm(batchLeast), xmm(batchLeast))
	b.ins("VPXOR", xmm(batchMask), xmm(batchLeast), xmm(batchLeast))
	b.ins("VPEXTRW", "$0", xmm(batchLeast), scratch)
	b.ins("MOVL", scratch, "magnitude+24(FP)")
	b.op("VZEROUPPER")
	b.op("RET")
}

func (b *batchWriter) encoder(d batchEncoding) {
	b.begin(d.name, "blocks", stackBytes)
	b.float(d.shift, batchShift)
	switch {
	case d.top == 0: // signs of floats, not words
		b.constant(1<<31, batchSign)
	case b.wide():
		b.constant(0x80008000, batchSign)
		b.constant(d.top, batchTop)
		b.constant(15, batchLowNibble)
		b.constant(16, batchBit4)
	default:
		b.constant(0x80008000, batchSign)
		b.constant(d.top*0x01010101, batchTop)
	}
	if !b.wide() {
		b.ins("MOVQ", "$0x0703060205010400", scratch+" // the order of packed vectors")
		b.ins("VMOVQ", scratch, xmm(batchOrder))
		b.ins("VPMOVZXBD", xmm(batchOrder), ymm(batchOrder))
	}
	b.batches(64, d.bytes, func() { d.survey(b) }, func() {
		for first := 0; first < 16; first += 8 {
			d.scales(b, first)
		}
	}, func() { d.pack(b) })
	b.end()
}

// batches prints how blocks of from bytes become blocks of to bytes: each is surveyed, the
// batch's scales are computed, each is packed.
func (b *batchWriter) batches(from, to int, survey, scales, pack func()) {
	b.ins("TESTQ", remaining, remaining)
	b.op("JLE done")
	b.printf("\nbatch:\n")
	b.ins("MOVQ", "$16", batchBlocks)
	b.ins("CMPQ", remaining, batchBlocks)
	b.ins("CMOVQLT", remaining, batchBlocks)
	if survey != nil {
		b.blocks("survey", from, survey)
	}
	scales()
	b.blocks("pack", from, func() {
		pack()
		b.ins("ADDQ", number(to), blockAt)
	})
	b.ins("MOVQ", batchAt, elementsAt)
	b.ins("SUBQ", batchBlocks, remaining)
	b.op("JGT batch")
}

// blocks prints body for each block of a batch.
func (b *batchWriter) blocks(label string, size int, body func()) {
	b.ins("MOVQ", elementsAt, batchAt)
	b.ins("XORL", batchDone, batchDone)
	b.printf("\n%s:\n", label)
	body()
	b.ins("ADDQ", number(size), batchAt)
	b.ins("INCQ", batchDone)
	b.ins("CMPQ", batchDone, batchBlocks)
	b.op("JLT %s", label)
}

// batchDeclarations declares the encoders and lists them for the tiers.
func batchDeclarations() []byte {
	w := &writer{}
	w.WriteString(header)
	w.WriteString("package coding\n\nimport \"qtool/internal/ggml\"\n\n")
	names := []string{"F16", "BF16"}
	for _, d := range batchEncodings {
		names = append(names, d.name)
	}
	for _, source := range []struct {
		list string
		name wordSource
		few  []string
	}{{"halfEncoders", fromFloat16, fewLevels()}, {"bfloatEncoders", fromBFloat16, nil}} {
		listEncoders(w, source.list, "halfEncodeFunc", "encode"+string(source.name), names, source.few)
		declareEncoders(w, "encode"+string(source.name)+"%s%s(dst, src *byte, n int) (magnitude uint32)", names, source.few)
	}
	return w.Bytes()
}
