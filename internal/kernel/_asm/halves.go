package main

import (
	"fmt"
	"math"

	"qtool/internal/ggml"
)

// Encoders that take float16 or bfloat16 elements as they are stored, in batches of 16 blocks of 32:
// first each block is surveyed by its words, then all scales are divided at once,
// then blocks are packed while they are in the first cache. SI points at the elements, DI at
// the blocks, CX counts blocks, R9 those of the batch, R10 those done, R11 is where they are.
//
// On the stack are, for each block of a batch, the word that tells its extreme, its lowest
// element, the inverse of its scale, the lowest element as float32, and its scale:
const (
	stackExtreme, stackLow      = 0, 32
	stackInverse, stackLowFloat = 64, 128
	stackScale                  = 192
	stackBytes                  = 224
)

// Registers from 10 on hold constants, and the least that 0x7fff less the magnitude of
// an element has been. The tier with more of them has two constants more.
const (
	halfTop, halfShift, halfSign   = 10, 11, 12
	halfLeast, halfMask, halfOrder = 13, 14, 15
	halfLowNibble, halfBit4        = 16, 17
)

// A halfWriter prints the encoders of one tier and source.
type halfWriter struct {
	*encodeWriter
	source halfSource
}

// A halfSource is how elements are stored, as it is in the names of functions.
type halfSource string

const (
	fromFloat16  halfSource = "Halves"
	fromBFloat16 halfSource = "BFloats"
)

// widen makes float32 of the elements at an address, or in a register.
func (h *halfWriter) widen(from, to string) {
	if h.source == fromFloat16 {
		h.op("VCVTPH2PS %s, %s", from, to)
		return
	}
	h.op("VPMOVZXWD %s, %s", from, to)
	h.op("VPSLLD $16, %[1]s, %[1]s", to)
}

// surveyMagnitude keeps the first greatest element of a block, or what tells its size.
func (h *halfWriter) surveyMagnitude(signed bool) {
	h.op("VMOVDQU (R11), Y0")
	h.op("VMOVDQU 32(R11), Y1")
	h.op("VPANDN Y%d, Y0, Y0", halfMask)
	h.op("VPANDN Y%d, Y1, Y1", halfMask)
	h.op("VPMINUW Y0, Y1, Y2")
	h.fold("VPMINUW", 2)
	h.least()
	if signed {
		h.firstWord(stackExtreme)
	} else {
		h.op("VPEXTRW $0, X2, %d(SP)(R10*2)", stackExtreme)
	}
}

// least takes X2, eight words of 0x7fff less a magnitude, into account, and leaves the least of
// them in word 0.
func (h *halfWriter) least() {
	h.op("VPMINUW X2, X%[1]d, X%[1]d", halfLeast)
	h.op("VPHMINPOSUW X2, X2")
}

// surveySpan keeps the first least element of a block, and what tells the greatest. Signed
// magnitudes have the order of the elements, zeros of both signs being one.
func (h *halfWriter) surveySpan() {
	for i := range 2 {
		h.op("VMOVDQU %d(R11), Y2", 32*i)
		h.op("VPAND Y%d, Y2, Y%d", halfMask, i)
		h.op("VPSIGNW Y2, Y%[1]d, Y%[1]d", i)
	}
	h.op("VPMAXSW Y0, Y1, Y4")
	h.op("VPMINSW Y0, Y1, Y2")
	h.fold("VPMAXSW", 4)
	h.fold("VPMINSW", 2)
	h.op("VPXOR X%d, X4, X4 // 0x7fff less it", halfMask)
	h.op("VPADDW X%d, X2, X3", halfMask)
	h.op("VPMINUW X4, X%[1]d, X%[1]d", halfLeast)
	h.op("VPMINUW X3, X%[1]d, X%[1]d", halfLeast)
	h.op("VPHMINPOSUW X4, X4")
	h.op("VPEXTRW $0, X4, %d(SP)(R10*2)", stackExtreme)
	h.op("VPXOR X%d, X2, X2", halfSign)
	h.op("VPHMINPOSUW X2, X2")
	h.op("VPXOR X%d, X2, X2", halfSign)
	h.firstWord(stackLow)
}

