package main

import (
	"fmt"
	"math"
)

// Registers of operations, besides scratch and remaining, which counts elements.
const (
	elementDst  = "DI" // or the gradient of gate
	elementGate = "SI" // or the first source
	elementUp   = "BX" // or the second one
	elementDup  = "DX"
	elementDy   = "R8"
)

// Vector registers of operations: up to 5 those of each, then
const (
	exponent, series, exponent2 = 6, 7, 8 // of exp
	laneOne                     = 6       // 1, when the exponential is done
	widened                     = 8       // and 9: float64
	laneSums                    = 10      // and 11
	laneMask                    = 15      // AVX2: of the rest
	maskRest                    = "K1"    // AVX-512
)

// A lanesWriter prints vector loops over elements: whole vectors first, then the rest behind a
// mask.
type lanesWriter struct {
	*writer
	register string
	lanes    int
	masked   bool // in the rest
}

func (l *lanesWriter) v(i int) string { return fmt.Sprint(l.register, i) }

func (l *lanesWriter) wide() bool { return l.lanes == 16 }

// load reads the vector at pointer into register i, zeros beyond the rest.
func (l *lanesWriter) load(pointer string, i int) {
	switch {
	case !l.masked:
		l.ins("VMOVUPS", in(pointer), l.v(i))
	case l.wide():
		l.ins("VMOVUPS.Z", in(pointer), maskRest, l.v(i))
	default:
		l.ins("VMASKMOVPS", in(pointer), ymm(laneMask), l.v(i))
	}
}

func (l *lanesWriter) store(i int, pointer string) {
	switch {
	case !l.masked:
		l.ins("VMOVUPS", l.v(i), in(pointer))
	case l.wide():
		l.ins("VMOVUPS", l.v(i), maskRest, in(pointer))
	default:
		l.ins("VMASKMOVPS", l.v(i), ymm(laneMask), in(pointer))
	}
}

// keep replaces what is beyond the rest by zeros.
func (l *lanesWriter) keep(i int) {
	switch {
	case !l.masked:
	case l.wide():
		l.ins("VMOVAPS.Z", l.v(i), maskRest, l.v(i))
	default:
		l.ins("VANDPS", ymm(laneMask), l.v(i), l.v(i))
	}
}

// withConstant prints op dst = op(source, constant c).
func (l *lanesWriter) withConstant(op string, c, source, dst int) {
	suffix := ""
	if l.wide() {
		suffix = ".BCST"
	}
	l.ins(op+suffix, laneConstant(c), l.v(source), l.v(dst))
}

func laneConstant(c int) string { return fmt.Sprintf("constants<>+%d(SB)", 32*c) }

// constant loads one.
func (l *lanesWriter) constant(c, to int) { l.ins("VBROADCASTSS", laneConstant(c), l.v(to)) }

// do prints an instruction whose operands are vectors.
func (l *lanesWriter) do(op string, vectors ...int) {
	operands := make([]string, len(vectors))
	for i, v := range vectors {
		operands[i] = l.v(v)
	}
	l.ins(op, operands...)
}

// loop prints body for whole vectors and for the rest; pointers move along.
func (l *lanesWriter) loop(pointers []string, body func()) {
	advance := func() {
		for _, p := range pointers {
			l.ins("ADDQ", number(4*l.lanes), p)
		}
	}
	l.ins("SUBQ", number(l.lanes), remaining)
	l.op("JLT rest")
	l.printf("\nloop:\n")
	body()
	advance()
	l.ins("SUBQ", number(l.lanes), remaining)
	l.op("JGE loop")
	l.printf("\nrest:\n")
	l.ins("ADDQ", number(l.lanes), remaining)
	l.op("JZ done")
	if l.wide() {
		l.ins("MOVL", "$1", scratch)
		l.ins("SHLL", remaining, scratch)
		l.ins("DECL", scratch)
		l.ins("KMOVW", scratch, maskRest)
	} else {
		l.ins("NEGQ", remaining)
		l.ins("LEAQ", "masks<>+32(SB)", scratch)
		l.ins("VMOVUPS", indexed(scratch, remaining, 4), ymm(laneMask))
	}
	l.masked = true
	body()
	l.masked = false
	l.printf("\ndone:\n")
}

