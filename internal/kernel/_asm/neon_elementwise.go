package main

// Vector registers: 0..5 the operation's, 6..9 the exponential's, 10 and 11 sums,
// 16.. the constants of the exponential. R5 counts elements.

// A fourLanesWriter prints loops over vectors of four, then over single elements in
// lane 0.
type fourLanesWriter struct {
	*writer
	single bool
}

func (l *fourLanesWriter) load(pointer string, i int) {
	if l.single { // the other lanes are 0
		l.op("FMOVS (%s), F%d", pointer, i)
		return
	}
	l.op("VLD1 (%s), [V%d.S4]", pointer, i)
}

func (l *fourLanesWriter) store(i int, pointer string) {
	if l.single {
		l.op("FMOVS F%d, (%s)", i, pointer)
		return
	}
	l.op("VST1 [V%d.S4], (%s)", i, pointer)
}

// loop prints body for whole vectors and for single elements; pointers move along.
func (l *fourLanesWriter) loop(pointers []string, body func()) {
	turn := func(n int) {
		body()
		for _, p := range pointers {
			l.op("ADD $%d, %s", 4*n, p)
		}
	}
	l.op("SUBS $4, R5")
	l.op("BLT rest")
	l.printf("\nloop:\n")
	turn(4)
	l.op("SUBS $4, R5")
	l.op("BGE loop")
	l.printf("\nrest:\n")
	l.op("ADDS $4, R5")
	l.op("BEQ done")
	l.printf("\none:\n")
	l.single = true
	turn(1)
	l.single = false
	l.op("SUBS $1, R5")
	l.op("BNE one")
	l.printf("\ndone:\n")
}

func (l *fourLanesWriter) argument(name string, offset int, register string) {
	l.op("MOVD %s+%d(FP), %s", name, offset, register)
}

// broadcast fills register i with an argument.
func (l *fourLanesWriter) broadcast(name string, offset, i int) {
	l.op("FMOVS %s+%d(FP), F%d", name, offset, i)
	l.op("VDUP V%[1]d.S[0], V%[1]d.S4", i)
}

func (l *fourLanesWriter) copy(from, to int) {
	l.op("VORR V%[1]d.B16, V%[1]d.B16, V%[2]d.B16", from, to)
}

func (l *fourLanesWriter) zero(i int) { l.op("VEOR V%[1]d.B16, V%[1]d.B16, V%[1]d.B16", i) }

// multiplyAdd computes d += a·b with one rounding.
func (l *fourLanesWriter) multiplyAdd(a, b, d int) { l.op("VFMLA V%d.S4, V%d.S4, V%d.S4", a, b, d) }

// neonConstant is the register of a constant.
func neonConstant(c int) int {
	if c >= cGelu {
		return 12 + c - cGelu
	}
	return 16 + c
}

func (l *fourLanesWriter) loadConstants() {
	l.op("MOVD $constants<>(SB), R6")
	for c := range constants {
		l.op("VLD1R.P 4(R6), [V%d.S4]", neonConstant(c))
	}
}

// exp replaces register x by its exponential, as lanesWriter.exp does.
func (l *fourLanesWriter) exp(x int) {
	const n, m = 6, 8
	l.three("VFMAX.S4", neonConstant(cLowest), x, x)
	l.three("VFMIN.S4", neonConstant(cHighest), x, x)
	l.three("VFMUL.S4", neonConstant(cLog2e), x, n)
	l.two("VFRINTN.S4", n, n)
	for _, c := range []int{cLn2High, cLn2Low} {
		l.op("VFMLS V%d.S4, V%d.S4, V%d.S4", neonConstant(c), n, x)
	}
	l.two("VFCVTNS.S4", n, n)
	p, next := 7, 9
	l.copy(neonConstant(cPoly0), p)
	for _, c := range []int{cPoly0 + 1, cPoly0 + 2, cPoly0 + 3, cPoly0 + 4, cPoly0 + 5, cOne, cOne} {
		l.copy(neonConstant(c), next)
		l.multiplyAdd(p, x, next)
		p, next = next, p
	}
	// 2ⁿ in two factors, so that neither overflows where the product does not.
	l.two("VSSHR1.S4", n, m)
	l.op("VSUB V%[1]d.S4, V%[2]d.S4, V%[2]d.S4", m, n)
	for _, factor := range []int{n, m} {
		l.op("VADD V%[1]d.S4, V%[2]d.S4, V%[2]d.S4", neonConstant(cBias), factor)
		l.op("VSHL $23, V%[1]d.S4, V%[1]d.S4", factor)
	}
	l.three("VFMUL.S4", n, p, x)
	l.three("VFMUL.S4", m, x, x)
}

