package main

import (
	"fmt"
	"math"

	"qtool/internal/ggml"
)

// Encoders of the formats that need no search, a block of 32 at a time.
const (
	elementsAt = "SI" // the elements of the block
	blockAt    = "DI"
	remaining  = "CX" // blocks, or elements, to encode
	scratch    = "AX"
)

// Vector registers of encoders. As many hold the elements of a block, and what is made of
// them, as a block takes.
const (
	encodeX      = 0
	encodeLevels = 4 // before: magnitudes
	// Numbers of the block, in every lane once they are used so.
	encodeScale   = 8 // before: the greatest magnitude, or the highest element and the span
	encodeInverse = 9
	encodeExtreme = 10 // the element of the greatest magnitude, or the lowest one

	constMagnitude, constShift, constDivisor = 11, 12, 13
	constTop, constOrder                     = 14, 15

	maskEqual = "K1"
)

// An encodeWriter prints what encoders have in common.
type encodeWriter struct {
	*writer
	tier, register string
	lanes          int
}

func (e *encodeWriter) v(i int) string { return fmt.Sprint(e.register, i) }
func (e *encodeWriter) vectors() int   { return 32 / e.lanes }
func (e *encodeWriter) wide() bool     { return e.lanes == 16 }

// each prints format for every vector of a block, with those that begin at the given
// registers in the places of %s.
func (e *encodeWriter) each(format string, from ...int) {
	for i := range e.vectors() {
		names := make([]any, len(from))
		for j, r := range from {
			names[j] = e.v(r + i)
		}
		e.op(format, names...)
	}
}

func (e *encodeWriter) constant(bits uint32, to int) {
	e.ins("MOVL", fmt.Sprintf("$%#x", bits), scratch)
	e.ins("VMOVD", scratch, xmm(to))
	e.ins("VPBROADCASTD", xmm(to), e.v(to))
}

func (e *encodeWriter) float(f float32, to int) { e.constant(math.Float32bits(f), to) }

func (e *encodeWriter) load() {
	for i := range e.vectors() {
		e.ins("VMOVUPS", at(elementsAt, 4*e.lanes*i), e.v(encodeX+i))
	}
}

// reduce leaves the result of op over the elements of the vectors from from on in every
// lane of to.
func (e *encodeWriter) reduce(op string, from, to, spare int) {
	e.ins(op, e.v(from+1), e.v(from), e.v(to))
	for i := 2; i < e.vectors(); i++ {
		e.ins(op, e.v(from+i), e.v(to), e.v(to))
	}
	fold := func(width func(i int) string) { e.ins(op, width(spare), width(to), width(to)) }
	if e.wide() {
		e.ins("VEXTRACTF64X4", "$1", zmm(to), ymm(spare))
		fold(ymm)
	}
	e.ins("VEXTRACTF128", "$1", ymm(to), xmm(spare))
	fold(xmm)
	e.ins("VPERMILPS", "$0x4e", xmm(to), xmm(spare))
	fold(xmm)
	e.ins("VPERMILPS", "$0xb1", xmm(to), xmm(spare))
	fold(xmm)
	e.ins("VBROADCASTSS", xmm(to), e.v(to))
}

// magnitudes puts the magnitudes of the elements into the vectors of levels, and the
// greatest into that of the scale.
func (e *encodeWriter) magnitudes() {
	for i := range e.vectors() {
		e.ins("VANDPS", e.v(constMagnitude), e.v(encodeX+i), e.v(encodeLevels+i))
	}
	e.reduce("VMAXPS", encodeLevels, encodeScale, encodeInverse)
}

// equalLanes are registers for the bits of the lanes of each vector; those of the first get
// all.
var equalLanes = []string{scratch, "BX", "DX", "R8"}

// firstEqual loads the first element whose companion in the vectors from from on equals
// value. There must be one.
func (e *encodeWriter) firstEqual(from, value, to int) {
	for i := range e.vectors() {
		bits := equalLanes[i]
		if e.wide() {
			e.ins("VCMPPS", "$0", zmm(value), zmm(from+i), maskEqual)
			e.ins("KMOVW", maskEqual, bits)
		} else {
			e.ins("VCMPPS", "$0", ymm(value), ymm(from+i), ymm(to))
			e.ins("VMOVMSKPS", ymm(to), bits)
		}
		if i > 0 {
			e.ins("SHLL", number(e.lanes*i), bits)
			e.ins("ORL", bits, scratch)
		}
	}
	e.ins("TZCNTL", scratch, scratch)
	e.ins("VMOVSS", indexed(elementsAt, scratch, 4), xmm(to))
}

