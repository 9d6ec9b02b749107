package main

import (
	"fmt"
	"strings"
)

// On NEON, every type's elements are small integers times a float32: sixteen bytes
// are unpacked, then widened, multiplied and stored at once, in order.

// Registers of decoders.
const (
	neonSink    = "R0" // where elements go, or those that they are multiplied with
	neonEncoded = "R1" // the block
	neonBlocks  = "R2" // that are left of the row
	neonScratch = "R3"
	neonPoints  = "R10" // the codebook of a lattice
	neonY       = "R15" // of toDot: the result of the row
)

// Vector registers of decoders.
const (
	neonValues = 0  // to 3: sixteen elements
	neonVector = 4  // to 7: those that they are multiplied with; the first is scratch
	neonScales = 8  // to 11: sixteen scales of groups
	neonMins   = 12 // to 15: sixteen minimums
	neonSums   = 16 // to 19: of toDot
	neonScale  = 20 // of a block or group, in lane 0
	neonMin    = 21 // of a block, in lane 0

	neonMask   = 22 // of the bits of an element in a byte
	neonOffset = 23 // what is subtracted from unsigned elements
	neonKept   = 24 // to 27: bytes that several groups share

	neonBytes = 28 // to 31: at hand
	neonLows  = 29 // their low nibbles
	neonHighs = 30 // their high ones
	neonBits  = 31
)

// Vector registers that some decoders have in the place of others.
const (
	neonLevels = 23 // a table of the levels of nibbles or coordinates

	neonBit2, neonBit4 = 21, 23 // that bit of every byte
	neonBit4s          = 27     // 32 bits 4
	neonHighMask       = 21
	neonPairMask       = 23
	neonTwo            = 22

	neonCopies = 24 // which bytes are copied where
	neonShifts = 25 // by how much each byte is shifted
	neonBitOf  = 26 // the bit of a byte that belongs to each byte

	neonZero                     = 22
	neonFactor                   = 21 // of the scales of groups
	neonNotANumber, neonTimes128 = 24, 25

	// Of TQ1_0: what fractions are compared with, and what its last bytes are unpacked with.
	neonOneThird, neonTwoThirds, neonMinusOne = 22, 23, 24
	neonFourTimes, neonPowers                 = 25, 26
)

// A neonWriter prints decoders of one kind.
type neonWriter struct {
	*writer
	kind kind
}

// A neonDecoding prints one type's decoder; setup comes before the first block.
type neonDecoding struct {
	setup, block func(n *neonWriter)
}

// A lane is an element of a vector register.
type lane struct{ v, i int }

var neonKinds = []kind{toFloat32, toDot}

// bytes prints an operation on bytes: d = n op m.
func (n *neonWriter) bytes(op string, m, from, d int) {
	n.ins(op, arranged(m, "B16"), arranged(from, "B16"), arranged(d, "B16"))
}

// every puts a constant into all bytes.
func (n *neonWriter) every(value, v int) { n.ins("VMOVI", number(value), arranged(v, "B16")) }

// table loads one of neonTables.
func (n *neonWriter) table(name string, v int) {
	n.ins("MOVD", "$"+static(name), neonScratch)
	n.ins("VLD1", in(neonScratch), "["+arranged(v, "B16")+"]")
}

func (n *neonWriter) load16(place, v int) { n.ins("FMOVQ", at(neonEncoded, place), scalar(v)) }
func (n *neonWriter) load8(place, v int)  { n.ins("FMOVD", at(neonEncoded, place), scalar(v)) }
func (n *neonWriter) load4(place, v int)  { n.ins("FMOVS", at(neonEncoded, place), scalar(v)) }

// shift moves the bits of each byte to the right, or left where by < 0.
func (n *neonWriter) shift(by, from, d int) {
	switch {
	case by > 0:
		n.ins("VUSHR", number(by), arranged(from, "B16"), arranged(d, "B16"))
	case by < 0:
		n.ins("VSHL", number(-by), arranged(from, "B16"), arranged(d, "B16"))
	case from != d:
		n.bytes("VORR", from, from, d)
	}
}

// float16 converts the binary16 at an offset.
func (n *neonWriter) float16(place, v int) {
	n.ins("MOVHU", at(neonEncoded, place), neonScratch)
	n.toFloat(neonScratch, v)
}

func (n *neonWriter) toFloat(register string, v int) {
	n.ins("FMOVS", register, scalar(v))
	n.ins("FCVTHS", scalar(v), scalar(v))
}

// nibbles splits bytes: neonMask holds 15.
func (n *neonWriter) nibbles(from, lows, highs int) {
	n.shift(4, from, highs)
	n.bytes("VAND", neonMask, from, lows)
}

