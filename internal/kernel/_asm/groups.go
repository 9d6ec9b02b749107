package main

import (
	"fmt"
	"math"
)

// Searches over coding.Groups: 16 groups of values side by side, one in each lane. AVX2 goes
// through them twice, 8 lanes at a time. What is added up within a group is added in order,
// and nothing is fused.
const (
	groupsAt     = "SI" // the first of the lanes at hand
	valueAt      = "DX" // value i of each group
	valueCount   = "R8" // of a group
	valuesLeft   = "CX"
	numeratorsAt = "BX"
	stepsLeft    = "R9"
	passesLeft   = "R13" // of AVX2
	toSecond     = "R11" // from the first set of groups to the second, in bytes
	nearAt       = "R10" // the nearest levels of IQ4
)

// Fields of coding.Groups.
const (
	atX          offset = "Groups_X"
	atW          offset = "Groups_W"
	atL          offset = "Groups_L"
	atWX         offset = "Groups_WX"
	atScale      offset = "Groups_Scale"
	atLow        offset = "Groups_Low"
	atInverse    offset = "Groups_Inverse"
	atFrom       offset = "Groups_From"
	atSumW       offset = "Groups_SumW"
	atSumX       offset = "Groups_SumX"
	atMeanSquare offset = "Groups_MeanSquare"
	atRedo       offset = "Groups_Redo"
	atTop        offset = "Groups_top"
	atBest       offset = "Groups_best"
	atLowest     offset = "Groups_lowest"
	atHighest    offset = "Groups_highest"
	atDead       offset = "Groups_dead"
)

// Predicates of comparisons.
const (
	equal        = 0
	lessThan     = 17
	atMost       = 18
	notEqual     = 4 // or not a number
	notLess      = 21
	atLeast      = 29
	greaterThan  = 30
	roundNearest = 8
)

// Constants that searches load, as float32 or integers of 8 lanes each.
const (
	gOne = iota
	gMinusOne
	gAllZero
	gSimple // 2^22: below, rounding is simple
	gMagic
	gFraction
	gMagicBits
	gMinus4
	gThree
	gMinus4F
	gThreeF
	gMagnitude
	gMinus127
	gTwo21
	g512
	g1023
	gHalf
	gSeven
	gCount
)

var groupConstants = [gCount]uint32{
	gOne:       math.Float32bits(1),
	gMinusOne:  math.Float32bits(-1),
	gAllZero:   math.Float32bits(1e-15),
	gSimple:    math.Float32bits(1 << 22),
	gMagic:     math.Float32bits(12582912),
	gFraction:  0x7fffff,
	gMagicBits: 0x400000,
	gMinus4:    1<<32 - 4,
	gThree:     3,
	gMinus4F:   math.Float32bits(-4),
	gThreeF:    math.Float32bits(3),
	gMagnitude: 1<<31 - 1,
	gMinus127:  math.Float32bits(-127),
	gTwo21:     math.Float32bits(1 << 21),
	g512:       512,
	g1023:      1023,
	gHalf:      math.Float32bits(0.5),
	gSeven:     7,
}

// A groupWriter prints searches. Masks are K1, K2 .. or the registers 15, 14 ..
type groupWriter struct {
	*writer
	tier, register string
	lanes          int
	value          int // of those of a round of a loop
}

func (g *groupWriter) wide() bool { return g.lanes == 16 }

func (g *groupWriter) v(i int) string { return fmt.Sprint(g.register, i) }

func (g *groupWriter) mask(m int) string {
	if g.wide() {
		return fmt.Sprint("K", m)
	}
	return g.v(16 - m)
}

// field is a field of the groups, element one of the values at hand.
func field(f offset) string { return f.of(groupsAt) }

func (g *groupWriter) element(f offset) string { return f.plus(64 * g.value).of(valueAt) }

// name is a register's, or the operand itself.
func (g *groupWriter) name(operand any) string {
	if i, ok := operand.(int); ok {
		return g.v(i)
	}
	return operand.(string)
}