// The constants of the exponential, each 8 lanes wide.
const (
	cLowest = iota
	cHighest
	cLog2e
	cLn2High
	cLn2Low
	cPoly0 // 6 coefficients, of r⁷ first... down to r²
	cOne   = cPoly0 + 6
	cBias  = cOne + 1
	cSign  = cBias + 1

	// Of gelu: 2u = x·(cGelu + cGeluCube·x²), whose slope has three times the cube.
	cGelu      = cSign + 1
	cGeluCube  = cGelu + 1
	cGeluSlope = cGeluCube + 1

	cCount = cGeluSlope + 1
)

var constants = [cCount]uint32{
	cLowest:  math.Float32bits(-104),
	cHighest: math.Float32bits(89),
	cLog2e:   math.Float32bits(math.Log2E),
	cLn2High: math.Float32bits(0.693359375),
	cLn2Low:  math.Float32bits(-2.12194440e-4),
	// The coefficients of Cephes' expf.
	cPoly0:     math.Float32bits(1.9875691500e-4),
	cPoly0 + 1: math.Float32bits(1.3981999507e-3),
	cPoly0 + 2: math.Float32bits(8.3334519073e-3),
	cPoly0 + 3: math.Float32bits(4.1665795894e-2),
	cPoly0 + 4: math.Float32bits(1.6666665459e-1),
	cPoly0 + 5: math.Float32bits(5.0000001201e-1),
	cOne:       math.Float32bits(1),
	cBias:      127,
	cSign:      1 << 31,
	cGelu:      math.Float32bits(gelu),
	cGeluCube:  math.Float32bits(gelu * geluCube),
	cGeluSlope: math.Float32bits(gelu * geluCube * 3),
}

// The tanh form of gelu is x·sigmoid(gelu·x·(1 + geluCube·x²)), gelu = 2·sqrt(2/π).
const (
	gelu     = 2 * 0.79788456080286535588
	geluCube = 0.044715
)

// geluArgument leaves 2u of register x in u, and x² in square.
func (l *lanesWriter) geluArgument(x, square, u int) {
	l.do("VMULPS", x, x, square)
	l.constant(cGeluCube, u)
	l.withConstant("VFMADD213PS", cGelu, square, u)
	l.do("VMULPS", x, u, u)
}

// exp replaces register x by its exponential: x = n·ln 2 + r, exp x = 2ⁿ·p(r).
func (l *lanesWriter) exp(x int) {
	const n, p, m = exponent, series, exponent2
	// The operand order keeps NaN.
	for i, op := range []string{"VMAXPS", "VMINPS"} {
		l.constant(cLowest+i, n)
		l.do(op, x, n, x)
	}
	l.withConstant("VMULPS", cLog2e, x, n)
	if l.wide() {
		l.ins("VRNDSCALEPS", number(roundNearest), l.v(n), l.v(n))
	} else {
		l.ins("VROUNDPS", number(roundNearest), l.v(n), l.v(n))
	}
	l.withConstant("VFNMADD231PS", cLn2High, n, x)
	l.withConstant("VFNMADD231PS", cLn2Low, n, x)
	l.constant(cPoly0, p)
	for c := cPoly0 + 1; c <= cPoly0+5; c++ {
		l.withConstant("VFMADD213PS", c, x, p)
	}
	l.withConstant("VFMADD213PS", cOne, x, p)
	l.withConstant("VFMADD213PS", cOne, x, p)
	if l.wide() {
		l.do("VSCALEFPS", n, p, x)
		return
	}
	// 2ⁿ in two factors, so that neither overflows where the product does not.
	l.do("VCVTPS2DQ", n, n)
	l.ins("VPSRAD", "$1", l.v(n), l.v(m))
	l.do("VPSUBD", m, n, n)
	for _, factor := range []int{n, m} {
		l.withConstant("VPADDD", cBias, factor, factor)
		l.ins("VPSLLD", "$23", l.v(factor), l.v(factor))
	}
	l.do("VMULPS", n, p, x)
	l.do("VMULPS", m, x, x)
}

// sigmoid leaves 1/(1+exp(-x)) of register x in s.
func (l *lanesWriter) sigmoid(x, s int) {
	l.constant(cSign, s)
	if l.wide() {
		l.do("VPXORD", x, s, s)
	} else {
		l.do("VXORPS", x, s, s)
	}
	l.exp(s)
	l.withConstant("VADDPS", cOne, s, s)
	l.constant(cOne, laneOne)
	l.do("VDIVPS", s, laneOne, s)
}

// broadcastBits fills register i with a number.
func (l *lanesWriter) broadcastBits(bits uint32, i int) {
	l.ins("MOVL", fmt.Sprintf("$%#x", bits), scratch)
	l.ins("VMOVD", scratch, xmm(i))
	l.ins("VBROADCASTSS", xmm(i), l.v(i))
}

