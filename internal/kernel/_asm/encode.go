package main

import (
	"fmt"
	"math"

	"qtool/internal/ggml"
)

// Encoders of the formats that need no search, a block of 32 at a time. SI points at
// the elements, DI at the block, CX counts blocks.
//
// Vector registers: 0..3 the elements, 4..7 what is made of them, 8..10 numbers of the
// block in every lane, 11..15 constants.
const (
	constMagnitude, constShift, constDivisor = 11, 12, 13
	constTop, constOrder                     = 14, 15
)

// An encodeWriter prints the parts that encoders have in common.
type encodeWriter struct {
	*writer
	tier, register string
	lanes          int
}

func (e *encodeWriter) v(i int) string { return fmt.Sprint(e.register, i) }
func (e *encodeWriter) vectors() int   { return 32 / e.lanes }
func (e *encodeWriter) wide() bool     { return e.lanes == 16 }

// each prints format for every vector, with registers from.. in the places of %s.
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
	e.op("MOVL $%#x, AX", bits)
	e.op("VMOVD AX, X%d", to)
	e.op("VPBROADCASTD X%d, %s", to, e.v(to))
}

func (e *encodeWriter) float(f float32, to int) { e.constant(math.Float32bits(f), to) }

func (e *encodeWriter) load() {
	for i := range e.vectors() {
		e.op("VMOVUPS %d(SI), %s", 4*e.lanes*i, e.v(i))
	}
}

// reduce leaves the result of op over the vectors from.. in every lane of to.
func (e *encodeWriter) reduce(op string, from, to, spare int) {
	e.op("%s %s, %s, %s", op, e.v(from+1), e.v(from), e.v(to))
	for i := 2; i < e.vectors(); i++ {
		e.op("%s %s, %s, %s", op, e.v(from+i), e.v(to), e.v(to))
	}
	fold := func(width string) { e.op("%[1]s %[2]s%[4]d, %[2]s%[3]d, %[2]s%[3]d", op, width, to, spare) }
	if e.wide() {
		e.op("VEXTRACTF64X4 $1, Z%d, Y%d", to, spare)
		fold("Y")
	}
	e.op("VEXTRACTF128 $1, Y%d, X%d", to, spare)
	fold("X")
	e.op("VPERMILPS $0x4e, X%d, X%d", to, spare)
	fold("X")
	e.op("VPERMILPS $0xb1, X%d, X%d", to, spare)
	fold("X")
	e.op("VBROADCASTSS X%d, %s", to, e.v(to))
}

// magnitudes puts the sizes of the elements into 4.. and the greatest into 8.
func (e *encodeWriter) magnitudes() {
	for i := range e.vectors() {
		e.op("VANDPS %s, %s, %s", e.v(constMagnitude), e.v(i), e.v(4+i))
	}
	e.reduce("VMAXPS", 4, 8, 9)
}

// firstEqual loads the first element whose companion in from.. equals that in register
// value, which some one does.
func (e *encodeWriter) firstEqual(from, value, to int) {
	for i := range e.vectors() {
		register := []string{"AX", "BX", "DX", "R8"}[i]
		if e.wide() {
			e.op("VCMPPS $0, Z%d, Z%d, K1", value, from+i)
			e.op("KMOVW K1, %s", register)
		} else {
			e.op("VCMPPS $0, Y%d, Y%d, Y%d", value, from+i, to)
			e.op("VMOVMSKPS Y%d, %s", to, register)
		}
		if i > 0 {
			e.op("SHLL $%d, %s", e.lanes*i, register)
			e.op("ORL %s, AX", register)
		}
	}
	e.op("TZCNTL AX, AX")
	e.op("VMOVSS (SI)(AX*4), X%d", to)
}

// zeroIfZero clears to where the number in of is zero.
func (e *encodeWriter) zeroIfZero(of, to, spare int) {
	e.op("VXORPS X%[1]d, X%[1]d, X%[1]d", spare)
	e.op("VCMPSS $4, X%d, X%d, X%d", spare, of, spare)
	e.op("VANDPS X%[1]d, X%[2]d, X%[2]d", spare, to)
}

// scaleAndInverse stores the scale in 8 as float16 at a byte of the block, and puts its inverse, 0 if there is
// none, into 9.
func (e *encodeWriter) scaleAndInverse(at int) {
	e.op("VCVTPS2PH $0, X8, X10")
	e.op("VPEXTRW $0, X10, %d(DI)", at)
	e.op("MOVL $%#x, AX", math.Float32bits(1))
	e.op("VMOVD AX, X9")
	e.op("VDIVSS X8, X9, X9")
	e.zeroIfZero(8, 9, 10)
	e.op("VBROADCASTSS X9, %s", e.v(9))
}

