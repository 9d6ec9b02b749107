package main

import (
	"fmt"
	"strings"
)

// A sink is what becomes of the elements, in vectors of 8 or 16 lanes.
type sink struct {
	kind     kind
	tier     string
	register string // of the vectors
	lanes    int
}

// A kind of sink: elements are stored, stored as bfloat16 or multiplied with
// those of a vector and added up.
type kind struct {
	function, arguments string
	frame               int
	size                int // bytes that DI moves for each element
}

var (
	toFloat32 = kind{"decode%s%s", "dst *float32, src *byte, blocks, rows, dstStride, srcStride int", 48, 4}
	toBF16    = kind{"decode%sBF16%s", "dst *uint16, src *byte, blocks, rows, dstStride, srcStride int", 48, 2}
	toDot     = kind{"dot%s%s", "x *float32, src *byte, blocks, rows int, y *float32", 40, 4}
)

func (s sink) name(d decoding) string { return fmt.Sprintf(s.kind.function, d.name, s.tier) }

var sinks = []sink{
	{toFloat32, "AVX2", "Y", 8},
	{toDot, "AVX2", "Y", 8},
	{toFloat32, "AVX512", "Z", 16},
	{toDot, "AVX512", "Z", 16},
	{toBF16, "AVX512", "Z", 16},
}

// A decoding prints one ggml type's decoder. The block is at SI; elements go
// to DI; CX counts blocks.
type decoding struct {
	blocks
	constants []constant
	levels    string                 // sixteen bytes that nibbles stand for, in register 11
	setup     func(d *decoderWriter) // what else is there before the first block, or nil
	block     func(d *decoderWriter)
}

// A constant is a vector register that holds one integer in every lane.
type constant struct{ register, value int }

// Vector registers of decoders. Those of a constant hold it in every lane; which decoder has
// which is said in decodings.
const (
	values, values2 = 0, 1 // elements on their way to the sink; 2 is of use for a while
	dotSum          = 3    // of toDot
	scale, low      = 4, 5 // of a group
	bytesLow        = 6    // low bits of elements; 7 and 8 have other bits
	bytesHigh       = 7
	lowBits         = 11 // a mask of the low bits of a lane, or a table of levels
	pairMask        = 12 // of bit pairs
	nibbleMask      = 12 // of the nibbles of bytes
	offset8         = 13 // what is subtracted from unsigned elements
	offset32        = 14
)

// A decoderWriter prints the parts that decoders have in common.
type decoderWriter struct {
	*writer
	sink
	sums []int // the registers of toDot's sums
	// scaledLast: toDot sums a block up before it is multiplied with its scale.
	scaledLast bool
	begun      bool // there is something in that sum
}

// sumsOf are registers that the decoding leaves alone.
func sumsOf(s sink, d decoding) []int {
	switch {
	case s.kind != toDot:
		return nil
	case s.register == "Z":
		return []int{dotSum, 16, 17, 18}
	}
	return []int{dotSum, 9, 10}
}

func (d *decoderWriter) wide() bool { return d.register == "Z" }

func (d *decoderWriter) v(i int) string { return fmt.Sprint(d.register, i) }

// bitwise is VPAND or VPOR, which have another name in 512 bits.
func (d *decoderWriter) bitwise(op string) string {
	if d.wide() {
		return op + "D"
	}
	return op
}

// float16 broadcasts the binary16 at address.
func (d *decoderWriter) float16(address string, to int) {
	half := "X"
	if d.wide() {
		half = "Y"
	}
	d.op("VPBROADCASTW %s, %s%d", address, half, to)
	d.op("VCVTPH2PS %s%d, %s", half, to, d.v(to))
}

// nibbles loads a vector of bytes: their low halves into 0, their high ones into 1.
func (d *decoderWriter) nibbles(at int) {
	d.op("VPMOVZXBD %d(SI), %s", at, d.v(bytesLow))
	d.op("%s %s, %s, %s", d.bitwise("VPAND"), d.v(lowBits), d.v(bytesLow), d.v(values))
	d.op("VPSRLD $4, %s, %s", d.v(bytesLow), d.v(values2))
}

