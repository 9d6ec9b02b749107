package main

import "fmt"

// start loads the arguments that all searches have.
func (g *groupWriter) start(count string) {
	g.ins("MOVQ", "s+0(FP)", groupsAt)
	if count != "" {
		g.ins("MOVQ", count, valueCount)
	}
}

// Vector registers of weighing.
const (
	weighX, weighW       = 0, 1
	weighSumW, weighSumX = 2, 3
	weighPrior           = 4 // what comes before the values
	weighMagnitude       = 5 // the bits of a magnitude
)

func (g *groupWriter) weighing(name string, weigh func(g *groupWriter)) {
	g.start("count+8(FP)")
	g.inLanes(func() {
		g.constant(gMagnitude, weighMagnitude)
		switch name {
		case "weighLevelled":
			g.rootMeanSquare()
		case "weighEnergy":
			g.load(field(atMeanSquare), weighPrior)
		}
		g.zero(weighSumW)
		g.zero(weighSumX)
		g.values("values", func() {
			g.load(g.element(atX), weighX)
			weigh(g)
			g.store(weighW, g.element(atW))
			g.add(weighSumW, weighW, weighSumW)
			g.load(g.element(atX), weighX)
			g.mul(weighX, weighW, weighX)
			g.store(weighX, g.element(atWX))
			g.add(weighSumX, weighX, weighSumX)
		})
		g.store(weighSumW, field(atSumW))
		g.store(weighSumX, field(atSumX))
	})
}

// rootMeanSquare leaves that of the values in weighPrior.
func (g *groupWriter) rootMeanSquare() {
	const square, count = weighX, weighX
	g.zero(weighPrior)
	g.values("squares", func() {
		g.load(g.element(atX), square)
		g.mul(square, square, square)
		g.add(weighPrior, square, weighPrior)
	})
	g.ins("VCVTSI2SSQ", valueCount, xmm(count), xmm(count))
	g.ins("VBROADCASTSS", xmm(count), g.v(count))
	g.div(weighPrior, count, weighPrior)
	g.root(weighPrior, weighPrior)
}

// extremeRegisters are the vector registers of extremes.
type extremeRegisters struct{ top, greatest, bits, x, magnitude int }

// extremes leaves the first value of the greatest magnitude in field atTop, that
// magnitude in atHighest.
func (g *groupWriter) extremes() { g.findExtremes("extremes", extremeRegisters{0, 1, 2, 3, 4}) }

// findExtremes is extremes in given registers.
func (g *groupWriter) findExtremes(label string, r extremeRegisters) {
	g.zero(r.top)
	g.zero(r.greatest)
	g.constant(gMagnitude, r.bits)
	g.values(label, func() {
		g.load(g.element(atX), r.x)
		g.and(r.x, r.bits, r.magnitude)
		g.compare(greaterThan, r.magnitude, r.greatest, 1)
		g.merge(1, r.x, r.top)
		g.merge(1, r.magnitude, r.greatest)
	})
	g.store(r.top, field(atTop))
	g.store(r.greatest, field(atHighest))
}

// keepUnlessZero clears the fields where the group is one of zeros. It uses two registers.
func (g *groupWriter) keepUnlessZero(value, limit int, fields ...offset) {
	g.load(field(atHighest), value)
	g.constant(gAllZero, limit)
	g.compare(notLess, value, limit, 1)
	for _, f := range fields {
		g.load(field(f), value)
		g.keep(1, value)
		g.store(value, field(f))
	}
}

// Vector registers of the searches that choose among scales, two candidates at a time.
const (
	choiceInverse         = 0 // and 1: of each candidate
	choiceXL, choiceLL    = 2, 3
	choiceSums            = 2    // the distance of the sums of a candidate from those of the next
	choiceLow, choiceHigh = 6, 7 // bounds of levels
	choiceX               = 8
	choiceLevel           = 9 // and 10: of each candidate
	choiceTerm            = 11
	choiceSquare          = 12
)

// sumXL and sumLL are the registers of the sums of weight * x * level and weight * level * level of
// candidate c.
func sumXL(c int) int { return choiceXL + choiceSums*c }
func sumLL(c int) int { return choiceLL + choiceSums*c }

// beginChoice sets the fields of choose so that any sum of squares is better.
func (g *groupWriter) beginChoice(inverse int) {
	const initial = 13
	g.zero(initial)
	g.store(initial, field(atScale))
	g.store(inverse, field(atInverse))
	g.constant(gMinusOne, initial)
	g.store(initial, field(atBest))
}