// sigmoid leaves 1/(1+exp(-x)) of register x in s.
func (l *fourLanesWriter) sigmoid(x, s int) {
	l.op("VEOR V%d.B16, V%d.B16, V%d.B16", neonConstant(cSign), x, s)
	l.exp(s)
	l.three("VFADD.S4", neonConstant(cOne), s, s)
	l.three("VFDIV.S4", s, neonConstant(cOne), s)
}

// geluArgument leaves 2u of register x in u, and x² in square.
func (l *fourLanesWriter) geluArgument(x, square, u int) {
	l.three("VFMUL.S4", x, x, square)
	l.copy(neonConstant(cGelu), u)
	l.multiplyAdd(square, neonConstant(cGeluCube), u)
	l.three("VFMUL.S4", x, u, u)
}

// foldWidened adds up the lanes of 10 and 11, two float64 each, in 0.
func (l *fourLanesWriter) foldWidened() {
	l.three("VFADD.D2", 11, 10, 10)
	l.two("VFADDP.D2", 10, 0)
}

// neonOperations has every name of operations.
var neonOperations = map[string]func(l *fourLanesWriter){
	"exp": func(l *fourLanesWriter) {
		l.argument("dst", 0, "R0")
		l.argument("src", 8, "R1")
		l.argument("n", 16, "R5")
		l.broadcast("shift", 24, 5)
		l.loadConstants()
		l.zero(10)
		l.zero(11)
		l.loop([]string{"R0", "R1"}, func() {
			l.load("R1", 0)
			l.three("VFSUB.S4", 5, 0, 0)
			l.exp(0)
			l.store(0, "R0")
			if l.single {
				l.op("FMOVS F0, F1 // without the other lanes")
				l.copy(1, 0)
			}
			l.two("VFCVTL.S2.D2", 0, 8)
			l.two("VFCVTL2.S4.D2", 0, 9)
			l.three("VFADD.D2", 8, 10, 10)
			l.three("VFADD.D2", 9, 11, 11)
		})
		l.foldWidened()
		l.op("FMOVD F0, ret+32(FP)")
	},
	"swiglu": func(l *fourLanesWriter) {
		l.argument("dst", 0, "R0")
		l.argument("gate", 8, "R1")
		l.argument("up", 16, "R2")
		l.argument("n", 24, "R5")
		l.loadConstants()
		l.loop([]string{"R0", "R1", "R2"}, func() {
			l.load("R1", 0)
			l.load("R2", 1)
			l.sigmoid(0, 2)
			l.three("VFMUL.S4", 2, 0, 0)
			l.three("VFMUL.S4", 1, 0, 0)
			l.store(0, "R0")
		})
	},
	"swigluBackward": func(l *fourLanesWriter) {
		l.argument("dgate", 0, "R0")
		l.argument("dup", 8, "R1")
		l.argument("gate", 16, "R2")
		l.argument("up", 24, "R3")
		l.argument("dy", 32, "R4")
		l.argument("n", 40, "R5")
		l.loadConstants()
		l.loop([]string{"R0", "R1", "R2", "R3", "R4"}, func() {
			l.load("R2", 0)
			l.load("R3", 1)
			l.load("R4", 3)
			l.sigmoid(0, 2)
			l.three("VFMUL.S4", 2, 3, 3) // dy·s
			l.three("VFMUL.S4", 3, 0, 4)
			l.store(4, "R1")
			l.three("VFMUL.S4", 1, 3, 3) // dy·up·s
			l.three("VFSUB.S4", 2, neonConstant(cOne), 2)
			l.copy(neonConstant(cOne), 5)
			l.multiplyAdd(2, 0, 5)
			l.three("VFMUL.S4", 3, 5, 4)
			l.store(4, "R0")
		})
	},
	"geglu": func(l *fourLanesWriter) {
		l.argument("dst", 0, "R0")
		l.argument("gate", 8, "R1")
		l.argument("up", 16, "R2")
		l.argument("n", 24, "R5")
		l.loadConstants()
		l.loop([]string{"R0", "R1", "R2"}, func() {
			l.load("R1", 0)
			l.load("R2", 1)
			l.geluArgument(0, 3, 4)
			l.sigmoid(4, 2)
			l.three("VFMUL.S4", 2, 0, 0)
			l.three("VFMUL.S4", 1, 0, 0)
			l.store(0, "R0")
		})
	},
	"roundedGeglu": func(l *fourLanesWriter) {
		l.argument("dst", 0, "R0")
		l.argument("gate", 8, "R1")
		l.argument("up", 16, "R2")
		l.argument("n", 24, "R5")
		l.argument("table", 32, "R6")
		l.op("FMOVS $10.0, F4")
		l.op("FMOVS $-10.0, F5")
		l.op("VDUP V4.S[0], V4.S4")
		l.op("VDUP V5.S[0], V5.S4")
		l.zero(6)
		l.loop([]string{"R0", "R1", "R2"}, func() {
			l.load("R1", 0)
			l.load("R2", 1)
			l.two("VFCVTN.S4.H4", 0, 2)
			for lane := range 4 {
				l.op("VMOV V2.H[%d], R7", lane)
				l.op("MOVWU (R6)(R7<<2), R7")
				l.op("VMOV R7, V3.S[%d]", lane)
			}
			l.three("VFCMGE.S4", 4, 0, 7)
			l.op("VBIT V7.B16, V0.B16, V3.B16")
			l.three("VFMUL.S4", 1, 3, 3)
			l.three("VFCMGE.S4", 0, 5, 7)
			l.op("VBIT V7.B16, V6.B16, V3.B16")
			l.store(3, "R0")
		})
	},
	"gegluBackward": func(l *fourLanesWriter) {
		l.argument("dgate", 0, "R0")
		l.argument("dup", 8, "R1")
		l.argument("gate", 16, "R2")
		l.argument("up", 24, "R3")
		l.argument("dy", 32, "R4")
		l.argument("n", 40, "R5")
		l.loadConstants()
		l.loop([]string{"R0", "R1", "R2", "R3", "R4"}, func() {
			l.load("R2", 0)
			l.geluArgument(0, 3, 4)
			l.copy(neonConstant(cGelu), 5)
			l.multiplyAdd(3, neonConstant(cGeluSlope), 5) // the slope of 2u
			l.sigmoid(4, 2)
			l.load("R4", 3)
			l.three("VFMUL.S4", 2, 0, 1) // gate·s
			l.three("VFMUL.S4", 1, 3, 4)
			l.store(4, "R1")
			l.three("VFSUB.S4", 2, neonConstant(cOne), 4)
			l.three("VFMUL.S4", 1, 4, 4) // 0 for large gates: before the slope
			l.multiplyAdd(4, 5, 2)
			l.load("R3", 1)
			l.three("VFMUL.S4", 1, 3, 3) // dy·up
			l.three("VFMUL.S4", 3, 2, 1)
			l.store(1, "R0")
		})
	},
	"highest": func(l *fourLanesWriter) {
		l.argument("v", 0, "R0")
		l.argument("n", 8, "R5")
		l.op("MOVW $0xff800000, R6")
		l.op("VDUP R6, V10.S4")
		l.loop([]string{"R0"}, func() {
			l.load("R0", 0)
			if l.single {
				l.op("VDUP V0.S[0], V0.S4")
			}
			l.three("VFCMGT.S4", 10, 0, 1) // not where NaN is
			l.op("VBIT V1.B16, V0.B16, V10.B16")
		})
		l.two("VFMAXV.S4", 10, 0)
		l.op("FMOVS F0, ret+16(FP)")
	},
	"scale": func(l *fourLanesWriter) {
		l.argument("dst", 0, "R0")
		l.argument("a", 8, "R1")
		l.argument("b", 16, "R2")
		l.broadcast("s", 24, 5)
		l.argument("n", 32, "R5")
		l.loop([]string{"R0", "R1", "R2"}, func() {
			l.load("R1", 0)
			l.load("R2", 1)
			l.three("VFMUL.S4", 5, 0, 0)
			l.three("VFMUL.S4", 1, 0, 0)
			l.store(0, "R0")
		})
	},
	"dot64": func(l *fourLanesWriter) {
		l.argument("a", 0, "R0")
		l.argument("b", 8, "R1")
		l.argument("n", 16, "R5")
		l.zero(10)
		l.zero(11)
		l.loop([]string{"R0", "R1"}, func() {
			l.load("R0", 0)
			l.load("R1", 1)
			for i := range 2 {
				l.two("VFCVTL2.S4.D2", i, 2+i)
				l.two("VFCVTL.S2.D2", i, i)
			}
			l.op("VFMLA V0.D2, V1.D2, V10.D2")
			l.op("VFMLA V2.D2, V3.D2, V11.D2")
		})
		l.foldWidened()
		l.op("FMOVD F0, ret+24(FP)")
	},
}

func emitNEONOperations(w *writer) {
	w.printf("\n")
	for c, bits := range constants {
		w.printf("DATA constants<>+%d(SB)/4, $%#08x\n", 4*c, bits)
	}
	w.printf("GLOBL constants<>(SB), RODATA|NOPTR, $%d\n", 4*len(constants))
	for _, o := range operations {
		emit, ok := neonOperations[o.name]
		if !ok {
			panic("no NEON code for " + o.name)
		}
		o.begin(w, "NEON")
		emit(&fourLanesWriter{writer: w})
		w.op("RET")
	}
}