// bitPair puts bit pair k of the low bytes into 0; mask holds 3.
func (d *decoderWriter) bitPair(k, mask int) {
	if k == 0 {
		d.op("%s %s, %s, %s", d.bitwise("VPAND"), d.v(mask), d.v(bytesLow), d.v(values))
		return
	}
	d.op("VPSRLD $%d, %s, %s", 2*k, d.v(bytesLow), d.v(values))
	d.op("%s %s, %s, %s", d.bitwise("VPAND"), d.v(mask), d.v(values), d.v(values))
}

// leveled stores the levels of the nibbles of sixteen bytes, times scale, as
// elements at to at+31.
func (d *decoderWriter) leveled(from, at int) {
	if d.wide() {
		d.scaleTableBy(scale)
		d.roundTable()
		d.tabledNibbles(from, at, at+16)
		return
	}
	d.op("VMOVDQU %d(SI), X%d", from, bytesLow)
	d.op("VPAND X%d, X%d, X0", nibbleMask, bytesLow)
	d.op("VPSRLW $4, X%d, X1", bytesLow)
	d.op("VPAND X%d, X1, X1", nibbleMask)
	for i := range 2 {
		d.op("VPSHUFB X%[1]d, X%[2]d, X%[1]d", i, lowBits)
		for part := 0; part < 16; part += 8 {
			if part > 0 {
				d.op("VPSRLDQ $8, X%[1]d, X%[1]d", i)
			}
			d.op("VPMOVSXBD X%d, Y2", i)
			d.scaled(2, at+16*i+part)
		}
	}
}

// Thirty-two elements that are put together as bytes, in Y registers, go through the
// stack, from where they are widened: four slots.
const unpackedAt = 128

// shifted is register from, whose bytes' bits are moved to the right, or to the left
// where by < 0; it may be register to. Bits come from neighbours.
func (d *decoderWriter) shifted(from, by, to int) int {
	switch {
	case by > 0:
		d.op("VPSRLW $%d, Y%d, Y%d", by, from, to)
	case by < 0:
		d.op("VPSLLW $%d, Y%d, Y%d", -by, from, to)
	default:
		return from
	}
	return to
}

// masked puts bits of bytes, moved like those of shifted, into register to.
func (d *decoderWriter) masked(from, by int, mask string, to int) {
	d.op("VPAND %s<>(SB), Y%d, Y%d", mask, d.shifted(from, by, to), to)
}

// unpacked joins the bytes of 0 and 1, less those of a constant if it has a name.
func (d *decoderWriter) unpacked(slot int, less string) {
	d.op("VPOR Y1, Y0, Y0")
	if less != "" {
		d.op("VPSUBB %s<>(SB), Y0, Y0", less)
	}
	d.op("VMOVDQU Y0, %d(SP)", unpackedAt+32*slot)
}

// widened loads elements of a slot, from the one at an offset.
func (d *decoderWriter) widened(slot, from int) {
	d.op("VPMOVSXBD %d(SP), %s", unpackedAt+32*slot+from, d.v(values))
}

// unpackFifthBits unpacks 32 elements that begin with 32 high bits.
func (d *decoderWriter) unpackFifthBits(at int, less string) {
	d.op("VMOVDQU %d(SI), X0", at+4)
	d.op("VPSRLW $4, X0, X1")
	d.op("VINSERTI128 $1, X1, Y0, Y0")
	d.op("VPAND lowNibbles<>(SB), Y0, Y0")
	d.op("VPBROADCASTD %d(SI), Y1", at)
	d.op("VPSHUFB eightByteCopies<>(SB), Y1, Y1")
	d.op("VPAND bitOfByte<>(SB), Y1, Y1")
	d.op("VPCMPEQB bitOfByte<>(SB), Y1, Y1")
	d.op("VPAND bytes16<>(SB), Y1, Y1")
	d.unpacked(0, less)
}