// zeroIfZero makes to 0 if divisor is.
func (e *encodeWriter) zeroIfZero(divisor, to, spare int) {
	e.ins("VXORPS", xmm(spare), xmm(spare), xmm(spare))
	e.ins("VCMPSS", "$4", xmm(spare), xmm(divisor), xmm(spare))
	e.ins("VANDPS", xmm(spare), xmm(to), xmm(to))
}

// scaleAndInverse stores the scale as float16 at a byte of the block, and computes its
// inverse, 0 if there is none.
func (e *encodeWriter) scaleAndInverse(place int) {
	const spare = encodeExtreme
	e.ins("VCVTPS2PH", "$0", xmm(encodeScale), xmm(spare))
	e.ins("VPEXTRW", "$0", xmm(spare), at(blockAt, place))
	e.ins("MOVL", fmt.Sprintf("$%#x", math.Float32bits(1)), scratch)
	e.ins("VMOVD", scratch, xmm(encodeInverse))
	e.ins("VDIVSS", xmm(encodeScale), xmm(encodeInverse), xmm(encodeInverse))
	e.zeroIfZero(encodeScale, encodeInverse, spare)
	e.ins("VBROADCASTSS", xmm(encodeInverse), e.v(encodeInverse))
}

// lowBytes converts the levels to integers, towards zero, and leaves the low byte of each:
// 32 in the first vector.
func (e *encodeWriter) lowBytes() {
	e.each("VCVTTPS2DQ %s, %s", encodeLevels, encodeLevels)
	if e.wide() {
		e.ins("VPMOVDB", zmm(encodeLevels), xmm(encodeLevels))
		e.ins("VPMOVDB", zmm(encodeLevels+1), xmm(encodeLevels+1))
		e.ins("VINSERTI128", "$1", xmm(encodeLevels+1), ymm(encodeLevels), ymm(encodeLevels))
		return
	}
	const mask = encodeScale // of the low bytes; the scale is stored by now
	e.ins("VPCMPEQD", ymm(mask), ymm(mask), ymm(mask))
	e.ins("VPSRLD", "$24", ymm(mask), ymm(mask))
	e.each("VPAND "+ymm(mask)+", %s, %s", encodeLevels, encodeLevels)
	e.ins("VPACKUSDW", ymm(encodeLevels+1), ymm(encodeLevels), ymm(encodeLevels))
	e.ins("VPACKUSDW", ymm(encodeLevels+3), ymm(encodeLevels+2), ymm(encodeLevels+2))
	e.ins("VPACKUSWB", ymm(encodeLevels+2), ymm(encodeLevels), ymm(encodeLevels))
	e.ins("VPERMD", ymm(encodeLevels), ymm(constOrder), ymm(encodeLevels))
}

// nibbles stores the low nibbles of the 32 bytes of lowBytes at a byte of the block: those
// of the first 16 as low nibbles, the others as high ones. Bits 4 go to the byte fifth
// unless that is 0.
func (e *encodeWriter) nibbles(place, fifth int) {
	const spare, mask = encodeLevels + 1, encodeScale
	if fifth > 0 {
		e.ins("VPSLLW", "$3", ymm(encodeLevels), ymm(spare))
		e.ins("VPMOVMSKB", ymm(spare), scratch)
		e.ins("MOVL", scratch, at(blockAt, fifth))
	}
	if e.wide() {
		e.ins("VPAND", ymm(constOrder), ymm(encodeLevels), ymm(encodeLevels))
	} else {
		e.ins("VPCMPEQD", ymm(mask), ymm(mask), ymm(mask))
		e.ins("VPSRLW", "$12", ymm(mask), ymm(mask))
		e.ins("VPACKUSWB", ymm(mask), ymm(mask), ymm(mask))
		e.ins("VPAND", ymm(mask), ymm(encodeLevels), ymm(encodeLevels))
	}
	e.ins("VEXTRACTI128", "$1", ymm(encodeLevels), xmm(spare))
	e.ins("VPSLLW", "$4", xmm(spare), xmm(spare))
	e.ins("VPOR", xmm(spare), xmm(encodeLevels), xmm(encodeLevels))
	e.ins("VMOVDQU", xmm(encodeLevels), at(blockAt, place))
}

