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
	size                int // bytes from an element to the next at sinkAt
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

// A decoding prints one ggml type's decoder.
type decoding struct {
	blocks
	constants []constant
	levels    string                 // sixteen bytes that nibbles stand for, in lowBits
	setup     func(d *decoderWriter) // what else is there before the first block, or nil
	block     func(d *decoderWriter)
}

// A constant is a vector register that holds one integer in every lane.
type constant struct{ register, value int }

// Registers of decoders.
const (
	encodedAt  = "SI"  // the block
	sinkAt     = "DI"  // where elements go, or those that they are multiplied with
	blocksLeft = "CX"  // of the row
	toRowAhead = "R15" // bytes from a row to the one that is fetched ahead
	yAt        = "R15" // of toDot: the result of the row
	pointsAt   = "R13" // the codebook of a lattice
)

// Vector registers of decoders. Those of a constant hold it in every lane; which decoder has
// which is said in decodings.
const (
	values, values2 = 0, 1 // elements on their way to the sink
	values3         = 2
	dotSum          = 3    // of toDot
	scale, low      = 4, 5 // of a group
	bytesLow        = 6    // low bits of elements
	bytesHigh       = 7    // high ones, or other low ones
	bytesLow2       = 8
	lowBits         = 11 // a mask of the low bits of a lane, or a table of levels
	pairMask        = 12 // of bit pairs
	nibbleMask      = 12 // of the nibbles of bytes
	offset8         = 13 // what is subtracted from unsigned elements
	offset32        = 14
)

// A decoderWriter prints what decoders have in common.
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
	loaded := "X"
	if d.wide() {
		loaded = "Y"
	}
	d.ins("VPBROADCASTW", address, numbered(loaded, to))
	d.ins("VCVTPH2PS", numbered(loaded, to), d.v(to))
}

// nibbles loads a vector of bytes: their low nibbles into values, their high ones into values2.
func (d *decoderWriter) nibbles(place int) {
	d.ins("VPMOVZXBD", at(encodedAt, place), d.v(bytesLow))
	d.ins(d.bitwise("VPAND"), d.v(lowBits), d.v(bytesLow), d.v(values))
	d.ins("VPSRLD", "$4", d.v(bytesLow), d.v(values2))
}

// bitPair puts bit pair k of the low bytes into values; mask holds 3.
func (d *decoderWriter) bitPair(k, mask int) {
	if k == 0 {
		d.ins(d.bitwise("VPAND"), d.v(mask), d.v(bytesLow), d.v(values))
		return
	}
	d.ins("VPSRLD", number(2*k), d.v(bytesLow), d.v(values))
	d.ins(d.bitwise("VPAND"), d.v(mask), d.v(values), d.v(values))
}