// fold makes eight words of sixteen.
func (h *halfWriter) fold(op string, y int) {
	h.op("VEXTRACTI128 $1, Y%d, X3", y)
	h.op("%s X3, X%[2]d, X%[2]d", op, y)
}

// firstWord keeps the first of the block's words whose companion in Y0 or Y1 equals word 0
// of X2.
func (h *halfWriter) firstWord(at int) {
	h.op("VPBROADCASTW X2, Y2")
	h.op("VPCMPEQW Y0, Y2, Y0")
	h.op("VPCMPEQW Y1, Y2, Y1")
	h.op("VPMOVMSKB Y0, AX // two bits a word")
	h.op("VPMOVMSKB Y1, BX")
	h.op("SHLQ $32, BX")
	h.op("ORQ BX, AX")
	h.op("TZCNTQ AX, AX")
	h.op("MOVWLZX (R11)(AX*1), AX")
	h.op("MOVW AX, %d(SP)(R10*2)", at)
}

// float8 puts a number into all lanes of Y.
func (h *halfWriter) float8(f float32, y int) {
	h.op("MOVL $%#x, AX", math.Float32bits(f))
	h.op("VMOVD AX, X%d", y)
	h.op("VPBROADCASTD X%[1]d, Y%[1]d", y)
}

// divide keeps Y0 / n as the scales of 8 blocks from at on, and their inverses, 0 for those
// that are 0.
func (h *halfWriter) divide(n float32, at int) {
	h.op("VXORPS X1, X1, X1")
	h.op("VCMPPS $4, Y1, Y0, Y1")
	h.op("VANDPS Y1, Y0, Y0 // a zero has no sign")
	h.float8(n, 2)
	h.op("VDIVPS Y2, Y0, Y0")
	h.op("VCVTPS2PH $0, Y0, %d(SP)", stackScale+2*at)
	h.float8(1, 2)
	h.op("VDIVPS Y0, Y2, Y2")
	h.op("VANDPS Y1, Y2, Y2")
	h.op("VMOVUPS Y2, %d(SP)", stackInverse+4*at)
}

// dropInfinite makes infinite inverses of 8 blocks, which are in Y2, 0: levels are 0 then.
func (h *halfWriter) dropInfinite(at int) {
	h.float8(float32(math.Inf(1)), 1)
	h.op("VCMPPS $%d, Y1, Y2, Y1", notEqual)
	h.op("VANDPS Y1, Y2, Y2")
	h.op("VMOVUPS Y2, %d(SP)", stackInverse+4*at)
}

// scalesOfSpan divides the spans of 8 blocks.
func (h *halfWriter) scalesOfSpan(n float32, at int) {
	h.op("VPXOR %d(SP), X%d, X0", stackExtreme+2*at, halfMask)
	h.op("VPABSW X0, X1")
	h.op("VPAND X%d, X0, X0", halfSign)
	h.op("VPOR X1, X0, X0")
	h.widen("X0", "Y0")
	h.widen(fmt.Sprintf("%d(SP)", stackLow+2*at), "Y1")
	h.op("VMOVUPS Y1, %d(SP)", stackLowFloat+4*at)
	if h.source == fromBFloat16 {
		h.op("VCVTPS2PH $0, Y1, %d(SP) // as it is stored", stackLow+2*at)
	}
	h.op("VSUBPS Y1, Y0, Y0")
	h.divide(n, at)
}

// multiply puts the elements, less the lowest where there is one, times the inverse into
// 4.. and adds the shift.
func (h *halfWriter) multiply(low bool) {
	h.op("VBROADCASTSS %d(SP)(R10*4), %s", stackInverse, h.v(9))
	if low {
		h.op("VBROADCASTSS %d(SP)(R10*4), %s", stackLowFloat, h.v(8))
	}
	for i := range h.vectors() {
		x := h.v(4 + i)
		h.widen(fmt.Sprintf("%d(R11)", 2*h.lanes*i), x)
		if low {
			h.op("VSUBPS %[1]s, %[2]s, %[2]s", h.v(8), x)
		}
		h.op("VMULPS %[1]s, %[2]s, %[2]s", h.v(9), x)
	}
}

