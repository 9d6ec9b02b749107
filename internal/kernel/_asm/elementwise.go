package main

import (
	"fmt"
	"math"
)

// A lanesWriter prints vector loops over elements, whole vectors first, then
// the rest behind a mask. Vector registers 0..5 are the operation's, 6..9 the
// exponential's; 10..13 hold sums; AVX2 keeps its mask in 15.
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
		l.op("VMOVUPS (%s), %s", pointer, l.v(i))
	case l.wide():
		l.op("VMOVUPS.Z (%s), K1, %s", pointer, l.v(i))
	default:
		l.op("VMASKMOVPS (%s), Y15, %s", pointer, l.v(i))
	}
}

func (l *lanesWriter) store(i int, pointer string) {
	switch {
	case !l.masked:
		l.op("VMOVUPS %s, (%s)", l.v(i), pointer)
	case l.wide():
		l.op("VMOVUPS %s, K1, (%s)", l.v(i), pointer)
	default:
		l.op("VMASKMOVPS %s, Y15, (%s)", l.v(i), pointer)
	}
}

// keep replaces what is beyond the rest by zeros.
func (l *lanesWriter) keep(i int) {
	switch {
	case !l.masked:
	case l.wide():
		l.op("VMOVAPS.Z %[1]s, K1, %[1]s", l.v(i))
	default:
		l.op("VANDPS Y15, %[1]s, %[1]s", l.v(i))
	}
}

// withConstant prints op dst = op(source, constant c).
func (l *lanesWriter) withConstant(op string, c, source, dst int) {
	suffix := ""
	if l.wide() {
		suffix = ".BCST"
	}
	l.op("%s%s constants<>+%d(SB), %s, %s", op, suffix, 32*c, l.v(source), l.v(dst))
}