// scalesAndMins unpacks the 6-bit pairs of Q4_K and Q5_K: d·scale of group g
// goes to 4g(SP), dmin·min to 32+4g(SP).
func (d *decoderWriter) scalesAndMins() {
	d.op("MOVL 4(SI), R8 // scales 0..3, on top of them bits of 4..7")
	d.op("MOVL 8(SI), R9 // mins 0..3 likewise")
	d.op("MOVL 12(SI), R10 // the low halves of scales and mins 4..7")
	for i, low := range []string{"R8", "R9"} {
		d.op("MOVL %s, R11", low)
		d.op("ANDL $0x3f3f3f3f, R11")
		d.op("SHRL $2, %s", low)
		d.op("ANDL $0x30303030, %s", low)
		d.op("MOVL R10, R12")
		if i == 1 {
			d.op("SHRL $4, R12")
		}
		d.op("ANDL $0x0f0f0f0f, R12")
		d.op("ORL R12, %s", low)
		d.op("SHLQ $32, %s", low)
		d.op("ORQ R11, %s", low)
		d.op("VMOVQ %s, X0", low)
		d.op("VPMOVZXBD X0, Y0")
		d.op("VCVTDQ2PS Y0, Y0")
		d.op("VPBROADCASTW %d(SI), X1", 2*i)
		d.op("VCVTPH2PS X1, Y1")
		d.op("VMULPS Y1, Y0, Y0")
		d.op("VMOVUPS Y0, %d(SP)", 32*i)
	}
}

func (d *decoderWriter) group(g int) { d.groupTo(g, scale, low) }

// groupTo puts what scalesAndMins left of group g into two registers.
func (d *decoderWriter) groupTo(g, scale, low int) {
	d.op("VBROADCASTSS %d(SP), %s", 4*g, d.v(scale))
	d.op("VBROADCASTSS %d(SP), %s", 32+4*g, d.v(low))
}

// scaled stores the integers of register i times scale at element at.
func (d *decoderWriter) scaled(i, at int) {
	d.op("VCVTDQ2PS %s, %s", d.v(i), d.v(i))
	if !d.scaledLast {
		d.op("VMULPS %s, %s, %s", d.v(scale), d.v(i), d.v(i))
	}
	d.store(i, at)
}

// affine stores the integers of register i times scale plus or minus low: two
// roundings, as ggml has them.
func (d *decoderWriter) affine(i, at int, op string) { d.affineBy(i, at, op, scale, low) }

// affineBy is affine with other registers.
func (d *decoderWriter) affineBy(i, at int, op string, scale, low int) {
	d.op("VCVTDQ2PS %s, %s", d.v(i), d.v(i))
	d.op("VMULPS %s, %s, %s", d.v(scale), d.v(i), d.v(i))
	d.op("%s %s, %s, %s", op, d.v(low), d.v(i), d.v(i))
	d.store(i, at)
}

// lowerHalf keeps the first of two vectors that are rounded and stored together: those
// of bfloat16 have to be stored in order.
const lowerHalf = 19

func (d *decoderWriter) store(i, at int) {
	switch {
	case d.scaledLast:
		d.addToBlock(i, at)
	case d.kind == toBF16:
		if at%32 == 0 {
			d.op("VMOVAPS Z%d, Z%d", i, lowerHalf)
			return
		}
		roundTwoToBF16(d.writer, i, lowerHalf, i)
		d.op("VMOVDQU32 Z%d, %d(DI)", i, 2*at-32)
	case d.kind == toDot: // sums take turns: one would wait for itself
		d.op("VFMADD231PS %d(DI), %s, %s", 4*at, d.v(i), d.v(d.sums[at/d.lanes%len(d.sums)]))
	default:
		d.op("VMOVUPS %s, %d(DI)", d.v(i), 4*at)
	}
}

// emitDecoders prints the decoders with so many lanes.
func emitDecoders(lanes int) func(w *writer) {
	return func(w *writer) {
		printVectors(w, vectors)
		for _, s := range sinks {
			if s.lanes != lanes {
				continue
			}
			for _, d := range s.kind.decodings() {
				emitDecoder(w, s, d)
			}
		}
	}
}