// do prints to = a op b; b may be memory.
func (g *groupWriter) do(op string, a int, b any, to int) {
	g.ins(op, g.name(b), g.v(a), g.v(to))
}

func (g *groupWriter) add(a int, b any, to int)     { g.do("VADDPS", a, b, to) }
func (g *groupWriter) sub(a int, b any, to int)     { g.do("VSUBPS", a, b, to) }
func (g *groupWriter) mul(a int, b any, to int)     { g.do("VMULPS", a, b, to) }
func (g *groupWriter) div(a int, b any, to int)     { g.do("VDIVPS", a, b, to) }
func (g *groupWriter) and(a int, b any, to int)     { g.do("VANDPS", a, b, to) }
func (g *groupWriter) lesser(a int, b any, to int)  { g.do("VMINPS", a, b, to) } // a if a < b
func (g *groupWriter) greater(a int, b any, to int) { g.do("VMAXPS", a, b, to) } // a if a > b
func (g *groupWriter) zero(i int)                   { g.ins("VXORPS", g.v(i), g.v(i), g.v(i)) }
func (g *groupWriter) load(from string, to int)     { g.ins("VMOVUPS", from, g.v(to)) }
func (g *groupWriter) store(from int, to string)    { g.ins("VMOVUPS", g.v(from), to) }
func (g *groupWriter) copy(from, to int)            { g.ins("VMOVAPS", g.v(from), g.v(to)) }
func (g *groupWriter) root(a, to int)               { g.ins("VSQRTPS", g.v(a), g.v(to)) }
func (g *groupWriter) broadcast(from string, to int) {
	g.ins("VBROADCASTSS", from, g.v(to))
}

func (g *groupWriter) constant(c, to int) {
	g.broadcast(groupConstant(c), to)
}

// withConstant prints to = a op constant.
func (g *groupWriter) withConstant(op string, a, c, to int) {
	suffix := ""
	if g.wide() {
		suffix = ".BCST"
	}
	g.ins(op+suffix, groupConstant(c), g.v(a), g.v(to))
}

func groupConstant(c int) string { return fmt.Sprintf("groupConstants<>+%d(SB)", 32*c) }

func (g *groupWriter) integer(op string) string {
	if g.wide() && (op == "VPAND" || op == "VPOR" || op == "VPANDN") {
		return op + "D"
	}
	return op
}

// round rounds to the nearest integer, ties to even.
func (g *groupWriter) round(i int) {
	op := "VROUNDPS"
	if g.wide() {
		op = "VRNDSCALEPS"
	}
	g.ins(op, number(roundNearest), g.v(i), g.v(i))
}

// nearest is package quantize's function of that name, with all its bits.
func (g *groupWriter) nearest(i int) {
	g.withConstant("VADDPS", i, gMagic, i)
	g.withConstant(g.integer("VPAND"), i, gFraction, i)
	g.withConstant("VPSUBD", i, gMagicBits, i)
}

// compare sets mask m where a predicate b.
func (g *groupWriter) compare(predicate, a int, b any, m int) {
	g.ins("VCMPPS", number(predicate), g.name(b), g.v(a), g.mask(m))
}

// both and either combine mask n into m.
func (g *groupWriter) both(n, m int) {
	if g.wide() {
		g.ins("KANDW", numbered("K", n), numbered("K", m), numbered("K", m))
		return
	}
	g.ins("VANDPS", g.mask(n), g.mask(m), g.mask(m))
}

func (g *groupWriter) either(n, m int) {
	if g.wide() {
		g.ins("KORW", numbered("K", n), numbered("K", m), numbered("K", m))
		return
	}
	g.ins("VORPS", g.mask(n), g.mask(m), g.mask(m))
}

func (g *groupWriter) clearMask(m int) {
	if g.wide() {
		g.ins("KXORW", numbered("K", m), numbered("K", m), numbered("K", m))
		return
	}
	g.ins("VXORPS", g.mask(m), g.mask(m), g.mask(m))
}

