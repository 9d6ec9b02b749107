package main

import (
	"fmt"
	"strings"
)

// On NEON, every type's elements are small integers times a float32: sixteen bytes
// are unpacked, then widened, multiplied and stored at once, in order.
//
// R0 points to the elements, R1 to the block, R2 counts blocks; R10 points to the
// codebook. Vector registers: 0..3 sixteen elements, 4..7 scratch and those of a dot
// product's vector, 8..11 sixteen scales, 12..15 sixteen minimums, 16..19 a dot
// product's sums, 20 and 21 a scale and a minimum or constants, 22..27 constants
// and what a decoder keeps, 28..31 bytes.

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
	n.op("%s V%d.B16, V%d.B16, V%d.B16", op, m, from, d)
}

// every puts a constant into all bytes.
func (n *neonWriter) every(value, v int) { n.op("VMOVI $%d, V%d.B16", value, v) }

// table loads one of neonTables.
func (n *neonWriter) table(name string, v int) {
	n.op("MOVD $%s<>(SB), R3", name)
	n.op("VLD1 (R3), [V%d.B16]", v)
}

func (n *neonWriter) load16(at, v int) { n.op("FMOVQ %d(R1), F%d", at, v) }
func (n *neonWriter) load8(at, v int)  { n.op("FMOVD %d(R1), F%d", at, v) }
func (n *neonWriter) load4(at, v int)  { n.op("FMOVS %d(R1), F%d", at, v) }

// shift moves the bits of each byte to the right, or left where by < 0.
func (n *neonWriter) shift(by, from, d int) {
	switch {
	case by > 0:
		n.op("VUSHR $%d, V%d.B16, V%d.B16", by, from, d)
	case by < 0:
		n.op("VSHL $%d, V%d.B16, V%d.B16", -by, from, d)
	case from != d:
		n.bytes("VORR", from, from, d)
	}
}

// float16 converts the binary16 at an offset.
func (n *neonWriter) float16(at, v int) {
	n.op("MOVHU %d(R1), R3", at)
	n.toFloat("R3", v)
}

func (n *neonWriter) toFloat(register string, v int) {
	n.op("FMOVS %s, F%d", register, v)
	n.op("FCVTHS F%[1]d, F%[1]d", v)
}

// nibbles splits bytes: 22 holds 15.
func (n *neonWriter) nibbles(from, lows, highs int) {
	n.shift(4, from, highs)
	n.bytes("VAND", 22, from, lows)
}

// lookUp replaces bytes by those of a table.
func (n *neonWriter) lookUp(table, index, d int) {
	n.op("VTBL V%d.B16, [V%d.B16], V%d.B16", index, table, d)
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
	n.widenTimes(from, 0, scale)
	n.store()
}

// affine stores sixteen bytes times a scale plus or minus low, with two roundings.
func (n *neonWriter) affine(from int, scale, low lane, op string) {
	n.op("VDUP V%d.S[%d], V4.S4", low.v, low.i)
	n.widenTimes(from, 0, scale)
	for i := range 4 {
		n.three(op, 4, i, i)
	}
	n.store()
}

// store stores 0..3 or multiplies them with the vector.
func (n *neonWriter) store() {
	if n.kind == toFloat32 {
		n.op("VST1.P %s, 64(R0)", registers(0, 4))
		return
	}
	n.op("VLD1.P 64(R0), %s", registers(4, 4))
	for i := range 4 {
		n.op("VFMLA V%d.S4, V%d.S4, V%d.S4", i, 4+i, 16+i)
	}
}

// masks sets each byte whose bit is set: copies says which byte of bits goes to
// which, 26 holds the bit of each.
func (n *neonWriter) masks(bits, copies, d int) {
	n.lookUp(bits, copies, d)
	n.bytes("VCMTST", 26, d, d)
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
	w.op("MOVD %s+0(FP), R0", strings.Fields(k.arguments)[0])
	w.op("MOVD src+8(FP), R1")
	w.op("MOVD blocks+16(FP), R2")
	n := &neonWriter{w, k}
	code, ok := neonDecodings[d.typ]
	if !ok {
		panic("no NEON decoder for " + d.name)
	}
	code.setup(n)
	if k == toDot {
		w.op("MOVD y+32(FP), R15")
		n.clearSums()
	}
	w.op("CBZ R2, done")
	w.printf("\nloop:\n")
	code.block(n)
	w.op("ADD $%d, R1", d.bytes)
	w.op("SUB $1, R2")
	w.op("CBNZ R2, loop")
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
		n.bytes("VEOR", 16+i, 16+i, 16+i)
	}
}

// addSum prints the end of a row of toDot: its sum is added to y, and the next row
// follows.
func (n *neonWriter) addSum() {
	n.three("VFADD.S4", 17, 16, 16)
	n.three("VFADD.S4", 19, 18, 18)
	n.three("VFADD.S4", 18, 16, 16)
	for i := 1; i < 4; i++ {
		n.op("VDUP V16.S[%d], V%d.S4", i, i)
	}
	n.op("FADDS F2, F16, F16")
	n.op("FADDS F3, F1, F1")
	n.op("FADDS F1, F16, F16")
	n.op("FMOVS (R15), F1")
	n.op("FADDS F1, F16, F16")
	n.op("FMOVS.P F16, 4(R15)")
	n.clearSums()
	n.op("MOVD x+0(FP), R0")
	n.nextOfRows()
}

// nextRow prints the step from a row to the next.
func (n *neonWriter) nextRow() {
	for _, p := range []struct{ name, register, stride string }{
		{"dst+0(FP)", "R0", "dstStride+32(FP)"},
		{"src+8(FP)", "R1", "srcStride+40(FP)"},
	} {
		n.op("MOVD %s, %s", p.name, p.register)
		n.op("MOVD %s, R3", p.stride)
		n.op("ADD R3, %s", p.register)
		n.op("MOVD %s, %s", p.register, p.name)
	}
	n.nextOfRows()
}

// nextOfRows goes on if there is another row.
func (n *neonWriter) nextOfRows() {
	n.op("MOVD blocks+16(FP), R2")
	n.op("MOVD rows+24(FP), R3")
	n.op("SUB $1, R3")
	n.op("MOVD R3, rows+24(FP)")
	n.op("CBNZ R3, loop")
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
		for half := range 2 {
			w.printf("DATA %s<>+%d(SB)/8, $%#016x\n", t.name, 8*half, littleEndian(t.bytes[8*half:8*half+8]))
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