// lowBytes converts to integers, towards zero, and leaves the low byte of each: 32 in
// Y4.
func (e *encodeWriter) lowBytes() {
	e.each("VCVTTPS2DQ %s, %s", 4, 4)
	if e.wide() {
		e.op("VPMOVDB Z4, X4")
		e.op("VPMOVDB Z5, X5")
		e.op("VINSERTI128 $1, X5, Y4, Y4")
		return
	}
	// Y8 is free by now.
	e.op("VPCMPEQD Y8, Y8, Y8")
	e.op("VPSRLD $24, Y8, Y8")
	e.each("VPAND Y8, %s, %s", 4, 4)
	e.op("VPACKUSDW Y5, Y4, Y4")
	e.op("VPACKUSDW Y7, Y6, Y6")
	e.op("VPACKUSWB Y6, Y4, Y4")
	e.op("VPERMD Y4, Y%d, Y4", constOrder)
}

// nibbles stores the low halves of the bytes in Y4 at (DI), first and second 16 side by
// side; at is where, and fifth, unless 0, where their bits 4 go.
func (e *encodeWriter) nibbles(at, fifth int) {
	if fifth > 0 {
		e.op("VPSLLW $3, Y4, Y5")
		e.op("VPMOVMSKB Y5, AX")
		e.op("MOVL AX, %d(DI)", fifth)
	}
	if e.wide() {
		e.op("VPAND Y%d, Y4, Y4", constOrder)
	} else {
		e.op("VPCMPEQD Y8, Y8, Y8")
		e.op("VPSRLW $12, Y8, Y8")
		e.op("VPACKUSWB Y8, Y8, Y8")
		e.op("VPAND Y8, Y4, Y4")
	}
	e.op("VEXTRACTI128 $1, Y4, X5")
	e.op("VPSLLW $4, X5, X5")
	e.op("VPOR X5, X4, X4")
	e.op("VMOVDQU X4, %d(DI)", at)
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
	e.op("VDIVSS X%d, X8, X8", constDivisor)
	e.scaleAndInverse(0)
	for i := range e.vectors() {
		x, level := e.v(i), e.v(4+i)
		e.op("VMULPS %s, %s, %s", e.v(9), x, x)
		e.op("VANDPS %s, %s, %s", e.v(constTop), x, level)
		e.op("VORPS %s, %s, %s", e.v(constShift), level, level)
		e.op("VADDPS %s, %s, %s", level, x, level)
	}
	e.lowBytes()
	e.op("VMOVDQU Y4, 2(DI)")
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
		e.firstEqual(4, 8, 10)
		e.zeroIfZero(8, 10, 9)
		e.op("VDIVSS X%d, X10, X8", constDivisor)
		e.scaleAndInverse(0)
		for i := range e.vectors() {
			e.op("VMULPS %s, %s, %s", e.v(9), e.v(i), e.v(4+i))
			e.op("VADDPS %[1]s, %[2]s, %[2]s", e.v(constShift), e.v(4+i))
		}
		e.lowBytes()
		e.op("VPMINSB Y%d, Y4, Y4", constTop)
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
		e.reduce("VMINPS", 0, 4, 10)
		e.reduce("VMAXPS", 0, 8, 10)
		e.firstEqual(0, 4, 10) // zero has two signs
		e.op("VCVTPS2PH $0, X10, X9")
		e.op("VPEXTRW $0, X9, 2(DI)")
		e.op("VSUBPS X10, X8, X8")
		e.op("VXORPS X9, X9, X9")
		e.op("VADDPS X9, X8, X8")
		e.op("VBROADCASTSS X10, %s", e.v(10))
		for i := range e.vectors() {
			e.op("VSUBPS %s, %s, %s", e.v(10), e.v(i), e.v(i))
		}
		e.op("VDIVSS X%d, X8, X8", constDivisor)
		e.scaleAndInverse(0)
		for i := range e.vectors() {
			e.op("VMULPS %s, %s, %s", e.v(9), e.v(i), e.v(4+i))
			e.op("VADDPS %[1]s, %[2]s, %[2]s", e.v(constShift), e.v(4+i))
		}
		e.lowBytes()
		e.op("VPMINSB Y%d, Y4, Y4", constTop)
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
				e.constant(0x0f0f0f0f, constOrder) // nothing is packed; low halves of bytes
			} else {
				e.op("MOVQ $0x0703060205010400, AX // the order of packed vectors")
				e.op("VMOVQ AX, X%d", constOrder)
				e.op("VPMOVZXBD X%[1]d, Y%[1]d", constOrder)
			}
			e.loop(1, func() {
				d.block(e)
				e.op("ADDQ $128, SI")
				e.op("ADDQ $%d, DI", d.bytes)
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
	e.op("MOVQ dst+0(FP), DI")
	e.op("MOVQ src+8(FP), SI")
	e.op("MOVQ n+16(FP), CX")
}

// loop prints body, which moves the pointers, for every step of CX.
func (e *encodeWriter) loop(step int, body func()) {
	e.op("SUBQ $%d, CX", step)
	e.op("JLT done")
	e.printf("\nloop:\n")
	body()
	e.op("SUBQ $%d, CX", step)
	e.op("JGE loop")
	e.end()
}

func (e *encodeWriter) end() {
	e.printf("\ndone:\n")
	e.op("VZEROUPPER")
	e.op("RET")
}

// sixteenBits prints the encoders of F16 and BF16, which round to nearest even, and the
// greatest magnitude.
func (e *encodeWriter) sixteenBits() {
	for _, name := range []string{"F16", "BF16"} {
		e.begin(name, "elements and is a multiple of 16", 0)
		e.constant(1, 1)
		e.constant(0x7fff, 2)
		e.loop(16, func() {
			for at := 0; at < 16; at += e.lanes {
				e.op("VMOVUPS %d(SI), %s", 4*at, e.v(0))
				switch {
				case name == "F16":
					e.op("VCVTPS2PH $0, %s, %d(DI)", e.v(0), 2*at)
				case e.wide():
					e.roundBF16()
					e.op("VPMOVDW Z0, (DI)")
				default:
					e.roundBF16()
					e.op("VEXTRACTI128 $1, Y0, X3")
					e.op("VPACKUSDW X3, X0, X0")
					e.op("VMOVDQU X0, %d(DI)", 2*at)
				}
			}
			e.op("ADDQ $64, SI")
			e.op("ADDQ $32, DI")
		})
	}
	and, maximum := "VPAND", "VPMAXUD"
	if e.wide() {
		and = "VPANDD"
	}
	e.printf("\n// func magnitude%s(v *float32, n int) uint32\n//\n//\tn is a multiple of 16\n", e.tier)
	e.printf("TEXT ·magnitude%s(SB), NOSPLIT, $0-20\n", e.tier)
	e.op("MOVQ v+0(FP), SI")
	e.op("MOVQ n+8(FP), CX")
	e.constant(1<<31-1, 2)
	e.constant(0, 3)
	e.op("SUBQ $16, CX")
	e.op("JLT done")
	e.printf("\nloop:\n")
	for at := 0; at < 16; at += e.lanes {
		e.op("%s %d(SI), %s, %s", and, 4*at, e.v(2), e.v(0))
		e.op("%s %s, %s, %s", maximum, e.v(0), e.v(3), e.v(3))
	}
	e.op("ADDQ $64, SI")
	e.op("SUBQ $16, CX")
	e.op("JGE loop")
	e.printf("\ndone:\n")
	if e.wide() {
		e.op("VEXTRACTI64X4 $1, Z3, Y0")
		e.op("VPMAXUD Y0, Y3, Y3")
	}
	e.op("VEXTRACTI128 $1, Y3, X0")
	e.op("VPMAXUD X0, X3, X3")
	e.op("VPSHUFD $0x4e, X3, X0")
	e.op("VPMAXUD X0, X3, X3")
	e.op("VPSHUFD $0xb1, X3, X0")
	e.op("VPMAXUD X0, X3, X3")
	e.op("VMOVD X3, AX")
	e.op("MOVL AX, ret+16(FP)")
	e.op("VZEROUPPER")
	e.op("RET")
}

func (e *encodeWriter) roundBF16() {
	and := "VPAND"
	if e.wide() {
		and = "VPANDD"
	}
	e.op("VPSRLD $16, %s, %s", e.v(0), e.v(3))
	e.op("%s %s, %s, %s", and, e.v(1), e.v(3), e.v(3))
	e.op("VPADDD %[1]s, %[2]s, %[2]s", e.v(3), e.v(0))
	e.op("VPADDD %[1]s, %[2]s, %[2]s", e.v(2), e.v(0))
	e.op("VPSRLD $16, %[1]s, %[1]s", e.v(0))
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