// store stores a word that is on the stack for each block.
func (h *halfWriter) store(from, at int) {
	h.op("MOVWLZX %d(SP)(R10*2), AX", from)
	h.op("MOVW AX, %d(DI)", at)
}

// narrow makes bytes of the small integers in 4..: with 8 lanes 32 in Y4, with 16 lanes those of
// X4 and X5.
func (h *halfWriter) narrow() {
	if h.wide() {
		h.op("VPMOVDB Z4, X4")
		h.op("VPMOVDB Z5, X5")
		return
	}
	h.op("VPACKSSDW Y5, Y4, Y4")
	h.op("VPACKSSDW Y7, Y6, Y6")
	h.op("VPACKSSWB Y6, Y4, Y4")
	h.op("VPERMD Y4, Y%d, Y4", halfOrder)
}

// packLevels stores levels at (DI), none above n, their low halves at at and, unless fifth is 0,
// bits 4 there.
func (h *halfWriter) packLevels(at, fifth int) {
	h.each("VADDPS "+h.v(halfShift)+", %s, %s", 4, 4)
	h.each("VCVTTPS2DQ %s, %s", 4, 4)
	if !h.wide() {
		h.narrow()
		h.op("VPMINSB Y%d, Y4, Y4", halfTop)
		h.nibbles(at, fifth)
		return
	}
	h.each("VPMINSD "+h.v(halfTop)+", %s, %s", 4, 4)
	if fifth > 0 {
		h.op("VPTESTMD Z%d, Z4, K1", halfBit4)
		h.op("VPTESTMD Z%d, Z5, K2", halfBit4)
		h.op("KUNPCKWD K1, K2, K1")
		h.op("KMOVD K1, %d(DI)", fifth)
		h.op("VPANDD Z%d, Z4, Z4", halfLowNibble)
	}
	h.op("VPSLLD $4, Z5, Z5")
	h.op("VPORD Z5, Z4, Z4")
	h.op("VPMOVDB Z4, X4")
	h.op("VMOVDQU X4, %d(DI)", at)
}

// A halfEncoding prints the parts of one type's encoder.
type halfEncoding struct {
	blocks
	top          uint32 // the highest level
	shift        float32
	survey, pack func(h *halfWriter)
	scales       func(h *halfWriter, at int) // of 8 blocks from at on
}

var halfEncodings = []halfEncoding{
	{
		blocks: blocksOf(ggml.Q8_0), shift: math.Nextafter32(0.5, 0), // see encodings
		survey: func(h *halfWriter) { h.surveyMagnitude(false) },
		scales: func(h *halfWriter, at int) {
			h.op("VPXOR %d(SP), X%d, X0", stackExtreme+2*at, halfMask)
			h.widen("X0", "Y0")
			h.divide(127, at)
			if h.source == fromBFloat16 {
				h.dropInfinite(at)
			}
		},
		pack: func(h *halfWriter) {
			h.multiply(false)
			h.store(stackScale, 0)
			for i := range h.vectors() {
				x, half := h.v(4+i), h.v(i)
				h.op("VANDPS %s, %s, %s", h.v(halfSign), x, half)
				h.op("VORPS %[1]s, %[2]s, %[2]s", h.v(halfShift), half)
				h.op("VADDPS %[1]s, %[2]s, %[2]s", half, x)
				h.op("VCVTTPS2DQ %[1]s, %[1]s", x)
			}
			h.narrow()
			if h.wide() {
				h.op("VMOVDQU X4, 2(DI)")
				h.op("VMOVDQU X5, 18(DI)")
			} else {
				h.op("VMOVDQU Y4, 2(DI)")
			}
		},
	},
	symmetricHalves(ggml.Q4_0, 8, 0),
	symmetricHalves(ggml.Q5_0, 16, 2),
	affineHalves(ggml.Q4_1, 15, 0),
	affineHalves(ggml.Q5_1, 31, 4),
}

