package main

import "fmt"

func (g *groupWriter) start(count string) {
	g.op("MOVQ s+0(FP), SI")
	if count != "" {
		g.op("MOVQ %s, R8", count)
	}
}

func (g *groupWriter) weighing(name string, weigh func(g *groupWriter)) {
	g.start("count+8(FP)")
	g.halves(func() {
		g.constant(gMagnitude, 5)
		switch name {
		case "weighLevelled":
			g.zero(4)
			g.values("squares", func() {
				g.load(g.element(atX), 0)
				g.mul(0, 0, 0)
				g.add(4, 0, 4)
			})
			g.op("VCVTSI2SSQ R8, X0, X0")
			g.op("VBROADCASTSS X0, %s", g.v(0))
			g.div(4, 0, 4)
			g.root(4, 4)
		case "weighEnergy":
			g.load(field(atMeanSquare), 4)
		}
		g.zero(2)
		g.zero(3)
		g.values("values", func() {
			g.load(g.element(atX), 0)
			weigh(g)
			g.store(1, g.element(atW))
			g.add(2, 1, 2)
			g.load(g.element(atX), 0)
			g.mul(0, 1, 0)
			g.store(0, g.element(atWX))
			g.add(3, 0, 3)
		})
		g.store(2, field(atSumW))
		g.store(3, field(atSumX))
	})
}

// extremes leaves the first value of the greatest magnitude in field atTop, that
// magnitude in atHighest.
func (g *groupWriter) extremes() { g.findExtremes("extremes", 0, 1, 2, 3, 4) }

// findExtremes is extremes, by five registers.
func (g *groupWriter) findExtremes(label string, top, magnitude, bits, x, size int) {
	g.zero(top)
	g.zero(magnitude)
	g.constant(gMagnitude, bits)
	g.values(label, func() {
		g.load(g.element(atX), x)
		g.and(x, bits, size)
		g.compare(greaterThan, size, magnitude, 1)
		g.merge(1, x, top)
		g.merge(1, size, magnitude)
	})
	g.store(top, field(atTop))
	g.store(magnitude, field(atHighest))
}

// keepUnlessZero clears the fields where the group is one of zeros.
func (g *groupWriter) keepUnlessZero(a, b int, fields ...offset) {
	g.load(field(atHighest), a)
	g.constant(gAllZero, b)
	g.compare(notLess, a, b, 1)
	for _, f := range fields {
		g.load(field(f), a)
		g.keep(1, a)
		g.store(a, field(f))
	}
}

// beginChoice sets the fields of choose so that any sum of squares is better.
func (g *groupWriter) beginChoice(inverse int) {
	g.zero(13)
	g.store(13, field(atScale))
	g.store(inverse, field(atInverse))
	g.constant(gMinusOne, 13)
	g.store(13, field(atBest))
}

// choose takes the scale xl/ll where xl * xl / ll is better than before. It uses 8 to 13.
func (g *groupWriter) choose(inverse, xl, ll int) {
	g.load(field(atBest), 13)
	g.zero(12)
	g.mul(xl, xl, 8)
	g.mul(13, ll, 11)
	g.compare(greaterThan, 8, 11, 1)
	g.compare(greaterThan, ll, 12, 2)
	g.both(2, 1)
	g.div(xl, ll, 9)
	g.mul(9, xl, 10)
	g.merge(1, 10, 13)
	g.greater(12, 13, 13)
	g.store(13, field(atBest))
	g.mergeInto(1, 9, field(atScale), 13)
	g.mergeInto(1, inverse, field(atInverse), 13)
}

// searchSymmetric tries the scales numerators[c] / top, two at a time.
func searchSymmetric(g *groupWriter) {
	g.start("count+8(FP)")
	g.halves(func() {
		g.extremes()
		g.broadcast("low+24(FP)", 6)
		g.broadcast("high+28(FP)", 7)
		g.op("MOVQ numerators+16(FP), BX")
		g.broadcast("(BX)", 0)
		g.div(0, field(atTop), 0)
		g.beginChoice(0)
		g.op("MOVQ $10, R9")
		g.printf("\npair:\n")
		for c := range 2 {
			g.broadcast(fmt.Sprintf("%d(BX)", 4*c), c)
			g.div(c, field(atTop), c)
		}
		for sum := 2; sum <= 5; sum++ {
			g.zero(sum)
		}
		g.values("terms", func() {
			g.load(g.element(atX), 8)
			for c := range 2 {
				g.mul(8, c, 9+c)
			}
			for c := range 2 {
				g.round(9 + c)
			}
			for c := range 2 {
				g.greater(9+c, 6, 9+c)
			}
			for c := range 2 {
				g.lesser(9+c, 7, 9+c)
			}
			g.sums(0, 9)
			g.sums(1, 10)
		})
		g.choose(0, 2, 3)
		g.choose(1, 4, 5)
		g.op("ADDQ $8, BX")
		g.op("DECQ R9")
		g.op("JNZ pair")
		g.keepUnlessZero(0, 1, atScale, atInverse)
	})
}