// lookUp replaces bytes by those of a table.
func (n *neonWriter) lookUp(table, index, d int) {
	n.ins("VTBL", arranged(index, "B16"), "["+arranged(table, "B16")+"]", arranged(d, "B16"))
}

// widen converts sixteen bytes to float32 in four registers.
func (n *neonWriter) widen(from, d int) {
	n.two("VSXTL.B8.H8", from, d+1)
	n.two("VSXTL2.B16.H8", from, d+3)
	n.two("VSXTL.H4.S4", d+1, d)
	n.two("VSXTL2.H8.S4", d+1, d+1)
	n.two("VSXTL.H4.S4", d+3, d+2)
	n.two("VSXTL2.H8.S4", d+3, d+3)
	for i := range 4 {
		n.two("VSCVTF.S4", d+i, d+i)
	}
}

// widenTimes is widen and the multiplication with a lane.
func (n *neonWriter) widenTimes(from, d int, by lane) {
	n.widen(from, d)
	for i := range 4 {
		n.multiplyByLane(by.v, by.i, d+i, d+i)
	}
}

// eightTimes widens the low eight bytes to two registers and multiplies them.
func (n *neonWriter) eightTimes(from, d int, by lane) {
	n.two("VSXTL.B8.H8", from, from)
	n.two("VSXTL.H4.S4", from, d)
	n.two("VSXTL2.H8.S4", from, d+1)
	for i := range 2 {
		n.two("VSCVTF.S4", d+i, d+i)
		n.multiplyByLane(by.v, by.i, d+i, d+i)
	}
}

// scaled stores sixteen bytes times a scale.
func (n *neonWriter) scaled(from int, scale lane) {
	n.widenTimes(from, neonValues, scale)
	n.store()
}

// affine stores sixteen bytes times a scale plus or minus low, with two roundings.
func (n *neonWriter) affine(from int, scale, low lane, op string) {
	n.ins("VDUP", element(low.v, "S", low.i), arranged(neonVector, "S4"))
	n.widenTimes(from, neonValues, scale)
	for i := range 4 {
		n.three(op, neonVector, i, i)
	}
	n.store()
}

// store stores sixteen elements or multiplies them with the vector.
func (n *neonWriter) store() {
	if n.kind == toFloat32 {
		n.ins("VST1.P", registers(neonValues, 4), at(neonSink, 64))
		return
	}
	n.ins("VLD1.P", at(neonSink, 64), registers(neonVector, 4))
	for i := range 4 {
		n.ins("VFMLA", arranged(i, "S4"), arranged(neonVector+i, "S4"), arranged(neonSums+i, "S4"))
	}
}

// masks sets each byte whose bit is set: copies says which byte of bits goes to
// which.
func (n *neonWriter) masks(bits, copies, d int) {
	n.lookUp(bits, copies, d)
	n.bytes("VCMTST", neonBitOf, d, d)
}

func emitNEONDecoders(w *writer) {
	printNEONTables(w)
	for _, k := range neonKinds {
		for _, d := range k.decodings() {
			emitNEONDecoder(w, k, d)
		}
	}
}

func emitNEONDecoder(w *writer, k kind, d decoding) {
	s := sink{kind: k, tier: "NEON"}
	w.printf("\n// func %s(%s)\n", s.name(d), k.arguments)
	w.printf("TEXT ·%s(SB), NOSPLIT, $0-%d\n", s.name(d), k.frame)
	w.ins("MOVD", strings.Fields(k.arguments)[0]+"+0(FP)", neonSink)
	w.ins("MOVD", "src+8(FP)", neonEncoded)
	w.ins("MOVD", "blocks+16(FP)", neonBlocks)
	n := &neonWriter{w, k}
	code, ok := neonDecodings[d.typ]
	if !ok {
		panic("no NEON decoder for " + d.name)
	}
	code.setup(n)
	if k == toDot {
		w.ins("MOVD", "y+32(FP)", neonY)
		n.clearSums()
	}
	w.ins("CBZ", neonBlocks, "done")
	w.printf("\nloop:\n")
	code.block(n)
	w.ins("ADD", number(d.bytes), neonEncoded)
	w.ins("SUB", "$1", neonBlocks)
	w.ins("CBNZ", neonBlocks, "loop")
	if k == toDot {
		n.addSum()
	} else {
		n.nextRow()
	}
	w.printf("\ndone:\n")
	w.op("RET")
}

func (n *neonWriter) clearSums() {
	for i := range 4 {
		n.bytes("VEOR", neonSums+i, neonSums+i, neonSums+i)
	}
}