// leveled stores the levels of the nibbles of sixteen bytes, times scale, as the 32 elements
// from first on.
func (d *decoderWriter) leveled(from, first int) {
	if d.wide() {
		d.scaleTableBy(scale)
		d.roundTable()
		d.tabledNibbles(from, first, first+16)
		return
	}
	d.ins("VMOVDQU", at(encodedAt, from), xmm(bytesLow))
	d.ins("VPAND", xmm(nibbleMask), xmm(bytesLow), xmm(values))
	d.ins("VPSRLW", "$4", xmm(bytesLow), xmm(values2))
	d.ins("VPAND", xmm(nibbleMask), xmm(values2), xmm(values2))
	for i, v := range []int{values, values2} {
		d.ins("VPSHUFB", xmm(v), xmm(lowBits), xmm(v))
		for half := 0; half < 16; half += 8 {
			if half > 0 {
				d.ins("VPSRLDQ", "$8", xmm(v), xmm(v))
			}
			d.ins("VPMOVSXBD", xmm(v), ymm(values3))
			d.scaled(values3, first+16*i+half)
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
		d.ins("VPSRLW", number(by), ymm(from), ymm(to))
	case by < 0:
		d.ins("VPSLLW", number(-by), ymm(from), ymm(to))
	default:
		return from
	}
	return to
}

// masked puts bits of bytes, moved like those of shifted, into register to.
func (d *decoderWriter) masked(from, by int, mask string, to int) {
	d.ins("VPAND", static(mask), ymm(d.shifted(from, by, to)), ymm(to))
}

// unpacked joins the bytes of values and values2, less those of a constant if it has a name.
func (d *decoderWriter) unpacked(slot int, less string) {
	d.ins("VPOR", ymm(values2), ymm(values), ymm(values))
	if less != "" {
		d.ins("VPSUBB", static(less), ymm(values), ymm(values))
	}
	d.ins("VMOVDQU", ymm(values), at(stack, unpackedAt+32*slot))
}

// widened loads elements of a slot, from the one at an offset.
func (d *decoderWriter) widened(slot, from int) {
	d.ins("VPMOVSXBD", at(stack, unpackedAt+32*slot+from), d.v(values))
}

// unpackFifthBits unpacks 32 elements that begin with 32 high bits.
func (d *decoderWriter) unpackFifthBits(place int, less string) {
	d.ins("VMOVDQU", at(encodedAt, place+4), xmm(values))
	d.ins("VPSRLW", "$4", xmm(values), xmm(values2))
	d.ins("VINSERTI128", "$1", xmm(values2), ymm(values), ymm(values))
	d.ins("VPAND", static("lowNibbles"), ymm(values), ymm(values))
	d.ins("VPBROADCASTD", at(encodedAt, place), ymm(values2))
	d.ins("VPSHUFB", static("eightByteCopies"), ymm(values2), ymm(values2))
	d.ins("VPAND", static("bitOfByte"), ymm(values2), ymm(values2))
	d.ins("VPCMPEQB", static("bitOfByte"), ymm(values2), ymm(values2))
	d.ins("VPAND", static("bytes16"), ymm(values2), ymm(values2))
	d.unpacked(0, less)
}

// scalesAndMins unpacks the 6-bit pairs of Q4_K and Q5_K: d·scale of group g
// goes to 4g(SP), dmin·min to 32+4g(SP).
func (d *decoderWriter) scalesAndMins() {
	const (
		scales, mins          = "R8", "R9"
		highBits              = "R10"
		lowGroups, highGroups = "R11", "R12" // the numbers of groups 0..3, bits of those of 4..7
		numbers, factor       = 0, 1
	)
	d.ins("MOVL", at(encodedAt, 4), scales+" // scales 0..3, on top of them bits of 4..7")
	d.ins("MOVL", at(encodedAt, 8), mins+" // mins 0..3 likewise")
	d.ins("MOVL", at(encodedAt, 12), highBits+" // the low halves of scales and mins 4..7")
	for i, bits := range []string{scales, mins} {
		d.ins("MOVL", bits, lowGroups)
		d.ins("ANDL", "$0x3f3f3f3f", lowGroups)
		d.ins("SHRL", "$2", bits)
		d.ins("ANDL", "$0x30303030", bits)
		d.ins("MOVL", highBits, highGroups)
		if i == 1 {
			d.ins("SHRL", "$4", highGroups)
		}
		d.ins("ANDL", "$0x0f0f0f0f", highGroups)
		d.ins("ORL", highGroups, bits)
		d.ins("SHLQ", "$32", bits)
		d.ins("ORQ", lowGroups, bits)
		d.ins("VMOVQ", bits, xmm(numbers))
		d.ins("VPMOVZXBD", xmm(numbers), ymm(numbers))
		d.ins("VCVTDQ2PS", ymm(numbers), ymm(numbers))
		d.ins("VPBROADCASTW", at(encodedAt, 2*i), xmm(factor))
		d.ins("VCVTPH2PS", xmm(factor), ymm(factor))
		d.ins("VMULPS", ymm(factor), ymm(numbers), ymm(numbers))
		d.ins("VMOVUPS", ymm(numbers), at(stack, 32*i))
	}
}

func (d *decoderWriter) group(g int) { d.groupTo(g, scale, low) }

// groupTo puts what scalesAndMins left of group g into given registers.
func (d *decoderWriter) groupTo(g, scale, low int) {
	d.ins("VBROADCASTSS", at(stack, 4*g), d.v(scale))
	d.ins("VBROADCASTSS", at(stack, 32+4*g), d.v(low))
}

// scaled stores the integers of register i times scale at element at.
func (d *decoderWriter) scaled(i, first int) {
	d.ins("VCVTDQ2PS", d.v(i), d.v(i))
	if !d.scaledLast {
		d.ins("VMULPS", d.v(scale), d.v(i), d.v(i))
	}
	d.store(i, first)
}

// affine stores the integers of register i times scale plus or minus low: two
// roundings, as ggml has them.
func (d *decoderWriter) affine(i, first int, op string) { d.affineBy(i, first, op, scale, low) }

// affineBy is affine with other registers.
func (d *decoderWriter) affineBy(i, first int, op string, scale, low int) {
	d.ins("VCVTDQ2PS", d.v(i), d.v(i))
	d.ins("VMULPS", d.v(scale), d.v(i), d.v(i))
	d.ins(op, d.v(low), d.v(i), d.v(i))
	d.store(i, first)
}

// toRound keeps the first of two vectors that are rounded and stored together: those
// of bfloat16 have to be stored in order.
const toRound = 19

func (d *decoderWriter) store(i, first int) {
	switch {
	case d.scaledLast:
		d.addToBlock(i, first)
	case d.kind == toBF16:
		if first%32 == 0 {
			d.ins("VMOVAPS", zmm(i), zmm(toRound))
			return
		}
		roundTwoToBF16(d.writer, i, toRound, i)
		d.ins("VMOVDQU32", zmm(i), at(sinkAt, 2*first-32))
	case d.kind == toDot: // there are several sums: one would wait for itself
		d.ins("VFMADD231PS", at(sinkAt, 4*first), d.v(i), d.v(d.sums[first/d.lanes%len(d.sums)]))
	default:
		d.ins("VMOVUPS", d.v(i), at(sinkAt, 4*first))
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
	w.ins("MOVQ", strings.Fields(s.kind.arguments)[0]+"+0(FP)", sinkAt)
	w.ins("MOVQ", "src+8(FP)", encodedAt)
	w.ins("MOVQ", "blocks+16(FP)", blocksLeft)
	for _, c := range d.constants {
		w.ins("MOVL", number(c.value), scratch)
		w.ins("VMOVD", scratch, xmm(c.register))
		w.ins("VPBROADCASTD", xmm(c.register), numbered(s.register, c.register))
	}
	if first, second, ok := strings.Cut(d.levels, " "); ok {
		w.ins("MOVQ", first, scratch)
		w.ins("VMOVQ", scratch, xmm(lowBits))
		w.ins("MOVQ", second, scratch)
		w.ins("VPINSRQ", "$1", scratch, xmm(lowBits), xmm(lowBits))
	}
	block := &decoderWriter{writer: w, sink: s, sums: sumsOf(s, d), scaledLast: s.kind == toDot && d.hasOneScale()}
	block.clearSums()
	if d.setup != nil {
		d.setup(block)
	}
	w.ins("TESTQ", blocksLeft, blocksLeft)
	w.op("JZ done")
	if s.kind == toDot {
		w.ins("MOVQ", "y+32(FP)", yAt)
	} else {
		w.ins("MOVQ", "srcStride+40(FP)", toRowAhead)
		w.ins("SHLQ", number(rowsAheadShift), toRowAhead)
	}
	w.printf("\nloop:\n")
	if s.kind != toDot {
		for line := 0; line < d.bytes; line += 64 {
			w.ins("PREFETCHT0", at(encodedAt, line)+times(toRowAhead, 1))
		}
	}
	if block.scaledLast {
		block.fourBlocks(d)
	} else {
		if s.kind == toDot {
			block.fetchAhead(d.bytes)
		}
		block.blockOf(d)
		w.ins("DECQ", blocksLeft)
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
	d.ins("ADDQ", number(of.bytes), encodedAt)
	d.ins("ADDQ", number(of.elements*d.kind.size), sinkAt)
}

// rowsAheadShift says how many rows ahead, as a power of two, the blocks of
// following rows are fetched: columns of rows are too few for the hardware to see.
const rowsAheadShift = 3

// nextRow prints the step from a row to the next.
func nextRow(w *writer) {
	w.ins("MOVQ", "dst+0(FP)", sinkAt)
	w.ins("ADDQ", "dstStride+32(FP)", sinkAt)
	w.ins("MOVQ", sinkAt, "dst+0(FP)")
	w.ins("MOVQ", "src+8(FP)", encodedAt)
	w.ins("ADDQ", "srcStride+40(FP)", encodedAt)
	w.ins("MOVQ", encodedAt, "src+8(FP)")
	w.ins("MOVQ", "blocks+16(FP)", blocksLeft)
	w.ins("DECQ", "rows+24(FP)")
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