// sums adds the weighted x * level and level * level of candidate c. It uses 11 and 12.
func (g *groupWriter) sums(c, level int) {
	g.mul(level, g.element(atWX), 11)
	g.mul(level, g.element(atW), 12)
	g.add(2+2*c, 11, 2+2*c)
	g.mul(12, level, 12)
	g.add(3+2*c, 12, 3+2*c)
}

// searchDescend moves single levels while that helps; groups have 16 values. Each move
// waits for the one before it, so two sets of groups take turns: the second is at SI + R11.
func searchDescend(g *groupWriter) {
	g.op("MOVQ $16, R8")
	g.start("")
	g.op("MOVQ other+8(FP), R11")
	g.op("SUBQ SI, R11")
	g.halves(func() {
		g.beginDescent("First", 0, 1)
		g.op("ADDQ R11, SI")
		g.beginDescent("Second", 9, 10)
		g.op("SUBQ R11, SI")
		g.zero(12)
		g.op("MOVQ $5, R9")
		g.printf("\nround:\n")
		g.clearMask(5)
		g.values("moves", func() {
			g.move(0, 1)
			g.op("ADDQ R11, DX")
			g.move(9, 10)
			g.op("SUBQ R11, DX")
		})
		g.jumpIfNone(5, "settled")
		g.op("DECQ R9")
		g.op("JNZ round")
		g.printf("\nsettled:\n")
		g.endDescent(0, 1)
		g.op("ADDQ R11, SI")
		g.endDescent(9, 10)
		g.op("SUBQ R11, SI")
	})
}

// beginDescent starts from the levels that put the extreme value at -4, and leaves the sums
// of x * level and level * level in xl and ll.
func (g *groupWriter) beginDescent(which string, xl, ll int) {
	g.findExtremes("extremes"+which, 2, 3, 4, 5, 6)
	g.constant(gMinus4F, 4)
	g.div(4, field(atTop), 5)
	g.constant(gThreeF, 6)
	g.zero(xl)
	g.zero(ll)
	g.values("levels"+which, func() {
		g.mul(5, g.element(atX), 7)
		g.round(7)
		g.greater(7, 4, 7)
		g.lesser(7, 6, 7)
		g.store(7, g.element(atL))
		g.mul(7, g.element(atWX), 8)
		g.add(xl, 8, xl)
		g.mul(7, g.element(atW), 8)
		g.mul(8, 7, 8)
		g.add(ll, 8, ll)
	})
}

func (g *groupWriter) endDescent(xl, ll int) {
	g.compare(greaterThan, ll, 12, 1)
	g.div(xl, ll, 2)
	g.keep(1, 2)
	g.store(2, field(atScale))
	g.constant(gOne, 2)
	g.store(2, field(atInverse))
	g.keepUnlessZero(2, 3, atScale, atInverse)
}

// move tries another level for one value. xl and ll are the sums of x * level and level *
// level; mask 5 gets the lanes that changed.
func (g *groupWriter) move(xl, ll int) {
	g.load(g.element(atL), 2)
	g.mul(2, g.element(atWX), 3)
	g.sub(xl, 3, 4)
	g.compare(greaterThan, 4, 12, 1)
	g.mul(2, g.element(atW), 3)
	g.mul(3, 2, 3)
	g.sub(ll, 3, 5)
	g.mul(5, g.element(atX), 6)
	g.div(6, 4, 6)
	g.nearest(6)
	g.withConstant("VPMAXSD", 6, gMinus4, 6)
	g.withConstant("VPMINSD", 6, gThree, 6)
	g.op("VCVTDQ2PS %[1]s, %[1]s", g.v(6))
	g.compare(notEqual, 6, 2, 2)
	g.both(2, 1)
	g.mul(6, g.element(atWX), 7)
	g.add(4, 7, 4)
	g.mul(6, g.element(atW), 7)
	g.mul(7, 6, 7)
	g.add(5, 7, 5)
	g.compare(greaterThan, 5, 12, 2)
	g.both(2, 1)
	g.mul(4, 4, 7)
	g.mul(7, ll, 7)
	g.mul(xl, xl, 8)
	g.mul(8, 5, 8)
	g.compare(greaterThan, 7, 8, 2)
	g.both(2, 1)
	g.either(1, 5)
	g.merge(1, 4, xl)
	g.merge(1, 5, ll)
	g.mergeInto(1, 6, g.element(atL), 2)
}