// An encoding prints one type's encoder: what comes before the loop, and a block.
type encoding struct {
	blocks
	constants func(e *encodeWriter)
	block     func(e *encodeWriter)
}

var encodings = []encoding{
	{blocksOf(ggml.Q8_0), func(e *encodeWriter) {
		// With the float32 below a half, adding and cutting rounds ties away from zero.
		e.float(math.Nextafter32(0.5, 0), constShift)
		e.float(127, constDivisor)
		e.constant(1<<31, constTop)
	}, encodeQ8Block},
	symmetricEncoding(ggml.Q4_0, 8, 0),
	symmetricEncoding(ggml.Q5_0, 16, 2),
	affineEncoding(ggml.Q4_1, 15, 0),
	affineEncoding(ggml.Q5_1, 31, 4),
}

func encodeQ8Block(e *encodeWriter) {
	e.load()
	e.magnitudes()
	e.ins("VDIVSS", xmm(constDivisor), xmm(encodeScale), xmm(encodeScale))
	e.scaleAndInverse(0)
	for i := range e.vectors() {
		x, level := e.v(encodeX+i), e.v(encodeLevels+i)
		e.ins("VMULPS", e.v(encodeInverse), x, x)
		e.ins("VANDPS", e.v(constTop), x, level)
		e.ins("VORPS", e.v(constShift), level, level)
		e.ins("VADDPS", level, x, level)
	}
	e.lowBytes()
	e.ins("VMOVDQU", ymm(encodeLevels), at(blockAt, 2))
}

// symmetricEncoding is that of value = d * (q - n).
func symmetricEncoding(t ggml.Type, n, fifth int) encoding {
	return encoding{blocksOf(t), func(e *encodeWriter) {
		e.float(float32(n)+0.5, constShift)
		e.float(float32(-n), constDivisor)
		e.constant(uint32(2*n-1)*0x01010101, constTop)
	}, func(e *encodeWriter) {
		e.load()
		e.magnitudes()
		e.firstEqual(encodeLevels, encodeScale, encodeExtreme)
		e.zeroIfZero(encodeScale, encodeExtreme, encodeInverse)
		e.ins("VDIVSS", xmm(constDivisor), xmm(encodeExtreme), xmm(encodeScale))
		e.scaleAndInverse(0)
		for i := range e.vectors() {
			level := e.v(encodeLevels + i)
			e.ins("VMULPS", e.v(encodeInverse), e.v(encodeX+i), level)
			e.ins("VADDPS", e.v(constShift), level, level)
		}
		e.lowBytes()
		e.ins("VPMINSB", ymm(constTop), ymm(encodeLevels), ymm(encodeLevels))
		e.nibbles(t.BlockBytes()-16, fifth)
	}}
}

// affineEncoding is that of value = d * q + low, 0 <= q <= n.
func affineEncoding(t ggml.Type, n, fifth int) encoding {
	return encoding{blocksOf(t), func(e *encodeWriter) {
		e.float(0.5, constShift)
		e.float(float32(n), constDivisor)
		e.constant(uint32(n)*0x01010101, constTop)
	}, func(e *encodeWriter) {
		e.load()
		const low, high, span, spare = encodeExtreme, encodeScale, encodeScale, encodeInverse
		e.reduce("VMINPS", encodeX, encodeLevels, low)
		e.reduce("VMAXPS", encodeX, high, low)
		e.firstEqual(encodeX, encodeLevels, low) // zero has two signs
		e.ins("VCVTPS2PH", "$0", xmm(low), xmm(spare))
		e.ins("VPEXTRW", "$0", xmm(spare), at(blockAt, 2))
		e.ins("VSUBPS", xmm(low), xmm(high), xmm(span))
		e.ins("VXORPS", xmm(spare), xmm(spare), xmm(spare))
		e.ins("VADDPS", xmm(spare), xmm(span), xmm(span))
		e.ins("VBROADCASTSS", xmm(low), e.v(low))
		for i := range e.vectors() {
			e.ins("VSUBPS", e.v(low), e.v(encodeX+i), e.v(encodeX+i))
		}
		e.ins("VDIVSS", xmm(constDivisor), xmm(span), xmm(encodeScale))
		e.scaleAndInverse(0)
		for i := range e.vectors() {
			level := e.v(encodeLevels + i)
			e.ins("VMULPS", e.v(encodeInverse), e.v(encodeX+i), level)
			e.ins("VADDPS", e.v(constShift), level, level)
		}
		e.lowBytes()
		e.ins("VPMINSB", ymm(constTop), ymm(encodeLevels), ymm(encodeLevels))
		e.nibbles(t.BlockBytes()-16, fifth)
	}}
}