// clearChoice sets the sums of both candidates to 0.
func (g *groupWriter) clearChoice() {
	for c := range 2 {
		g.zero(sumXL(c))
		g.zero(sumLL(c))
	}
}

// choose takes the scale xl/ll of candidate c where xl * xl / ll is better than before.
func (g *groupWriter) choose(c int) {
	const square, scale, gain, bound, zero, best = 8, 9, 10, 11, 12, 13
	g.load(field(atBest), best)
	g.zero(zero)
	g.mul(sumXL(c), sumXL(c), square)
	g.mul(best, sumLL(c), bound)
	g.compare(greaterThan, square, bound, 1)
	g.compare(greaterThan, sumLL(c), zero, 2)
	g.both(2, 1)
	g.div(sumXL(c), sumLL(c), scale)
	g.mul(scale, sumXL(c), gain)
	g.merge(1, gain, best)
	g.greater(zero, best, best)
	g.store(best, field(atBest))
	g.mergeInto(1, scale, field(atScale), best)
	g.mergeInto(1, choiceInverse+c, field(atInverse), best)
}

// searchSymmetric tries the scales numerators[c] / top, two at a time.
func searchSymmetric(g *groupWriter) {
	g.start("count+8(FP)")
	g.inLanes(func() {
		g.extremes()
		g.broadcast("low+24(FP)", choiceLow)
		g.broadcast("high+28(FP)", choiceHigh)
		g.ins("MOVQ", "numerators+16(FP)", numeratorsAt)
		g.broadcast(in(numeratorsAt), choiceInverse)
		g.div(choiceInverse, field(atTop), choiceInverse)
		g.beginChoice(choiceInverse)
		g.ins("MOVQ", "$10", stepsLeft)
		g.printf("\npair:\n")
		for c := range 2 {
			g.broadcast(at(numeratorsAt, 4*c), choiceInverse+c)
			g.div(choiceInverse+c, field(atTop), choiceInverse+c)
		}
		g.clearChoice()
		g.values("terms", func() {
			g.load(g.element(atX), choiceX)
			for c := range 2 {
				g.mul(choiceX, choiceInverse+c, choiceLevel+c)
			}
			for c := range 2 {
				g.round(choiceLevel + c)
			}
			for c := range 2 {
				g.greater(choiceLevel+c, choiceLow, choiceLevel+c)
			}
			for c := range 2 {
				g.lesser(choiceLevel+c, choiceHigh, choiceLevel+c)
			}
			g.addTerms(0)
			g.addTerms(1)
		})
		g.choose(0)
		g.choose(1)
		g.ins("ADDQ", "$8", numeratorsAt)
		g.ins("DECQ", stepsLeft)
		g.op("JNZ pair")
		g.keepUnlessZero(0, 1, atScale, atInverse)
	})
}

// addTerms adds the weighted x * level and level * level of candidate c.
func (g *groupWriter) addTerms(c int) {
	level := choiceLevel + c
	g.mul(level, g.element(atWX), choiceTerm)
	g.mul(level, g.element(atW), choiceSquare)
	g.add(sumXL(c), choiceTerm, sumXL(c))
	g.mul(choiceSquare, level, choiceSquare)
	g.add(sumLL(c), choiceSquare, sumLL(c))
}

// A descent is one of two sets of groups whose levels are moved, by the registers of the sums
// of weight * x * level and weight * level * level.
type descent struct {
	label  string
	xl, ll int
}

const descendZero = 12

// searchDescend moves single levels while that helps; groups have 16 values. Each move
// waits for the one before it, so the moves of two sets of groups alternate.
func searchDescend(g *groupWriter) {
	first, second := descent{"First", 0, 1}, descent{"Second", 9, 10}
	const moved = 5 // the mask of the lanes that changed
	g.ins("MOVQ", "$16", valueCount)
	g.start("")
	g.ins("MOVQ", "other+8(FP)", toSecond)
	g.ins("SUBQ", groupsAt, toSecond)
	g.inLanes(func() {
		g.beginDescent(first)
		g.ins("ADDQ", toSecond, groupsAt)
		g.beginDescent(second)
		g.ins("SUBQ", toSecond, groupsAt)
		g.zero(descendZero)
		g.ins("MOVQ", "$5", stepsLeft)
		g.printf("\nround:\n")
		g.clearMask(moved)
		g.values("moves", func() {
			g.move(first, moved)
			g.ins("ADDQ", toSecond, valueAt)
			g.move(second, moved)
			g.ins("SUBQ", toSecond, valueAt)
		})
		g.jumpIfNone(moved, "settled")
		g.ins("DECQ", stepsLeft)
		g.op("JNZ round")
		g.printf("\nsettled:\n")
		g.endDescent(first)
		g.ins("ADDQ", toSecond, groupsAt)
		g.endDescent(second)
		g.ins("SUBQ", toSecond, groupsAt)
	})
}