// searchIQ4 tries the scales that put the extreme value near the lowest level.
func searchIQ4(g *groupWriter) {
	g.op("MOVQ $32, R8")
	g.start("")
	if g.wide() {
		for i := range 6 {
			g.op("VMOVUPS iq4Buckets<>+%d(SB), Z%d", 64*i, 20+i)
		}
		g.broadcast("iq4Buckets<>+384(SB)", 26)
		g.broadcast("iq4Buckets<>+388(SB)", 27)
	} else {
		g.op("MOVQ near+16(FP), R10")
	}
	g.halves(func() {
		g.extremes()
		g.op("MOVQ numerators+8(FP), BX")
		g.zero(1)
		g.sub(1, field(atTop), 0)
		g.constant(gMinus127, 1)
		g.div(0, 1, 1)
		g.constant(gOne, 0)
		g.div(0, 1, 0) // the first: the extreme at +127
		g.beginChoice(0)
		g.op("MOVQ $8, R9")
		g.op("JMP second")
		g.printf("\npair:\n")
		g.broadcast("(BX)", 0)
		g.div(0, field(atTop), 0)
		g.printf("\nsecond:\n")
		g.broadcast("4(BX)", 1)
		g.div(1, field(atTop), 1)
		for sum := 2; sum <= 5; sum++ {
			g.zero(sum)
		}
		if g.wide() {
			g.mul(0, 26, 6)
			g.mul(1, 26, 7)
		} else {
			g.constant(gTwo21, 7)
			g.mul(0, 7, 6)
			g.mul(1, 7, 7)
		}
		g.values("terms", func() {
			g.load(g.element(atX), 8)
			for c := range 2 {
				g.nearestIQ4(c, 6+c, 9+c)
				g.mul(9+c, g.element(atW), 11)
				g.mul(11, 8, 12)
				g.mul(11, 9+c, 11)
				g.add(2+2*c, 12, 2+2*c)
				g.add(3+2*c, 11, 3+2*c)
			}
		})
		g.choose(0, 2, 3)
		g.choose(1, 4, 5)
		g.op("ADDQ $8, BX")
		g.op("DECQ R9")
		g.op("JNZ pair")
		g.keepUnlessZero(0, 1, atScale, atInverse)
	})
}

// nearestIQ4 puts the level nearest to x, in 8, times inverse into to. scaled is inverse
// as the table wants it. It uses 11, 12 and more.
func (g *groupWriter) nearestIQ4(inverse, scaled, to int) {
	if !g.wide() {
		g.mul(8, scaled, 11)
		g.op("VCVTTPS2DQ Y11, Y11")
		g.op("VPSRAD $20, Y11, Y11")
		g.withConstant("VPADDD", 11, g512, 11)
		g.withConstant("VPAND", 11, g1023, 11)
		g.op("VPCMPEQD Y12, Y12, Y12")
		g.op("VGATHERDPS Y12, (R10)(Y11*4), Y%d", to)
		return
	}
	// A bucket has one middle at most: a guess of the bucket will do for all else.
	g.mul(8, inverse, 11)
	g.op("VMOVAPS Z27, Z28")
	g.op("VFMADD231PS Z8, Z%d, Z28", scaled)
	g.op("VCVTTPS2DQ Z28, Z28")
	g.op("VMOVDQA32 Z28, Z29")
	g.op("VMOVDQA32 Z28, Z%d", to)
	g.op("VPERMI2PS Z21, Z20, Z28")
	g.op("VPERMI2PS Z25, Z24, Z29")
	g.op("VPERMI2PS Z23, Z22, Z%d", to)
	g.compare(atLeast, 11, 28, 1)
	g.merge(1, 29, to)
}