// merge replaces the lanes of to that mask m has.
func (g *groupWriter) merge(m, from, to int) {
	if g.wide() {
		g.ins("VMOVAPS", g.v(from), numbered("K", m), g.v(to))
		return
	}
	g.ins("VBLENDVPS", g.mask(m), g.v(from), g.v(to), g.v(to))
}

// mergeInto does so in memory.
func (g *groupWriter) mergeInto(m, from int, to string, spare int) {
	if g.wide() {
		g.ins("VMOVUPS", g.v(from), numbered("K", m), to)
		return
	}
	g.ins("VMOVUPS", to, g.v(spare))
	g.merge(m, from, spare)
	g.store(spare, to)
}

// keep clears the lanes that mask m lacks.
func (g *groupWriter) keep(m, i int) {
	if g.wide() {
		g.ins("VMOVAPS.Z", g.v(i), numbered("K", m), g.v(i))
		return
	}
	g.ins("VANDPS", g.mask(m), g.v(i), g.v(i))
}

// storeMask stores mask m as integers of all ones or none.
func (g *groupWriter) storeMask(m int, to string, spare int) {
	if g.wide() {
		g.ins("VPMOVM2D", numbered("K", m), zmm(spare))
		g.store(spare, to)
		return
	}
	g.ins("VMOVUPS", g.mask(m), to)
}

// jumpIfNone jumps where mask m has no lane.
func (g *groupWriter) jumpIfNone(m int, label string) {
	if g.wide() {
		g.ins("KORTESTW", numbered("K", m), numbered("K", m))
	} else {
		g.ins("VMOVMSKPS", g.mask(m), scratch)
		g.ins("TESTL", scratch, scratch)
	}
	g.op("JZ %s", label)
}

// inLanes prints body once for 16 lanes, or as a loop over twice 8.
func (g *groupWriter) inLanes(body func()) {
	if g.wide() {
		body()
	} else {
		g.ins("MOVQ", "$2", passesLeft)
		g.printf("\nhalf:\n")
		body()
		g.ins("ADDQ", "$32", groupsAt)
		g.ins("DECQ", passesLeft)
		g.op("JNZ half")
	}
	g.op("VZEROUPPER")
	g.op("RET")
}

// unrolled is how many values a round of a loop has, so that its end can be predicted.
const unrolled = 8

// values prints body for each value.
func (g *groupWriter) values(label string, body func()) {
	g.ins("MOVQ", groupsAt, valueAt)
	g.ins("MOVQ", valueCount, valuesLeft)
	g.printf("\n%s:\n", label)
	for g.value = range unrolled {
		body()
	}
	g.value = 0
	g.ins("ADDQ", number(64*unrolled), valueAt)
	g.ins("SUBQ", number(unrolled), valuesLeft)
	g.op("JNZ %s", label)
}

// A search is one function over groups.
type search struct {
	name, arguments string
	frame           int
	emit            func(g *groupWriter)
}

var searches = []search{
	weighing("weighGiven", func(g *groupWriter) { g.load(g.element(atW), weighW) }),
	weighing("weighSquare", func(g *groupWriter) { g.mul(weighX, weighX, weighW) }),
	weighing("weighSize", func(g *groupWriter) { g.and(weighX, weighMagnitude, weighW) }),
	weighing("weighLevelled", func(g *groupWriter) {
		g.and(weighX, weighMagnitude, weighW)
		g.add(weighPrior, weighW, weighW)
	}),
	weighing("weighEnergy", func(g *groupWriter) {
		g.mul(weighX, weighX, weighW)
		g.add(weighPrior, weighW, weighW)
		g.root(weighW, weighW)
		g.mul(weighW, g.element(atW), weighW)
	}),
	{"searchSymmetric", "s *Groups, count int, numerators *[20]float32, low, high float32", 32, searchSymmetric},
	{"searchAffine", "s *Groups, count int, numerators *float32, steps int, high float32", 36, searchAffine(false)},
	{"searchAbsolute", "s *Groups, count int, numerators *float32, steps int, high float32", 36, searchAffine(true)},
	{"searchDescend", "s, other *Groups", 16, searchDescend},
	{"searchIQ4", "s *Groups, numerators *[16]float32, near *[1024]float32", 24, searchIQ4},
}