func emitDecoder(w *writer, s sink, d decoding) {
	w.printf("\n// func %s(%s)\n", s.name(d), s.kind.arguments)
	w.printf("TEXT ·%s(SB), NOSPLIT, $256-%d\n", s.name(d), s.kind.frame)
	w.op("MOVQ %s+0(FP), DI", strings.Fields(s.kind.arguments)[0])
	w.op("MOVQ src+8(FP), SI")
	w.op("MOVQ blocks+16(FP), CX")
	for _, c := range d.constants {
		w.op("MOVL $%d, AX", c.value)
		w.op("VMOVD AX, X%d", c.register)
		w.op("VPBROADCASTD X%d, %s%d", c.register, s.register, c.register)
	}
	if low, high, ok := strings.Cut(d.levels, " "); ok {
		w.op("MOVQ %s, AX", low)
		w.op("VMOVQ AX, X%d", lowBits)
		w.op("MOVQ %s, AX", high)
		w.op("VPINSRQ $1, AX, X%[1]d, X%[1]d", lowBits)
	}
	block := &decoderWriter{writer: w, sink: s, sums: sumsOf(s, d), scaledLast: s.kind == toDot && d.hasOneScale()}
	block.clearSums()
	if d.setup != nil {
		d.setup(block)
	}
	w.op("TESTQ CX, CX")
	w.op("JZ done")
	if s.kind == toDot {
		w.op("MOVQ y+32(FP), R15")
	} else {
		w.op("MOVQ srcStride+40(FP), R15")
		w.op("SHLQ $%d, R15", rowsAheadShift)
	}
	w.printf("\nloop:\n")
	if s.kind != toDot {
		for line := 0; line < d.bytes; line += 64 {
			w.op("PREFETCHT0 %d(SI)(R15*1)", line)
		}
	}
	if block.scaledLast {
		block.fourBlocks(d)
	} else {
		if s.kind == toDot {
			block.fetchAhead(d.bytes)
		}
		block.blockOf(d)
		w.op("DECQ CX")
		w.op("JNZ loop")
	}
	if s.kind == toDot {
		block.addSum()
	} else {
		nextRow(w)
	}
	w.printf("\ndone:\n")
	w.op("VZEROUPPER")
	w.op("RET")
}

// blockOf prints one block and the step to the next.
func (d *decoderWriter) blockOf(of decoding) {
	of.block(d)
	d.op("ADDQ $%d, SI", of.bytes)
	d.op("ADDQ $%d, DI", of.elements*d.kind.size)
}

// rowsAheadShift says how many rows ahead, as a power of two, the blocks of
// following rows are fetched: parts of rows are too short for the hardware to see.
const rowsAheadShift = 3

// nextRow prints the step from a row to the next.
func nextRow(w *writer) {
	w.op("MOVQ dst+0(FP), DI")
	w.op("ADDQ dstStride+32(FP), DI")
	w.op("MOVQ DI, dst+0(FP)")
	w.op("MOVQ src+8(FP), SI")
	w.op("ADDQ srcStride+40(FP), SI")
	w.op("MOVQ SI, src+8(FP)")
	w.op("MOVQ blocks+16(FP), CX")
	w.op("DECQ rows+24(FP)")
	w.op("JNZ loop")
}

// decoderDeclarations declares the decoders and lists them for the tiers.
func decoderDeclarations() []byte {
	w := &writer{}
	w.WriteString(header)
	w.WriteString("package coding\n\nimport (\n_ \"qtool/internal/codebook\" // the assembly reads its points\n\"qtool/internal/ggml\"\n)\n\n")
	for _, t := range []struct {
		tier, simd string
		bf16       bool
	}{{"AVX2", "AVX2", false}, {"AVX512", "AVX512", false}, {"AVX512BF16", "AVX512", true}} {
		w.printf("var decoders%s = [ggml.Types]Decoder{\nggml.F32: {Elements: %d, Dot: dotF32%s},\n", t.tier, float32Rows.elements, t.simd)
		for _, d := range decodings {
			w.printf("ggml.%[1]s: {Elements: %[2]d, Float32: decode%[1]s%[3]s, Dot: dot%[1]s%[3]s,", d.name, d.elements, t.simd)
			if t.bf16 {
				w.printf("BF16: decode%sBF16%s,", d.name, t.simd)
			}
			w.printf("},\n")
		}
		w.printf("}\n\n")
	}
	for _, s := range sinks {
		for _, d := range s.kind.decodings() {
			w.printf("//go:noescape\nfunc %s(%s)\n\n", s.name(d), s.kind.arguments)
		}
	}
	return w.Bytes()
}