// addSum prints the end of a row of toDot: its sum is added to y, and the next row
// follows.
func (n *neonWriter) addSum() {
	n.three("VFADD.S4", neonSums+1, neonSums, neonSums)
	n.three("VFADD.S4", neonSums+3, neonSums+2, neonSums+2)
	n.three("VFADD.S4", neonSums+2, neonSums, neonSums)
	for i := 1; i < 4; i++ {
		n.ins("VDUP", element(neonSums, "S", i), arranged(i, "S4"))
	}
	n.ins("FADDS", scalar(2), scalar(neonSums), scalar(neonSums))
	n.ins("FADDS", scalar(3), scalar(1), scalar(1))
	n.ins("FADDS", scalar(1), scalar(neonSums), scalar(neonSums))
	n.ins("FMOVS", in(neonY), scalar(1))
	n.ins("FADDS", scalar(1), scalar(neonSums), scalar(neonSums))
	n.ins("FMOVS.P", scalar(neonSums), at(neonY, 4))
	n.clearSums()
	n.ins("MOVD", "x+0(FP)", neonSink)
	n.nextOfRows()
}

// nextRow prints the step from a row to the next.
func (n *neonWriter) nextRow() {
	for _, p := range []struct{ name, register, stride string }{
		{"dst+0(FP)", neonSink, "dstStride+32(FP)"},
		{"src+8(FP)", neonEncoded, "srcStride+40(FP)"},
	} {
		n.ins("MOVD", p.name, p.register)
		n.ins("MOVD", p.stride, neonScratch)
		n.ins("ADD", neonScratch, p.register)
		n.ins("MOVD", p.register, p.name)
	}
	n.nextOfRows()
}

// nextOfRows goes on if there is another row.
func (n *neonWriter) nextOfRows() {
	n.ins("MOVD", "blocks+16(FP)", neonBlocks)
	n.ins("MOVD", "rows+24(FP)", neonScratch)
	n.ins("SUB", "$1", neonScratch)
	n.ins("MOVD", neonScratch, "rows+24(FP)")
	n.ins("CBNZ", neonScratch, "loop")
}

// neonTables are constants of sixteen bytes.
var neonTables = []struct {
	name  string
	bytes [16]int8
}{
	{"iq4Levels", iq4Bytes},
	{"e2m1Levels", e2m1Bytes},
	{"bitOfByte", byteTable(func(i int) int { return 1 << (i % 8) })},
	{"copies01", byteTable(func(i int) int { return i / 8 })},
	{"copies23", byteTable(func(i int) int { return 2 + i/8 })},
	{"copies02", byteTable(func(i int) int { return i / 8 * 2 })},
	{"fourCopies", byteTable(func(i int) int { return i / 4 })},
	{"fourTimes", byteTable(func(i int) int { return i % 4 })},
	{"powersOf3", byteTable(func(i int) int { return [4]int{1, 3, 9, 27}[i/4] })},
	{"pairShifts", byteTable(func(i int) int { return -2 * (i % 4) })},
	{"words01", byteTable(func(i int) int { return i/8*2 + i%2 })},
	{"words23", byteTable(func(i int) int { return 4 + i/8*2 + i%2 })},
	{"tripleShifts", byteTable(func(i int) int { return (1 - i%2) * -3 * (i / 2 % 4) })},
	{"levelsIQ1", eightTimesLevels()},
	{"levelsIQ2", levelTable(codebookIQ2)},
	{"levelsIQ3XXS", levelTable(codebookIQ3XXS)},
	{"levelsIQ3S", levelTable(codebookIQ3S)},
}

func byteTable(f func(i int) int) (t [16]int8) {
	for i := range t {
		t[i] = int8(f(i))
	}
	return t
}

func printNEONTables(w *writer) {
	w.printf("\n")
	for _, t := range neonTables {
		for word := range 2 {
			w.printf("DATA %s<>+%d(SB)/8, $%#016x\n", t.name, 8*word, littleEndian(t.bytes[8*word:8*word+8]))
		}
		w.printf("GLOBL %s<>(SB), RODATA|NOPTR, $16\n\n", t.name)
	}
}

// neonDecoderDeclarations declares the decoders and lists them for the tier.
func neonDecoderDeclarations() []byte {
	w := &writer{}
	w.WriteString(header)
	w.WriteString("package coding\n\nimport (\n_ \"qtool/internal/codebook\" // the assembly reads its points\n\"qtool/internal/ggml\"\n)\n\n")
	w.printf("var decodersNEON = [ggml.Types]Decoder{\nggml.F32: {Elements: %d, Dot: dotF32NEON},\n", float32Rows.elements)
	for _, d := range decodings {
		w.printf("ggml.%[1]s: {Elements: %[2]d, Float32: decode%[1]sNEON, Dot: dot%[1]sNEON},\n", d.name, d.elements)
	}
	w.printf("}\n\n")
	for _, k := range neonKinds {
		for _, d := range k.decodings() {
			w.printf("//go:noescape\nfunc %s(%s)\n\n", fmt.Sprintf(k.function, d.name, "NEON"), k.arguments)
		}
	}
	return w.Bytes()
}