// symmetricHalves is symmetricEncoding.
func symmetricHalves(t ggml.Type, n, fifth int) halfEncoding {
	return halfEncoding{
		blocks: blocksOf(t), top: uint32(2*n - 1), shift: float32(n) + 0.5,
		survey: func(h *halfWriter) { h.surveyMagnitude(true) },
		scales: func(h *halfWriter, at int) {
			h.widen(fmt.Sprintf("%d(SP)", stackExtreme+2*at), "Y0")
			h.divide(float32(-n), at)
		},
		pack: func(h *halfWriter) {
			h.multiply(false)
			h.store(stackScale, 0)
			h.packLevels(t.BlockBytes()-16, fifth)
		},
	}
}

// affineHalves is affineEncoding.
func affineHalves(t ggml.Type, n, fifth int) halfEncoding {
	return halfEncoding{
		blocks: blocksOf(t), top: uint32(n), shift: 0.5,
		survey: (*halfWriter).surveySpan,
		scales: func(h *halfWriter, at int) { h.scalesOfSpan(float32(n), at) },
		pack: func(h *halfWriter) {
			h.multiply(true)
			h.store(stackScale, 0)
			h.store(stackLow, 2)
			h.packLevels(t.BlockBytes()-16, fifth)
		},
	}
}

// emitHalves prints the encoders with so many lanes.
func emitHalves(tier, register string, lanes int, source halfSource) func(w *writer) {
	return func(w *writer) {
		h := &halfWriter{&encodeWriter{w, tier, register, lanes}, source}
		for _, d := range halfEncodings {
			h.encoder(d)
		}
		if source == fromFloat16 {
			h.toBF16()
			h.survey("F16")
		} else {
			h.toF16()
			h.survey("BF16")
		}
	}
}

// begin prints the head of a function and what all have in common.
func (h *halfWriter) begin(name, counts string, frame int) {
	h.printf("\n// func encode%s%s%s(dst, src *byte, n int) (magnitude uint32)\n//\n//\tn counts %s\n", h.source, name, h.tier, counts)
	h.printf("TEXT ·encode%s%s%s(SB), NOSPLIT, $%d-28\n", h.source, name, h.tier, frame)
	h.arguments()
	h.constant(0x7fff7fff, halfMask)
	h.op("VMOVDQA Y%d, Y%d", halfMask, halfLeast)
}

// end returns the greatest magnitude.
func (h *halfWriter) end() {
	h.printf("\ndone:\n")
	h.op("VPHMINPOSUW X%[1]d, X%[1]d", halfLeast)
	h.op("VPXOR X%d, X%[2]d, X%[2]d", halfMask, halfLeast)
	h.op("VPEXTRW $0, X%d, AX", halfLeast)
	h.op("MOVL AX, magnitude+24(FP)")
	h.op("VZEROUPPER")
	h.op("RET")
}

func (h *halfWriter) encoder(d halfEncoding) {
	h.begin(d.name, "blocks", stackBytes)
	h.float(d.shift, halfShift)
	switch {
	case d.top == 0: // signs of floats, not words
		h.constant(1<<31, halfSign)
	case h.wide():
		h.constant(0x80008000, halfSign)
		h.constant(d.top, halfTop)
		h.constant(15, halfLowNibble)
		h.constant(16, halfBit4)
	default:
		h.constant(0x80008000, halfSign)
		h.constant(d.top*0x01010101, halfTop)
	}
	if !h.wide() {
		h.op("MOVQ $0x0703060205010400, AX // the order of packed vectors")
		h.op("VMOVQ AX, X%d", halfOrder)
		h.op("VPMOVZXBD X%[1]d, Y%[1]d", halfOrder)
	}
	h.batches(64, d.bytes, func() { d.survey(h) }, func() {
		for at := 0; at < 16; at += 8 {
			d.scales(h, at)
		}
	}, func() { d.pack(h) })
	h.end()
}

