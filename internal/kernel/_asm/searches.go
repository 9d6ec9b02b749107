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
func (g *groupWriter) keepUnlessZero(a, b int, fields ...int) {
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

// searchAffine tries the scales numerators[s] / (highest - low).
func searchAffine(absolute bool) func(g *groupWriter) {
	return func(g *groupWriter) {
		g.start("count+8(FP)")
		g.halves(func() {
			g.span()
			g.broadcast("high+32(FP)", 3)
			g.load(field(atHighest), 0)
			g.sub(0, 1, 4) // 1 is low
			g.div(3, 4, 0)
			g.constant(gOne, 8)
			g.div(8, 0, 8)
			g.store(8, field(atScale))
			g.store(1, field(atLow))
			g.store(0, field(atInverse))
			g.store(1, field(atFrom))
			g.affineLevels("levels")
			g.load(field(atScale), 8)
			g.load(field(atLow), 9)
			g.affineError("error", absolute)
			g.store(4, field(atBest))
			g.redoNone()
			g.op("MOVQ numerators+16(FP), BX")
			g.op("MOVQ steps+24(FP), R9")
			g.printf("\nstep:\n")
			g.affineStep(absolute)
			g.op("ADDQ $4, BX")
			g.op("DECQ R9")
			g.op("JNZ step")
			g.endAffine()
		})
	}
}

// span stores the extremes and leaves in 1 the minimum, or 0 if that is positive. Of
// equal values it keeps the first. Where there is no span, atDead gets ones.
func (g *groupWriter) span() {
	g.load(field(atX), 1)
	g.load(field(atX), 0)
	g.values("span", func() {
		g.load(g.element(atX), 2)
		g.lesser(2, 1, 1)
		g.greater(2, 0, 0)
	})
	g.store(1, field(atLowest))
	g.store(0, field(atHighest))
	g.zero(2)
	g.lesser(2, 1, 1)
	g.compare(atMost, 0, 1, 1)
	g.storeMask(1, field(atDead), 4)
}

func (g *groupWriter) redoNone() {
	if g.wide() {
		g.op("KXORW K7, K7, K7")
		return
	}
	g.zero(4)
	g.store(4, field(atRedo))
}

// redo marks the lanes of mask 1.
func (g *groupWriter) redo() {
	if g.wide() {
		g.op("KORW K1, K7, K7")
		return
	}
	g.op("VORPS %s, %s, %s", field(atRedo), g.mask(1), g.mask(1))
	g.op("VMOVUPS %s, %s", g.mask(1), field(atRedo))
}

// affineStep tries one scale, BX's numerator.
func (g *groupWriter) affineStep(absolute bool) {
	g.load(field(atLow), 1)
	g.load(field(atHighest), 4)
	g.sub(4, 1, 4)
	g.broadcast("(BX)", 0)
	g.div(0, 4, 0)
	// The levels of all values are between those of the extremes.
	g.mul(4, 0, 4)
	g.load(field(atLowest), 5)
	g.sub(5, 1, 5)
	g.mul(5, 0, 5)
	g.constant(gMagnitude, 6)
	g.and(4, 6, 4)
	g.and(5, 6, 5)
	g.constant(gSimple, 6)
	g.compare(notLess, 4, 6, 1)
	g.compare(notLess, 5, 6, 2)
	g.either(2, 1)
	g.redo()
	g.affineLevels("tried")
	g.load(field(atSumW), 10)
	g.load(field(atSumX), 11)
	g.mul(5, 10, 7)
	g.mul(4, 4, 8)
	g.sub(7, 8, 7) // the determinant
	g.mul(6, 10, 8)
	g.mul(4, 11, 9)
	g.sub(8, 9, 8)
	g.div(8, 7, 8) // the scale
	g.mul(5, 11, 9)
	g.mul(4, 6, 10)
	g.sub(9, 10, 9)
	g.div(9, 7, 9) // the offset
	g.compare(greaterThan, 7, 2, 1)
	g.compare(greaterThan, 9, 2, 2)
	g.div(6, 5, 10)
	g.merge(2, 10, 8)
	g.merge(2, 2, 9)
	g.affineError("difference", absolute)
	g.load(field(atBest), 5)
	g.compare(lessThan, 4, 5, 2)
	g.both(2, 1)
	g.mergeInto(1, 4, field(atBest), 5)
	g.mergeInto(1, 8, field(atScale), 5)
	g.mergeInto(1, 9, field(atLow), 5)
	g.mergeInto(1, 0, field(atInverse), 5)
	g.mergeInto(1, 1, field(atFrom), 5)
}

// affineLevels stores the levels of inverse 0 and minimum 1, and leaves the weighted sums
// of level, level * level and x * level in 4, 5, 6. 2 is 0, 3 the greatest level.
func (g *groupWriter) affineLevels(label string) {
	for i := range 3 {
		g.zero(4 + i)
	}
	g.zero(2)
	g.values(label, func() {
		g.load(g.element(atX), 7)
		g.sub(7, 1, 8)
		g.mul(8, 0, 8)
		g.round(8)
		g.greater(8, 2, 8)
		g.lesser(8, 3, 8)
		g.store(8, g.element(atL))
		g.mul(8, g.element(atW), 9)
		g.add(4, 9, 4)
		g.mul(9, 8, 10)
		g.add(5, 10, 5)
		g.mul(9, 7, 11)
		g.add(6, 11, 6)
	})
}

// affineError leaves in 4 the weighted sum of the differences of scale 8 and offset 9.
func (g *groupWriter) affineError(label string, absolute bool) {
	g.zero(4)
	if absolute {
		g.constant(gMagnitude, 6)
	}
	g.values(label, func() {
		g.mul(8, g.element(atL), 5)
		g.add(5, 9, 5)
		g.sub(5, g.element(atX), 5)
		if absolute {
			g.and(5, 6, 5)
		} else {
			g.mul(5, 5, 5)
		}
		g.mul(5, g.element(atW), 5)
		g.add(4, 5, 4)
	})
}

// endAffine settles the groups without a span: no scale, their own minimum.
func (g *groupWriter) endAffine() {
	if g.wide() {
		g.op("VPMOVM2D K7, Z4")
		g.store(4, field(atRedo))
	}
	g.load(field(atDead), 0)
	g.load(field(atLowest), 1)
	g.zero(2)
	g.lesser(2, 1, 1)
	if g.wide() {
		g.op("VPMOVD2M Z0, K1")
	} else {
		g.op("VMOVAPS Y0, %s", g.mask(1))
	}
	for _, f := range []int{atScale, atInverse, atRedo} {
		g.mergeInto(1, 2, field(f), 3)
	}
	g.mergeInto(1, 1, field(atLow), 3)
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
