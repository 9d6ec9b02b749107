package main

import "fmt"

// Registers of operations; pointers are in those below.
const (
	neonElements = "R5" // that are left
	neonTable    = "R6"
)

// Vector registers of operations: up to 5 those of each, and
const (
	neonExponent, neonSeries   = 6, 7 // of exp
	neonExponent2, neonSeries2 = 8, 9
	neonWidened                = 8  // and 9: float64
	neonDoubles                = 10 // and 11: sums in float64
	neonSum                    = 0  // their sum
	neonGeluConstants          = 12
	neonConstants              = 16
)

// A fourLanesWriter prints loops over vectors of four, then over single elements in
// lane 0.
type fourLanesWriter struct {
	*writer
	single bool
}

func (l *fourLanesWriter) load(pointer string, i int) {
	if l.single { // the other lanes are 0
		l.ins("FMOVS", in(pointer), scalar(i))
		return
	}
	l.ins("VLD1", in(pointer), "["+arranged(i, "S4")+"]")
}

func (l *fourLanesWriter) store(i int, pointer string) {
	if l.single {
		l.ins("FMOVS", scalar(i), in(pointer))
		return
	}
	l.ins("VST1", "["+arranged(i, "S4")+"]", in(pointer))
}

// loop prints body for whole vectors and for single elements; pointers move along.
func (l *fourLanesWriter) loop(pointers []string, body func()) {
	round := func(n int) {
		body()
		for _, p := range pointers {
			l.ins("ADD", number(4*n), p)
		}
	}
	l.ins("SUBS", "$4", neonElements)
	l.op("BLT rest")
	l.printf("\nloop:\n")
	round(4)
	l.ins("SUBS", "$4", neonElements)
	l.op("BGE loop")
	l.printf("\nrest:\n")
	l.ins("ADDS", "$4", neonElements)
	l.op("BEQ done")
	l.printf("\none:\n")
	l.single = true
	round(1)
	l.single = false
	l.ins("SUBS", "$1", neonElements)
	l.op("BNE one")
	l.printf("\ndone:\n")
}

func (l *fourLanesWriter) argument(name string, offset int, register string) {
	l.ins("MOVD", fmt.Sprintf("%s+%d(FP)", name, offset), register)
}

// arguments loads arguments in their order, and the number n of elements, and returns the
// registers of the others.
func (l *fourLanesWriter) arguments(names ...string) (pointers []string) {
	for i, name := range names {
		if name == "n" {
			l.argument(name, 8*i, neonElements)
			continue
		}
		pointers = append(pointers, numbered("R", i))
		l.argument(name, 8*i, pointers[i])
	}
	return pointers
}

// broadcast fills register i with an argument.
func (l *fourLanesWriter) broadcast(name string, offset, i int) {
	l.ins("FMOVS", fmt.Sprintf("%s+%d(FP)", name, offset), scalar(i))
	l.ins("VDUP", element(i, "S", 0), arranged(i, "S4"))
}

func (l *fourLanesWriter) copy(from, to int) {
	l.ins("VORR", arranged(from, "B16"), arranged(from, "B16"), arranged(to, "B16"))
}

func (l *fourLanesWriter) zero(i int) {
	l.ins("VEOR", arranged(i, "B16"), arranged(i, "B16"), arranged(i, "B16"))
}

// multiplyAdd computes d += a·b with one rounding.
func (l *fourLanesWriter) multiplyAdd(a, b, d int) {
	l.ins("VFMLA", arranged(a, "S4"), arranged(b, "S4"), arranged(d, "S4"))
}

// neonConstant is the register of a constant.
func neonConstant(c int) int {
	if c >= cGelu {
		return neonGeluConstants + c - cGelu
	}
	return neonConstants + c
}

func (l *fourLanesWriter) loadConstants() {
	l.ins("MOVD", "$constants<>(SB)", neonTable)
	for c := range constants {
		l.ins("VLD1R.P", at(neonTable, 4), "["+arranged(neonConstant(c), "S4")+"]")
	}
}

// exp replaces register x by its exponential, as lanesWriter.exp does.
func (l *fourLanesWriter) exp(x int) {
	const n, m = neonExponent, neonExponent2
	l.three("VFMAX.S4", neonConstant(cLowest), x, x)
	l.three("VFMIN.S4", neonConstant(cHighest), x, x)
	l.three("VFMUL.S4", neonConstant(cLog2e), x, n)
	l.two("VFRINTN.S4", n, n)
	for _, c := range []int{cLn2High, cLn2Low} {
		l.ins("VFMLS", arranged(neonConstant(c), "S4"), arranged(n, "S4"), arranged(x, "S4"))
	}
	l.two("VFCVTNS.S4", n, n)
	p, next := neonSeries, neonSeries2
	l.copy(neonConstant(cPoly0), p)
	for _, c := range []int{cPoly0 + 1, cPoly0 + 2, cPoly0 + 3, cPoly0 + 4, cPoly0 + 5, cOne, cOne} {
		l.copy(neonConstant(c), next)
		l.multiplyAdd(p, x, next)
		p, next = next, p
	}
	// 2ⁿ in two factors, so that neither overflows where the product does not.
	l.two("VSSHR1.S4", n, m)
	l.ins("VSUB", arranged(m, "S4"), arranged(n, "S4"), arranged(n, "S4"))
	for _, factor := range []int{n, m} {
		l.ins("VADD", arranged(neonConstant(cBias), "S4"), arranged(factor, "S4"), arranged(factor, "S4"))
		l.ins("VSHL", "$23", arranged(factor, "S4"), arranged(factor, "S4"))
	}
	l.three("VFMUL.S4", n, p, x)
	l.three("VFMUL.S4", m, x, x)
}