// batches prints how blocks of so many bytes are encoded to as many as to: each is surveyed, the
// batch's scales are computed, each is packed.
func (h *halfWriter) batches(from, to int, survey, scales, pack func()) {
	h.op("TESTQ CX, CX")
	h.op("JLE done")
	h.printf("\nbatch:\n")
	h.op("MOVQ $16, R9")
	h.op("CMPQ CX, R9")
	h.op("CMOVQLT CX, R9")
	if survey != nil {
		h.blocks("survey", from, survey)
	}
	scales()
	h.blocks("pack", from, func() {
		pack()
		h.op("ADDQ $%d, DI", to)
	})
	h.op("MOVQ R11, SI")
	h.op("SUBQ R9, CX")
	h.op("JGT batch")
}

// blocks prints body for each block of a batch.
func (h *halfWriter) blocks(label string, size int, body func()) {
	h.op("MOVQ SI, R11")
	h.op("XORL R10, R10")
	h.printf("\n%s:\n", label)
	body()
	h.op("ADDQ $%d, R11", size)
	h.op("INCQ R10")
	h.op("CMPQ R10, R9")
	h.op("JLT %s", label)
}

// toBF16 prints the encoder of BF16, which rounds to nearest even.
func (h *halfWriter) toBF16() {
	h.begin("BF16", "elements and is a multiple of 16", 0)
	h.constant(1, 1)
	h.constant(0x7fff, 2)
	h.op("TESTQ CX, CX")
	h.op("JLE done")
	h.printf("\nloop:\n")
	h.magnitudes16()
	for at := 0; at < 16; at += h.lanes {
		h.widen(fmt.Sprintf("%d(SI)", 2*at), h.v(0))
		h.roundBF16()
		if h.wide() {
			h.op("VPMOVDW Z0, Y0")
			h.op("VMOVDQU Y0, (DI)")
		} else {
			h.op("VEXTRACTI128 $1, Y0, X3")
			h.op("VPACKUSDW X3, X0, X0")
			h.op("VMOVDQU X0, %d(DI)", 2*at)
		}
	}
	h.op("ADDQ $32, DI")
	h.next16()
}

// toF16 prints the encoder of F16.
func (h *halfWriter) toF16() {
	h.begin("F16", "elements and is a multiple of 16", 0)
	h.op("TESTQ CX, CX")
	h.op("JLE done")
	h.printf("\nloop:\n")
	h.magnitudes16()
	for at := 0; at < 16; at += h.lanes {
		h.widen(fmt.Sprintf("%d(SI)", 2*at), h.v(0))
		h.op("VCVTPS2PH $0, %s, %d(DI)", h.v(0), 2*at)
	}
	h.op("ADDQ $32, DI")
	h.next16()
}

// survey prints what encodes nothing: elements that stay as they are are copied.
func (h *halfWriter) survey(name string) {
	h.begin(name, "elements and is a multiple of 16; dst is not used", 0)
	h.op("TESTQ CX, CX")
	h.op("JLE done")
	h.printf("\nloop:\n")
	h.magnitudes16()
	h.next16()
}

// magnitudes16 looks at 16 elements.
func (h *halfWriter) magnitudes16() {
	h.op("VMOVDQU (SI), Y4")
	h.op("VPANDN Y%d, Y4, Y4", halfMask)
	h.op("VPMINUW Y4, Y%[1]d, Y%[1]d", halfLeast)
}

func (h *halfWriter) next16() {
	h.op("ADDQ $32, SI")
	h.op("SUBQ $16, CX")
	h.op("JGT loop")
	h.fold("VPMINUW", halfLeast)
	h.end()
}

// halfDeclarations declares the encoders and lists them for the tiers.
func halfDeclarations() []byte {
	w := &writer{}
	w.WriteString(header)
	w.WriteString("package coding\n\nimport \"qtool/internal/ggml\"\n\n")
	names := []string{"F16", "BF16"}
	for _, d := range halfEncodings {
		names = append(names, d.name)
	}
	for _, source := range []struct {
		list string
		name halfSource
		few  []string
	}{{"halfEncoders", fromFloat16, fewLevels()}, {"bfloatEncoders", fromBFloat16, nil}} {
		listEncoders(w, source.list, "halfEncodeFunc", "encode"+string(source.name), names, source.few)
		declareEncoders(w, "encode"+string(source.name)+"%s%s(dst, src *byte, n int) (magnitude uint32)", names, source.few)
	}
	return w.Bytes()
}