// beginDescent starts from the levels that put the extreme value at -4.
func (g *groupWriter) beginDescent(d descent) {
	const lowest, inverse, highest, level, term = 4, 5, 6, 7, 8
	g.findExtremes("extremes"+d.label, extremeRegisters{2, 3, 4, 5, 6})
	g.constant(gMinus4F, lowest)
	g.div(lowest, field(atTop), inverse)
	g.constant(gThreeF, highest)
	g.zero(d.xl)
	g.zero(d.ll)
	g.values("levels"+d.label, func() {
		g.mul(inverse, g.element(atX), level)
		g.round(level)
		g.greater(level, lowest, level)
		g.lesser(level, highest, level)
		g.store(level, g.element(atL))
		g.mul(level, g.element(atWX), term)
		g.add(d.xl, term, d.xl)
		g.mul(level, g.element(atW), term)
		g.mul(term, level, term)
		g.add(d.ll, term, d.ll)
	})
}

// endDescent stores the scale, and the inverse that levels have been multiplied with already.
func (g *groupWriter) endDescent(d descent) {
	const scale, one = 2, 2
	g.compare(greaterThan, d.ll, descendZero, 1)
	g.div(d.xl, d.ll, scale)
	g.keep(1, scale)
	g.store(scale, field(atScale))
	g.constant(gOne, one)
	g.store(one, field(atInverse))
	g.keepUnlessZero(2, 3, atScale, atInverse)
}

// move tries another level for one value. Mask moved gets the lanes that changed, too.
func (g *groupWriter) move(d descent, moved int) {
	const (
		old, term        = 2, 3
		otherXL, otherLL = 4, 5 // without the value, then with its new level
		level            = 6
		gain, oldGain    = 7, 8
		spare            = 2
	)
	g.load(g.element(atL), old)
	g.mul(old, g.element(atWX), term)
	g.sub(d.xl, term, otherXL)
	g.compare(greaterThan, otherXL, descendZero, 1)
	g.mul(old, g.element(atW), term)
	g.mul(term, old, term)
	g.sub(d.ll, term, otherLL)
	g.mul(otherLL, g.element(atX), level)
	g.div(level, otherXL, level)
	g.nearest(level)
	g.withConstant("VPMAXSD", level, gMinus4, level)
	g.withConstant("VPMINSD", level, gThree, level)
	g.ins("VCVTDQ2PS", g.v(level), g.v(level))
	g.compare(notEqual, level, old, 2)
	g.both(2, 1)
	g.mul(level, g.element(atWX), gain)
	g.add(otherXL, gain, otherXL)
	g.mul(level, g.element(atW), gain)
	g.mul(gain, level, gain)
	g.add(otherLL, gain, otherLL)
	g.compare(greaterThan, otherLL, descendZero, 2)
	g.both(2, 1)
	g.mul(otherXL, otherXL, gain)
	g.mul(gain, d.ll, gain)
	g.mul(d.xl, d.xl, oldGain)
	g.mul(oldGain, otherLL, oldGain)
	g.compare(greaterThan, gain, oldGain, 2)
	g.both(2, 1)
	g.either(1, moved)
	g.merge(1, otherXL, d.xl)
	g.merge(1, otherLL, d.ll)
	g.mergeInto(1, level, g.element(atL), spare)
}

// Vector registers of the search for scales of IQ4: what nearestIQ4 multiplies a candidate's
// values with and, with AVX-512, the table of buckets.
const (
	iq4Scaled                            = 6          // and 7: the inverse of each candidate, as the table wants it
	iq4MiddlesOf, iq4BelowOf, iq4AboveOf = 20, 22, 24 // and the register after each
	iq4BucketInverse, iq4OriginOf        = 26, 27
)