// weighing is a search that stores the weights that weigh makes, weights times values, and
// the sums of both.
func weighing(name string, weigh func(g *groupWriter)) search {
	return search{name, "s *Groups, count int", 16, func(g *groupWriter) { g.weighing(name, weigh) }}
}

// emitGroups prints the searches for so many lanes.
func emitGroups(tier, register string, lanes int) func(w *writer) {
	return func(w *writer) {
		w.printf("\n")
		for c, bits := range groupConstants {
			for i := range 8 {
				w.printf("DATA groupConstants<>+%d(SB)/4, $%#08x\n", 32*c+4*i, bits)
			}
		}
		w.printf("GLOBL groupConstants<>(SB), RODATA|NOPTR, $%d\n", 32*gCount)
		if lanes == 16 {
			emitIQ4Buckets(w)
		}
		emitTrialTables(w)
		for _, s := range searches {
			w.printf("\n// func %s%s(%s)\n", s.name, tier, s.arguments)
			w.printf("TEXT ·%s%s(SB), NOSPLIT, $0-%d\n", s.name, tier, s.frame)
			s.emit(&groupWriter{writer: w, tier: tier, register: register, lanes: lanes})
		}
		emitLevels(w, tier, register, lanes)
		points := &groupWriter{writer: w, tier: tier, register: register, lanes: lanes}
		points.emitNearestPoint("nearestOf8", 8, 2)
		points.emitNearestPoint("nearestOf4", 4, 3)
		points.tryPoints()
	}
}

// groupDeclarations declares the searches and lists them for the tiers.
func groupDeclarations() []byte {
	w := &writer{}
	w.WriteString(header)
	w.WriteString("package coding\n\n")
	for _, tier := range []string{"AVX2", "AVX512"} {
		w.printf(`var searches%[1]s = searches{
	weigh: [weighings]func(*Groups, int){
		Given: weighGiven%[1]s, Square: weighSquare%[1]s, Size: weighSize%[1]s, Levelled: weighLevelled%[1]s, Energy: weighEnergy%[1]s,
	},
	symmetric: searchSymmetric%[1]s, affine: searchAffine%[1]s, absolute: searchAbsolute%[1]s,
	descend: searchDescend%[1]s, iq4: searchIQ4%[1]s,
	levels: levels%[1]s, divided: divided%[1]s, iq4Levels: iq4Levels%[1]s, fp4Levels: fp4Levels%[1]s,
	nearestOf8: nearestOf8%[1]s, nearestOf4: nearestOf4%[1]s, tryPoints: tryPoints%[1]s,
	divide32: divide32, divide16: divide16,
}

`, tier)
	}
	for _, n := range []string{"32", "16"} {
		w.printf("//go:noescape\nfunc divide%[1]s(d *Division%[1]s) bool\n\n", n)
	}
	for _, tier := range []string{"AVX2", "AVX512"} {
		for _, s := range searches {
			w.printf("//go:noescape\nfunc %s%s(%s)\n\n", s.name, tier, s.arguments)
		}
		for _, name := range []string{"levels", "divided"} {
			w.printf("//go:noescape\nfunc %s%s(q *byte, x *float32, by, low *Lane, groups, vectors int, least, most, bias int32)\n\n", name, tier)
		}
		for _, name := range []string{"nearestOf8", "nearestOf4"} {
			w.printf("//go:noescape\nfunc %s%s(places *uint16, vectors int, x, weights *float32, scale float32, levels *[16]float32) int\n\n", name, tier)
		}
		w.printf("//go:noescape\nfunc tryPoints%s(%s)\n\n", tier, tryPointsArguments)
		w.printf("//go:noescape\nfunc fp4Levels%s(q *byte, x, by *float32, groups, vectors int, middles *[7]float32)\n\n", tier)
		w.printf("//go:noescape\nfunc iq4Levels%s(q *byte, x *float32, by *Lane, groups int)\n\n", tier)
	}
	return w.Bytes()
}