// emitEncoders prints the encoders with so many lanes.
func emitEncoders(tier, register string, lanes int) func(w *writer) {
	return func(w *writer) {
		e := &encodeWriter{w, tier, register, lanes}
		for _, d := range encodings {
			e.begin(d.name, "blocks", 0)
			e.constant(1<<31-1, constMagnitude)
			d.constants(e)
			if e.wide() {
				e.constant(0x0f0f0f0f, constOrder) // nothing is packed: a mask of low nibbles
			} else {
				e.ins("MOVQ", "$0x0703060205010400", scratch+" // the order of packed vectors")
				e.ins("VMOVQ", scratch, xmm(constOrder))
				e.ins("VPMOVZXBD", xmm(constOrder), ymm(constOrder))
			}
			e.loop(1, func() {
				d.block(e)
				e.ins("ADDQ", "$128", elementsAt)
				e.ins("ADDQ", number(d.bytes), blockAt)
			})
		}
		e.sixteenBits()
	}
}

// begin prints the head of a function.
func (e *encodeWriter) begin(name, counts string, frame int) {
	e.printf("\n// func encode%s%s(dst *byte, src *float32, n int)\n//\n//\tn counts %s\n", name, e.tier, counts)
	e.printf("TEXT ·encode%s%s(SB), NOSPLIT, $%d-24\n", name, e.tier, frame)
	e.arguments()
}

func (e *encodeWriter) arguments() {
	e.ins("MOVQ", "dst+0(FP)", blockAt)
	e.ins("MOVQ", "src+8(FP)", elementsAt)
	e.ins("MOVQ", "n+16(FP)", remaining)
}

// loop prints body, which moves the pointers, for every step of CX.
func (e *encodeWriter) loop(step int, body func()) {
	e.ins("SUBQ", number(step), remaining)
	e.op("JLT done")
	e.printf("\nloop:\n")
	body()
	e.ins("SUBQ", number(step), remaining)
	e.op("JGE loop")
	e.end()
}

func (e *encodeWriter) end() {
	e.printf("\ndone:\n")
	e.op("VZEROUPPER")
	e.op("RET")
}

// encoderDeclarations declares the encoders and lists them for the tiers.
func encoderDeclarations() []byte {
	w := &writer{}
	w.WriteString(header)
	w.WriteString("package coding\n\nimport \"qtool/internal/ggml\"\n\n")
	names := []string{"F16", "BF16"}
	for _, d := range encodings {
		names = append(names, d.name)
	}
	listEncoders(w, "encoders", "encodeFunc", "encode", names, fewLevels())
	declareEncoders(w, "encode%s%s(dst *byte, src *float32, n int)", names, fewLevels())
	for _, tier := range encoderTiers {
		w.printf("//go:noescape\nfunc magnitude%s(v *float32, n int) uint32\n\n", tier)
	}
	return w.Bytes()
}

var encoderTiers = []string{"AVX2", "AVX512"}

// listEncoders prints each tier's list of functions by format. Those of few levels are the same.
func listEncoders(w *writer, list, kind, function string, names, few []string) {
	for _, tier := range encoderTiers {
		w.printf("var %s%s = [ggml.Types]%s{\n", list, tier, kind)
		for _, name := range names {
			w.printf("ggml.%[2]s: %[1]s%[2]s%[3]s,\n", function, name, tier)
		}
		for _, name := range few {
			w.printf("ggml.%[2]s: %[1]s%[2]sAVX2,\n", function, name)
		}
		w.printf("}\n\n")
	}
}

// declareEncoders declares the functions of all tiers and formats, whose names format takes.
func declareEncoders(w *writer, format string, names, few []string) {
	for _, tier := range encoderTiers {
		for _, name := range names {
			w.printf("//go:noescape\nfunc "+format+"\n\n", name, tier)
		}
	}
	for _, name := range few {
		w.printf("//go:noescape\nfunc "+format+"\n\n", name, "AVX2")
	}
}