// searchIQ4 tries the scales that put the extreme value near the lowest level.
func searchIQ4(g *groupWriter) {
	g.ins("MOVQ", "$32", valueCount)
	g.start("")
	if g.wide() {
		for i := range 6 {
			g.ins("VMOVUPS", iq4BucketsAt(64*i), zmm(iq4MiddlesOf+i))
		}
		g.broadcast(iq4BucketsAt(384), iq4BucketInverse)
		g.broadcast(iq4BucketsAt(388), iq4OriginOf)
	} else {
		g.ins("MOVQ", "near+16(FP)", nearAt)
	}
	g.inLanes(func() {
		const first, second, lowest = choiceInverse, choiceInverse + 1, 1
		g.extremes()
		g.ins("MOVQ", "numerators+8(FP)", numeratorsAt)
		g.zero(lowest)
		g.sub(lowest, field(atTop), first)
		g.constant(gMinus127, lowest)
		g.div(first, lowest, lowest)
		g.constant(gOne, first)
		g.div(first, lowest, first) // the first: the extreme at +127
		g.beginChoice(first)
		g.ins("MOVQ", "$8", stepsLeft)
		g.op("JMP second")
		g.printf("\npair:\n")
		g.broadcast(in(numeratorsAt), first)
		g.div(first, field(atTop), first)
		g.printf("\nsecond:\n")
		g.broadcast(at(numeratorsAt, 4), second)
		g.div(second, field(atTop), second)
		g.clearChoice()
		factor := iq4BucketInverse
		if !g.wide() {
			factor = iq4Scaled + 1
			g.constant(gTwo21, factor)
		}
		for c := range 2 {
			g.mul(choiceInverse+c, factor, iq4Scaled+c)
		}
		g.values("terms", func() {
			g.load(g.element(atX), choiceX)
			for c := range 2 {
				g.nearestIQ4(c)
				g.mul(choiceLevel+c, g.element(atW), choiceTerm)
				g.mul(choiceTerm, choiceX, choiceSquare)
				g.mul(choiceTerm, choiceLevel+c, choiceTerm)
				g.add(sumXL(c), choiceSquare, sumXL(c))
				g.add(sumLL(c), choiceTerm, sumLL(c))
			}
		})
		g.choose(0)
		g.choose(1)
		g.ins("ADDQ", "$8", numeratorsAt)
		g.ins("DECQ", stepsLeft)
		g.op("JNZ pair")
		g.keepUnlessZero(0, 1, atScale, atInverse)
	})
}

// iq4BucketsAt is the table of buckets from a place on.
func iq4BucketsAt(place int) string { return fmt.Sprintf("iq4Buckets<>+%d(SB)", place) }

// nearestIQ4 puts the level nearest to x times the inverse of candidate c into its register.
func (g *groupWriter) nearestIQ4(c int) {
	scaled, to := iq4Scaled+c, choiceLevel+c
	if !g.wide() {
		const bucket, all = 11, 12
		g.mul(choiceX, scaled, bucket)
		g.ins("VCVTTPS2DQ", ymm(bucket), ymm(bucket))
		g.ins("VPSRAD", "$20", ymm(bucket), ymm(bucket))
		g.withConstant("VPADDD", bucket, g512, bucket)
		g.withConstant("VPAND", bucket, g1023, bucket)
		g.ins("VPCMPEQD", ymm(all), ymm(all), ymm(all))
		g.ins("VGATHERDPS", ymm(all), in(nearAt)+times(ymm(bucket), 4), ymm(to))
		return
	}
	// A bucket has one middle at most: a guess of the bucket will do for all else.
	const product, middle, above = 11, 28, 29
	g.mul(choiceX, choiceInverse+c, product)
	g.ins("VMOVAPS", zmm(iq4OriginOf), zmm(middle))
	g.ins("VFMADD231PS", zmm(choiceX), zmm(scaled), zmm(middle))
	g.ins("VCVTTPS2DQ", zmm(middle), zmm(middle))
	g.ins("VMOVDQA32", zmm(middle), zmm(above))
	g.ins("VMOVDQA32", zmm(middle), zmm(to))
	g.ins("VPERMI2PS", zmm(iq4MiddlesOf+1), zmm(iq4MiddlesOf), zmm(middle))
	g.ins("VPERMI2PS", zmm(iq4AboveOf+1), zmm(iq4AboveOf), zmm(above))
	g.ins("VPERMI2PS", zmm(iq4BelowOf+1), zmm(iq4BelowOf), zmm(to))
	g.compare(atLeast, product, middle, 1)
	g.merge(1, above, to)
}