// sigmoid leaves 1/(1+exp(-x)) of register x in s.
func (l *fourLanesWriter) sigmoid(x, s int) {
	l.ins("VEOR", arranged(neonConstant(cSign), "B16"), arranged(x, "B16"), arranged(s, "B16"))
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

// foldWidened adds up the lanes of both sums, two float64 each, in neonSum.
func (l *fourLanesWriter) foldWidened() {
	l.three("VFADD.D2", neonDoubles+1, neonDoubles, neonDoubles)
	l.two("VFADDP.D2", neonDoubles, neonSum)
}

// neonOperations has every name of operations.
var neonOperations = map[string]func(l *fourLanesWriter){
	"exp": func(l *fourLanesWriter) {
		const x, shift, alone = 0, 5, 1
		p := l.arguments("dst", "src", "n")
		dst, src := p[0], p[1]
		l.broadcast("shift", 24, shift)
		l.loadConstants()
		l.zero(neonDoubles)
		l.zero(neonDoubles + 1)
		l.loop(p, func() {
			l.load(src, x)
			l.three("VFSUB.S4", shift, x, x)
			l.exp(x)
			l.store(x, dst)
			if l.single {
				l.ins("FMOVS", scalar(x), scalar(alone)+" // without the other lanes")
				l.copy(alone, x)
			}
			l.two("VFCVTL.S2.D2", x, neonWidened)
			l.two("VFCVTL2.S4.D2", x, neonWidened+1)
			l.three("VFADD.D2", neonWidened, neonDoubles, neonDoubles)
			l.three("VFADD.D2", neonWidened+1, neonDoubles+1, neonDoubles+1)
		})
		l.foldWidened()
		l.ins("FMOVD", scalar(neonSum), "ret+32(FP)")
	},
	"swiglu": func(l *fourLanesWriter) {
		p := l.arguments("dst", "gate", "up", "n")
		dst, gate, up := p[0], p[1], p[2]
		l.loadConstants()
		l.loop(p, func() {
			l.load(gate, vGate)
			l.load(up, vUp)
			l.sigmoid(vGate, vSigmoid)
			l.three("VFMUL.S4", vSigmoid, vGate, vGate)
			l.three("VFMUL.S4", vUp, vGate, vGate)
			l.store(vGate, dst)
		})
	},
	"swigluBackward": func(l *fourLanesWriter) {
		const slope = 5
		p := l.arguments("dgate", "dup", "gate", "up", "dy", "n")
		dgate, dup, gate, up, dy := p[0], p[1], p[2], p[3], p[4]
		l.loadConstants()
		l.loop(p, func() {
			l.load(gate, vGate)
			l.load(up, vUp)
			l.load(dy, vDy)
			l.sigmoid(vGate, vSigmoid)
			l.three("VFMUL.S4", vSigmoid, vDy, vDy) // dy·s
			l.three("VFMUL.S4", vDy, vGate, vResult)
			l.store(vResult, dup)
			l.three("VFMUL.S4", vUp, vDy, vDy) // dy·up·s
			l.three("VFSUB.S4", vSigmoid, neonConstant(cOne), vSigmoid)
			l.copy(neonConstant(cOne), slope)
			l.multiplyAdd(vSigmoid, vGate, slope)
			l.three("VFMUL.S4", vDy, slope, vResult)
			l.store(vResult, dgate)
		})
	},
	"geglu": func(l *fourLanesWriter) {
		const square, argument = 3, 4
		p := l.arguments("dst", "gate", "up", "n")
		dst, gate, up := p[0], p[1], p[2]
		l.loadConstants()
		l.loop(p, func() {
			l.load(gate, vGate)
			l.load(up, vUp)
			l.geluArgument(vGate, square, argument)
			l.sigmoid(argument, vSigmoid)
			l.three("VFMUL.S4", vSigmoid, vGate, vGate)
			l.three("VFMUL.S4", vUp, vGate, vGate)
			l.store(vGate, dst)
		})
	},
	"roundedGeglu": func(l *fourLanesWriter) {
		const index, y, greatest, lowest, zero, mask = 2, 3, 4, 5, 6, 7
		p := l.arguments("dst", "gate", "up", "n")
		dst, gate, up := p[0], p[1], p[2]
		const entry = "R7"
		l.argument("table", 32, neonTable)
		l.ins("FMOVS", "$10.0", scalar(greatest))
		l.ins("FMOVS", "$-10.0", scalar(lowest))
		l.ins("VDUP", element(greatest, "S", 0), arranged(greatest, "S4"))
		l.ins("VDUP", element(lowest, "S", 0), arranged(lowest, "S4"))
		l.zero(zero)
		l.loop(p, func() {
			l.load(gate, vGate)
			l.load(up, vUp)
			l.two("VFCVTN.S4.H4", vGate, index)
			for lane := range 4 {
				l.ins("VMOV", element(index, "H", lane), entry)
				l.ins("MOVWU", in(neonTable)+"("+shifted(entry, "<<", 2)+")", entry)
				l.ins("VMOV", entry, element(y, "S", lane))
			}
			l.three("VFCMGE.S4", greatest, vGate, mask)
			l.ins("VBIT", arranged(mask, "B16"), arranged(vGate, "B16"), arranged(y, "B16"))
			l.three("VFMUL.S4", vUp, y, y)
			l.three("VFCMGE.S4", vGate, lowest, mask)
			l.ins("VBIT", arranged(mask, "B16"), arranged(zero, "B16"), arranged(y, "B16"))
			l.store(y, dst)
		})
	},
	"gegluBackward": func(l *fourLanesWriter) {
		const square, argument, product, slope, derivative = 3, 4, 1, 5, 4
		p := l.arguments("dgate", "dup", "gate", "up", "dy", "n")
		dgate, dup, gate, up, dy := p[0], p[1], p[2], p[3], p[4]
		l.loadConstants()
		l.loop(p, func() {
			l.load(gate, vGate)
			l.geluArgument(vGate, square, argument)
			l.copy(neonConstant(cGelu), slope)
			l.multiplyAdd(square, neonConstant(cGeluSlope), slope) // the slope of 2u
			l.sigmoid(argument, vSigmoid)
			l.load(dy, vDy)
			l.three("VFMUL.S4", vSigmoid, vGate, product) // gate·s
			l.three("VFMUL.S4", product, vDy, vResult)
			l.store(vResult, dup)
			l.three("VFSUB.S4", vSigmoid, neonConstant(cOne), derivative)
			l.three("VFMUL.S4", product, derivative, derivative) // 0 for large gates: before the slope
			l.multiplyAdd(derivative, slope, vSigmoid)
			l.load(up, vUp)
			l.three("VFMUL.S4", vUp, vDy, vDy) // dy·up
			l.three("VFMUL.S4", vDy, vSigmoid, product)
			l.store(product, dgate)
		})
	},
	"highest": func(l *fourLanesWriter) {
		const x, mask, highest, bits = 0, 1, 10, "R6"
		p := l.arguments("v", "n")
		v := p[0]
		l.ins("MOVW", "$0xff800000", bits)
		l.ins("VDUP", bits, arranged(highest, "S4"))
		l.loop(p, func() {
			l.load(v, x)
			if l.single {
				l.ins("VDUP", element(x, "S", 0), arranged(x, "S4"))
			}
			l.three("VFCMGT.S4", highest, x, mask) // not where NaN is
			l.ins("VBIT", arranged(mask, "B16"), arranged(x, "B16"), arranged(highest, "B16"))
		})
		l.two("VFMAXV.S4", highest, x)
		l.ins("FMOVS", scalar(x), "ret+16(FP)")
	},
	"scale": func(l *fourLanesWriter) {
		const x, y, factor = 0, 1, 5
		p := l.arguments("dst", "a", "b")
		dst, a, b := p[0], p[1], p[2]
		l.broadcast("s", 24, factor)
		l.argument("n", 32, neonElements)
		l.loop(p, func() {
			l.load(a, x)
			l.load(b, y)
			l.three("VFMUL.S4", factor, x, x)
			l.three("VFMUL.S4", y, x, x)
			l.store(x, dst)
		})
	},
	"dot64": func(l *fourLanesWriter) {
		const x, y, upperX, upperY = 0, 1, 2, 3
		p := l.arguments("a", "b", "n")
		a, b := p[0], p[1]
		l.zero(neonDoubles)
		l.zero(neonDoubles + 1)
		l.loop(p, func() {
			l.load(a, x)
			l.load(b, y)
			for i := range 2 {
				l.two("VFCVTL2.S4.D2", x+i, upperX+i)
				l.two("VFCVTL.S2.D2", x+i, x+i)
			}
			l.ins("VFMLA", arranged(x, "D2"), arranged(y, "D2"), arranged(neonDoubles, "D2"))
			l.ins("VFMLA", arranged(upperX, "D2"), arranged(upperY, "D2"), arranged(neonDoubles+1, "D2"))
		})
		l.foldWidened()
		l.ins("FMOVD", scalar(neonSum), "ret+24(FP)")
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