// lower is the lower half of register i; upper copies the other half to that of another
// register.
func (l *lanesWriter) lower(i int) string {
	if l.wide() {
		return ymm(i)
	}
	return xmm(i)
}

func (l *lanesWriter) upper(i, to int) {
	op := "VEXTRACTF128"
	if l.wide() {
		op = "VEXTRACTF64X4"
	}
	l.ins(op, "$1", l.v(i), l.lower(to))
}

// addWidened adds register i, as float64, to both sums.
func (l *lanesWriter) addWidened(i int) {
	l.upper(i, widened+1)
	l.ins("VCVTPS2PD", l.lower(i), l.v(widened))
	l.ins("VCVTPS2PD", l.lower(widened+1), l.v(widened+1))
	l.do("VADDPD", widened, laneSums, laneSums)
	l.do("VADDPD", widened+1, laneSums+1, laneSums+1)
}

// foldWidened adds up the lanes of both sums in laneSum.
func (l *lanesWriter) foldWidened() {
	const sum, spare = laneSum, 1
	l.do("VADDPD", laneSums+1, laneSums, sum)
	if l.wide() {
		l.ins("VEXTRACTF64X4", "$1", zmm(sum), ymm(spare))
		l.ins("VADDPD", ymm(spare), ymm(sum), ymm(sum))
	}
	l.ins("VEXTRACTF128", "$1", ymm(sum), xmm(spare))
	l.ins("VADDPD", xmm(spare), xmm(sum), xmm(sum))
	l.ins("VPERMILPD", "$1", xmm(sum), xmm(spare))
	l.ins("VADDSD", xmm(spare), xmm(sum), xmm(sum))
}

const laneSum = 0

func (l *lanesWriter) zero(i int) { l.do("VXORPS", i, i, i) }

// arguments loads the pointers of a gated network's operation, and the number of elements.
func (l *lanesWriter) arguments(names ...string) {
	registers := map[string]string{
		"dst": elementDst, "dgate": elementDst, "dup": elementDup, "gate": elementGate, "up": elementUp, "dy": elementDy, "n": remaining,
	}
	for i, name := range names {
		l.argument(name, 8*i, registers[name])
	}
}

// An operation is one function over vectors.
type operation struct {
	name, arguments, result, loop string
	emit                          func(l *lanesWriter)
}

// argument loads a pointer or a count.
func (l *lanesWriter) argument(name string, offset int, register string) {
	l.ins("MOVQ", fmt.Sprintf("%s+%d(FP)", name, offset), register)
}

// emitOperations prints the operations for vectors of so many lanes.
func emitOperations(tier, register string, lanes int) func(w *writer) {
	return func(w *writer) {
		w.printf("\n")
		for c, bits := range constants {
			for i := range 8 {
				w.printf("DATA constants<>+%d(SB)/4, $%#08x\n", 32*c+4*i, bits)
			}
		}
		w.printf("GLOBL constants<>(SB), RODATA|NOPTR, $%d\n\n", 32*len(constants))
		if lanes == 8 {
			for i := range 16 {
				w.printf("DATA masks<>+%d(SB)/4, $%#08x\n", 4*i, uint32(i/8)-1)
			}
			w.printf("GLOBL masks<>(SB), RODATA|NOPTR, $64\n")
		}
		for _, o := range operations {
			o.begin(w, tier)
			o.emit(&lanesWriter{writer: w, register: register, lanes: lanes})
			w.op("VZEROUPPER")
			w.op("RET")
		}
	}
}

func (o operation) begin(w *writer, tier string) {
	w.printf("\n// func %s%s(%s) %s\n//\n//\t%s\n", o.name, tier, o.arguments, o.result, o.loop)
	w.printf("TEXT ·%s%s(SB), NOSPLIT, $0-%d\n", o.name, tier, o.frame())
}

// frame is the size of the arguments: 8 bytes for each and for the result.
func (o operation) frame() int {
	n := 8
	for _, c := range o.arguments {
		if c == ',' {
			n += 8
		}
	}
	switch o.result {
	case "float64":
		n += 8
	case "float32":
		n += 4
	}
	return n
}

func operationDeclarations(tiers ...string) []byte {
	w := &writer{}
	w.WriteString(header)
	w.WriteString("package vector\n\n")
	for _, tier := range tiers {
		for _, o := range operations {
			w.printf("//go:noescape\nfunc %s%s(%s) %s\n\n", o.name, tier, o.arguments, o.result)
		}
	}
	return w.Bytes()
}