// loop prints body for whole vectors and for the rest; pointers move along.
// CX counts elements.
func (l *lanesWriter) loop(pointers []string, body func()) {
	advance := func() {
		for _, p := range pointers {
			l.op("ADDQ $%d, %s", 4*l.lanes, p)
		}
	}
	l.op("SUBQ $%d, CX", l.lanes)
	l.op("JLT rest")
	l.printf("\nloop:\n")
	body()
	advance()
	l.op("SUBQ $%d, CX", l.lanes)
	l.op("JGE loop")
	l.printf("\nrest:\n")
	l.op("ADDQ $%d, CX", l.lanes)
	l.op("JZ done")
	if l.wide() {
		l.op("MOVL $1, AX")
		l.op("SHLL CX, AX")
		l.op("DECL AX")
		l.op("KMOVW AX, K1")
	} else {
		l.op("NEGQ CX")
		l.op("LEAQ masks<>+32(SB), AX")
		l.op("VMOVUPS (AX)(CX*4), Y15")
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
	l.op("VMULPS %[1]s, %[1]s, %[2]s", l.v(x), l.v(square))
	l.op("VBROADCASTSS constants<>+%d(SB), %s", 32*cGeluCube, l.v(u))
	l.withConstant("VFMADD213PS", cGelu, square, u)
	l.op("VMULPS %s, %s, %s", l.v(x), l.v(u), l.v(u))
}

// exp replaces register x by its exponential: x = n·ln 2 + r, exp x = 2ⁿ·p(r).
func (l *lanesWriter) exp(x int) {
	const n, p, m = 6, 7, 8
	// The operand order keeps NaN.
	for i, op := range []string{"VMAXPS", "VMINPS"} {
		l.op("VBROADCASTSS constants<>+%d(SB), %s", 32*(cLowest+i), l.v(n))
		l.op("%s %s, %s, %s", op, l.v(x), l.v(n), l.v(x))
	}
	l.withConstant("VMULPS", cLog2e, x, n)
	if l.wide() {
		l.op("VRNDSCALEPS $8, %[1]s, %[1]s", l.v(n))
	} else {
		l.op("VROUNDPS $8, %[1]s, %[1]s", l.v(n))
	}
	l.withConstant("VFNMADD231PS", cLn2High, n, x)
	l.withConstant("VFNMADD231PS", cLn2Low, n, x)
	l.op("VBROADCASTSS constants<>+%d(SB), %s", 32*cPoly0, l.v(p))
	for c := cPoly0 + 1; c <= cPoly0+5; c++ {
		l.withConstant("VFMADD213PS", c, x, p)
	}
	l.withConstant("VFMADD213PS", cOne, x, p)
	l.withConstant("VFMADD213PS", cOne, x, p)
	if l.wide() {
		l.op("VSCALEFPS %s, %s, %s", l.v(n), l.v(p), l.v(x))
		return
	}
	// 2ⁿ in two factors, so that neither overflows where the product does not.
	l.op("VCVTPS2DQ %[1]s, %[1]s", l.v(n))
	l.op("VPSRAD $1, %s, %s", l.v(n), l.v(m))
	l.op("VPSUBD %s, %s, %s", l.v(m), l.v(n), l.v(n))
	for _, factor := range []int{n, m} {
		l.withConstant("VPADDD", cBias, factor, factor)
		l.op("VPSLLD $23, %[1]s, %[1]s", l.v(factor))
	}
	l.op("VMULPS %s, %s, %s", l.v(n), l.v(p), l.v(x))
	l.op("VMULPS %s, %s, %s", l.v(m), l.v(x), l.v(x))
}

// sigmoid leaves 1/(1+exp(-x)) of register x in s.
func (l *lanesWriter) sigmoid(x, s int) {
	l.op("VBROADCASTSS constants<>+%d(SB), %s", 32*cSign, l.v(s))
	if l.wide() {
		l.op("VPXORD %s, %s, %s", l.v(x), l.v(s), l.v(s))
	} else {
		l.op("VXORPS %s, %s, %s", l.v(x), l.v(s), l.v(s))
	}
	l.exp(s)
	l.withConstant("VADDPS", cOne, s, s)
	l.op("VBROADCASTSS constants<>+%d(SB), %s", 32*cOne, l.v(6))
	l.op("VDIVPS %s, %s, %s", l.v(s), l.v(6), l.v(s))
}

// broadcastBits fills register i with a number.
func (l *lanesWriter) broadcastBits(bits uint32, i int) {
	l.op("MOVL $%#x, AX", bits)
	l.op("VMOVD AX, X%d", i)
	l.op("VBROADCASTSS X%d, %s", i, l.v(i))
}

// half is the lower half of register i, upper names its other half.
func (l *lanesWriter) half(i int) string {
	if l.wide() {
		return fmt.Sprint("Y", i)
	}
	return fmt.Sprint("X", i)
}

func (l *lanesWriter) upper(i, to int) {
	if l.wide() {
		l.op("VEXTRACTF64X4 $1, Z%d, Y%d", i, to)
		return
	}
	l.op("VEXTRACTF128 $1, Y%d, X%d", i, to)
}

// addWidened adds register i, as float64, to the sums in 10 and 11.
func (l *lanesWriter) addWidened(i int) {
	l.upper(i, 9)
	l.op("VCVTPS2PD %s, %s", l.half(i), l.v(8))
	l.op("VCVTPS2PD %s, %s", l.half(9), l.v(9))
	l.op("VADDPD %[1]s, %[2]s, %[2]s", l.v(8), l.v(10))
	l.op("VADDPD %[1]s, %[2]s, %[2]s", l.v(9), l.v(11))
}

// foldWidened adds up the lanes of 10 and 11 in X0.
func (l *lanesWriter) foldWidened() {
	l.op("VADDPD %s, %s, %s", l.v(11), l.v(10), l.v(0))
	if l.wide() {
		l.op("VEXTRACTF64X4 $1, Z0, Y1")
		l.op("VADDPD Y1, Y0, Y0")
	}
	l.op("VEXTRACTF128 $1, Y0, X1")
	l.op("VADDPD X1, X0, X0")
	l.op("VPERMILPD $1, X0, X1")
	l.op("VADDSD X1, X0, X0")
}

func (l *lanesWriter) zero(i int) { l.op("VXORPS %[1]s, %[1]s, %[1]s", l.v(i)) }

// An operation is one function over vectors.
type operation struct {
	name, arguments, result, loop string
	emit                          func(l *lanesWriter)
}

// argument loads a pointer or a count.
func (l *lanesWriter) argument(name string, offset int, register string) {
	l.op("MOVQ %s+%d(FP), %s", name, offset, register)
}

var operations = []operation{
	{
		"exp", "dst, src *float32, n int, shift float32", "float64",
		"for i < n { dst[i] = exp(src[i] - shift); sum += dst[i] }",
		func(l *lanesWriter) {
			l.argument("dst", 0, "DI")
			l.argument("src", 8, "SI")
			l.argument("n", 16, "CX")
			l.op("VBROADCASTSS shift+24(FP), %s", l.v(5))
			l.zero(10)
			l.zero(11)
			l.loop([]string{"SI", "DI"}, func() {
				l.load("SI", 0)
				l.op("VSUBPS %s, %s, %s", l.v(5), l.v(0), l.v(0))
				l.exp(0)
				l.keep(0)
				l.store(0, "DI")
				l.addWidened(0)
			})
			l.foldWidened()
			l.op("VMOVSD X0, ret+32(FP)")
		},
	},
	{
		"swiglu", "dst, gate, up *float32, n int", "",
		"for i < n { dst[i] = gate[i] / (1 + exp(-gate[i])) · up[i] }",
		func(l *lanesWriter) {
			l.argument("dst", 0, "DI")
			l.argument("gate", 8, "SI")
			l.argument("up", 16, "BX")
			l.argument("n", 24, "CX")
			l.loop([]string{"SI", "BX", "DI"}, func() {
				l.load("SI", 0)
				l.load("BX", 1)
				l.sigmoid(0, 2)
				l.op("VMULPS %s, %s, %s", l.v(2), l.v(0), l.v(0))
				l.op("VMULPS %s, %s, %s", l.v(1), l.v(0), l.v(0))
				l.store(0, "DI")
			})
		},
	},
	{
		"swigluBackward", "dgate, dup, gate, up, dy *float32, n int", "",
		"s = 1 / (1 + exp(-gate)): dup = dy·gate·s, dgate = dy·up·s·(1 + gate·(1-s))",
		func(l *lanesWriter) {
			l.argument("dgate", 0, "DI")
			l.argument("dup", 8, "DX")
			l.argument("gate", 16, "SI")
			l.argument("up", 24, "BX")
			l.argument("dy", 32, "R8")
			l.argument("n", 40, "CX")
			l.loop([]string{"SI", "BX", "DI", "DX", "R8"}, func() {
				l.load("SI", 0)
				l.load("BX", 1)
				l.load("R8", 3)
				l.sigmoid(0, 2)
				l.op("VMULPS %s, %s, %s", l.v(2), l.v(3), l.v(3)) // dy·s
				l.op("VMULPS %s, %s, %s", l.v(3), l.v(0), l.v(4))
				l.store(4, "DX")
				l.op("VMULPS %s, %s, %s", l.v(1), l.v(3), l.v(3)) // dy·up·s
				l.op("VBROADCASTSS constants<>+%d(SB), %s", 32*cOne, l.v(6))
				l.op("VSUBPS %s, %s, %s", l.v(2), l.v(6), l.v(2))
				l.op("VFMADD213PS %s, %s, %s", l.v(6), l.v(0), l.v(2))
				l.op("VMULPS %s, %s, %s", l.v(3), l.v(2), l.v(4))
				l.store(4, "DI")
			})
		},
	},
	{
		"geglu", "dst, gate, up *float32, n int", "",
		"for i < n { dst[i] = gate[i] / (1 + exp(-2u)) · up[i] }, 2u = gate·(c + d·gate²)",
		func(l *lanesWriter) {
			l.argument("dst", 0, "DI")
			l.argument("gate", 8, "SI")
			l.argument("up", 16, "BX")
			l.argument("n", 24, "CX")
			l.loop([]string{"SI", "BX", "DI"}, func() {
				l.load("SI", 0)
				l.load("BX", 1)
				l.geluArgument(0, 3, 4)
				l.sigmoid(4, 2)
				l.op("VMULPS %s, %s, %s", l.v(2), l.v(0), l.v(0))
				l.op("VMULPS %s, %s, %s", l.v(1), l.v(0), l.v(0))
				l.store(0, "DI")
			})
		},
	},
	{
		"roundedGeglu", "dst, gate, up *float32, n int, table *float32", "",
		"for i < n { g = gate[i]; dst[i] = g <= -10 ? 0 : (g >= 10 ? g : table[float16 bits of g]) · up[i] }",
		func(l *lanesWriter) {
			l.argument("dst", 0, "DI")
			l.argument("gate", 8, "SI")
			l.argument("up", 16, "BX")
			l.argument("n", 24, "CX")
			l.argument("table", 32, "R8")
			l.broadcastBits(math.Float32bits(10), 4)
			l.broadcastBits(math.Float32bits(-10), 5)
			l.loop([]string{"SI", "BX", "DI"}, func() {
				l.load("SI", 0)
				l.load("BX", 1)
				l.op("VCVTPS2PH $0, %s, %s", l.v(0), l.half(2))
				l.op("VPMOVZXWD %s, %s", l.half(2), l.v(2))
				if l.wide() {
					l.op("KXNORW K2, K2, K2")
					l.op("VGATHERDPS (R8)(Z2*4), K2, Z3")
					l.op("VCMPPS $13, Z4, Z0, K3 // at least")
					l.op("VMOVAPS Z0, K3, Z3")
					l.op("VMULPS Z1, Z3, Z3")
					l.op("VCMPPS $6, Z5, Z0, K3 // not at most")
					l.op("VMOVAPS.Z Z3, K3, Z3")
				} else {
					l.op("VPCMPEQD Y6, Y6, Y6")
					l.op("VGATHERDPS Y6, (R8)(Y2*4), Y3")
					l.op("VCMPPS $13, Y4, Y0, Y6 // at least")
					l.op("VBLENDVPS Y6, Y0, Y3, Y3")
					l.op("VMULPS Y1, Y3, Y3")
					l.op("VCMPPS $6, Y5, Y0, Y6 // not at most")
					l.op("VANDPS Y6, Y3, Y3")
				}
				l.store(3, "DI")
			})
		},
	},
	{
		"gegluBackward", "dgate, dup, gate, up, dy *float32, n int", "",
		"s = 1 / (1 + exp(-2u)): dup = dy·gate·s, dgate = dy·up·(s + gate·s·(1-s)·(c + 3·d·gate²))",
		func(l *lanesWriter) {
			l.argument("dgate", 0, "DI")
			l.argument("dup", 8, "DX")
			l.argument("gate", 16, "SI")
			l.argument("up", 24, "BX")
			l.argument("dy", 32, "R8")
			l.argument("n", 40, "CX")
			l.loop([]string{"SI", "BX", "DI", "DX", "R8"}, func() {
				l.load("SI", 0)
				l.geluArgument(0, 5, 4)
				l.op("VBROADCASTSS constants<>+%d(SB), %s", 32*cGeluSlope, l.v(3))
				l.withConstant("VFMADD213PS", cGelu, 3, 5) // the slope of 2u
				l.sigmoid(4, 2)
				l.load("R8", 3)
				l.op("VMULPS %s, %s, %s", l.v(2), l.v(0), l.v(1)) // gate·s
				l.op("VMULPS %s, %s, %s", l.v(1), l.v(3), l.v(4))
				l.store(4, "DX")
				l.op("VBROADCASTSS constants<>+%d(SB), %s", 32*cOne, l.v(4))
				l.op("VSUBPS %s, %s, %s", l.v(2), l.v(4), l.v(4))
				l.op("VMULPS %s, %s, %s", l.v(1), l.v(4), l.v(4)) // 0 for large gates: before the slope
				l.op("VFMADD213PS %s, %s, %s", l.v(2), l.v(5), l.v(4))
				l.load("BX", 1)
				l.op("VMULPS %s, %s, %s", l.v(1), l.v(3), l.v(3)) // dy·up
				l.op("VMULPS %s, %s, %s", l.v(3), l.v(4), l.v(1))
				l.store(1, "DI")
			})
		},
	},
	{
		"highest", "v *float32, n int", "float32",
		"highest = -Inf; for i < n { if v[i] > highest { highest = v[i] } }",
		func(l *lanesWriter) {
			l.argument("v", 0, "SI")
			l.argument("n", 8, "CX")
			l.broadcastBits(math.Float32bits(float32(math.Inf(-1))), 10)
			l.loop([]string{"SI"}, func() {
				l.load("SI", 0)
				switch { // NaN in the first operand gives the second
				case !l.masked:
					l.op("VMAXPS %s, %s, %s", l.v(10), l.v(0), l.v(10))
				case l.wide():
					l.op("VMAXPS Z10, Z0, K1, Z10")
				default:
					l.op("VBLENDVPS Y15, Y0, Y10, Y0")
					l.op("VMAXPS Y10, Y0, Y10")
				}
			})
			if l.wide() {
				l.op("VEXTRACTF64X4 $1, Z10, Y0")
				l.op("VMAXPS Y0, Y10, Y10")
			}
			l.op("VEXTRACTF128 $1, Y10, X0")
			l.op("VMAXPS X0, X10, X0")
			l.op("VMOVHLPS X0, X0, X1")
			l.op("VMAXPS X1, X0, X0")
			l.op("VMOVSHDUP X0, X1")
			l.op("VMAXSS X1, X0, X0")
			l.op("VMOVSS X0, ret+16(FP)")
		},
	},
	{
		"scale", "dst, a, b *float32, s float32, n int", "",
		"for i < n { dst[i] = a[i]·s·b[i] }",
		func(l *lanesWriter) {
			l.argument("dst", 0, "DI")
			l.argument("a", 8, "SI")
			l.argument("b", 16, "BX")
			l.op("VBROADCASTSS s+24(FP), %s", l.v(5))
			l.argument("n", 32, "CX")
			l.loop([]string{"SI", "BX", "DI"}, func() {
				l.load("SI", 0)
				l.load("BX", 1)
				l.op("VMULPS %s, %s, %s", l.v(5), l.v(0), l.v(0))
				l.op("VMULPS %s, %s, %s", l.v(1), l.v(0), l.v(0))
				l.store(0, "DI")
			})
		},
	},
	{
		"dot64", "a, b *float32, n int", "float64",
		"for i < n { lane[i%lanes] += float64(a[i])·float64(b[i]) }",
		func(l *lanesWriter) {
			l.argument("a", 0, "SI")
			l.argument("b", 8, "BX")
			l.argument("n", 16, "CX")
			l.zero(10)
			l.zero(11)
			l.loop([]string{"SI", "BX"}, func() {
				l.load("SI", 0)
				l.load("BX", 1)
				l.upper(0, 2)
				l.upper(1, 3)
				for i := range 4 {
					l.op("VCVTPS2PD %s, %s", l.half(i), l.v(i))
				}
				l.op("VFMADD231PD %s, %s, %s", l.v(0), l.v(1), l.v(10))
				l.op("VFMADD231PD %s, %s, %s", l.v(2), l.v(3), l.v(11))
			})
			l.foldWidened()
			l.op("VMOVSD X0, ret+24(FP)")
		},
	},
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
