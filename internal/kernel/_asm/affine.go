package main

// Vector registers of the affine search: what its levels are made by, and the weighted sums of
// level, level * level and x * level. The others are scratch.
const (
	affineInverse, affineFrom            = 0, 1
	affineZero, affineHighest            = 2, 3
	affineSumL, affineSumLL, affineSumXL = 4, 5, 6
	affineScale, affineLow               = 8, 9
	affineError                          = 4
	affineBetter, affineOther            = 1, 2 // masks
	affineRedo                           = "K7" // AVX-512: groups that Go must do
)

// searchAffine tries the scales numerators[s] / (highest - low).
func searchAffine(absolute bool) func(g *groupWriter) {
	return func(g *groupWriter) {
		const highest, span, scale = 0, 4, 8
		g.start("count+8(FP)")
		g.inLanes(func() {
			g.span()
			g.broadcast("high+32(FP)", affineHighest)
			g.load(field(atHighest), highest)
			g.sub(highest, affineFrom, span)
			g.div(affineHighest, span, affineInverse)
			g.constant(gOne, scale)
			g.div(scale, affineInverse, scale)
			g.store(scale, field(atScale))
			g.store(affineFrom, field(atLow))
			g.store(affineInverse, field(atInverse))
			g.store(affineFrom, field(atFrom))
			g.affineLevels("levels")
			g.load(field(atScale), affineScale)
			g.load(field(atLow), affineLow)
			g.affineErrors("error", absolute)
			g.store(affineError, field(atBest))
			g.redoNone()
			g.ins("MOVQ", "numerators+16(FP)", numeratorsAt)
			g.ins("MOVQ", "steps+24(FP)", stepsLeft)
			g.printf("\nstep:\n")
			g.affineStep(absolute)
			g.ins("ADDQ", "$4", numeratorsAt)
			g.ins("DECQ", stepsLeft)
			g.op("JNZ step")
			g.endAffine()
		})
	}
}

// span stores the extremes and leaves in affineFrom the minimum, or 0 if that is positive. Of
// equal values it keeps the first. Where there is no span, atDead gets ones.
func (g *groupWriter) span() {
	const highest, lowest, x, zero, spare = 0, affineFrom, 2, 2, 4
	g.load(field(atX), lowest)
	g.load(field(atX), highest)
	g.values("span", func() {
		g.load(g.element(atX), x)
		g.lesser(x, lowest, lowest)
		g.greater(x, highest, highest)
	})
	g.store(lowest, field(atLowest))
	g.store(highest, field(atHighest))
	g.zero(zero)
	g.lesser(zero, lowest, affineFrom)
	g.compare(atMost, highest, affineFrom, 1)
	g.storeMask(1, field(atDead), spare)
}

func (g *groupWriter) redoNone() {
	if g.wide() {
		g.ins("KXORW", affineRedo, affineRedo, affineRedo)
		return
	}
	const none = 4
	g.zero(none)
	g.store(none, field(atRedo))
}

// redo marks the lanes of mask m.
func (g *groupWriter) redo(m int) {
	if g.wide() {
		g.ins("KORW", g.mask(m), affineRedo, affineRedo)
		return
	}
	g.ins("VORPS", field(atRedo), g.mask(m), g.mask(m))
	g.ins("VMOVUPS", g.mask(m), field(atRedo))
}

// affineStep tries the scale of one numerator.
func (g *groupWriter) affineStep(absolute bool) {
	g.affineInverses()
	g.affineLevels("tried")
	g.affineSolve()
	g.affineErrors("difference", absolute)
	const best, spare = 5, 5
	g.load(field(atBest), best)
	g.compare(lessThan, affineError, best, affineOther)
	g.both(affineOther, affineBetter)
	g.mergeInto(affineBetter, affineError, field(atBest), spare)
	g.mergeInto(affineBetter, affineScale, field(atScale), spare)
	g.mergeInto(affineBetter, affineLow, field(atLow), spare)
	g.mergeInto(affineBetter, affineInverse, field(atInverse), spare)
	g.mergeInto(affineBetter, affineFrom, field(atFrom), spare)
}

// affineInverses makes the inverse of the scale at hand, and marks the groups whose levels are
// too large to be rounded simply.
func (g *groupWriter) affineInverses() {
	const (
		span, lowest = 4, 5 // then the levels of the extremes
		bits, limit  = 6, 6
	)
	g.load(field(atLow), affineFrom)
	g.load(field(atHighest), span)
	g.sub(span, affineFrom, span)
	g.broadcast(in(numeratorsAt), affineInverse)
	g.div(affineInverse, span, affineInverse)
	// The levels of all values are between those of the extremes.
	g.mul(span, affineInverse, span)
	g.load(field(atLowest), lowest)
	g.sub(lowest, affineFrom, lowest)
	g.mul(lowest, affineInverse, lowest)
	g.constant(gMagnitude, bits)
	g.and(span, bits, span)
	g.and(lowest, bits, lowest)
	g.constant(gSimple, limit)
	g.compare(notLess, span, limit, 1)
	g.compare(notLess, lowest, limit, 2)
	g.either(2, 1)
	g.redo(1)
}

// affineSolve finds the scale and the offset of the least squares for the levels at hand, an
// offset of 0 if that is positive. affineBetter gets the lanes that have a solution.
func (g *groupWriter) affineSolve() {
	const (
		sumW, sumX      = 10, 11
		determinant     = 7
		square, product = 8, 9
		otherProduct    = 10
		scaleOfZero     = 10
	)
	g.load(field(atSumW), sumW)
	g.load(field(atSumX), sumX)
	g.mul(affineSumLL, sumW, determinant)
	g.mul(affineSumL, affineSumL, square)
	g.sub(determinant, square, determinant)
	g.mul(affineSumXL, sumW, affineScale)
	g.mul(affineSumL, sumX, product)
	g.sub(affineScale, product, affineScale)
	g.div(affineScale, determinant, affineScale)
	g.mul(affineSumLL, sumX, affineLow)
	g.mul(affineSumL, affineSumXL, otherProduct)
	g.sub(affineLow, otherProduct, affineLow)
	g.div(affineLow, determinant, affineLow)
	g.compare(greaterThan, determinant, affineZero, affineBetter)
	g.compare(greaterThan, affineLow, affineZero, affineOther)
	g.div(affineSumXL, affineSumLL, scaleOfZero)
	g.merge(affineOther, scaleOfZero, affineScale)
	g.merge(affineOther, affineZero, affineLow)
}

// affineLevels stores the levels of the inverse and the minimum at hand, and leaves their
// sums.
func (g *groupWriter) affineLevels(label string) {
	const x, level, weighted, square, product = 7, 8, 9, 10, 11
	for _, sum := range []int{affineSumL, affineSumLL, affineSumXL} {
		g.zero(sum)
	}
	g.zero(affineZero)
	g.values(label, func() {
		g.load(g.element(atX), x)
		g.sub(x, affineFrom, level)
		g.mul(level, affineInverse, level)
		g.round(level)
		g.greater(level, affineZero, level)
		g.lesser(level, affineHighest, level)
		g.store(level, g.element(atL))
		g.mul(level, g.element(atW), weighted)
		g.add(affineSumL, weighted, affineSumL)
		g.mul(weighted, level, square)
		g.add(affineSumLL, square, affineSumLL)
		g.mul(weighted, x, product)
		g.add(affineSumXL, product, affineSumXL)
	})
}

// affineErrors leaves in affineError the weighted sum of the differences of affineScale and
// affineLow.
func (g *groupWriter) affineErrors(label string, absolute bool) {
	const difference, bits = 5, 6
	g.zero(affineError)
	if absolute {
		g.constant(gMagnitude, bits)
	}
	g.values(label, func() {
		g.mul(affineScale, g.element(atL), difference)
		g.add(difference, affineLow, difference)
		g.sub(difference, g.element(atX), difference)
		if absolute {
			g.and(difference, bits, difference)
		} else {
			g.mul(difference, difference, difference)
		}
		g.mul(difference, g.element(atW), difference)
		g.add(affineError, difference, affineError)
	})
}

// endAffine settles the groups without a span: no scale, their own minimum.
func (g *groupWriter) endAffine() {
	const dead, lowest, zero, spare, redo = 0, 1, 2, 3, 4
	if g.wide() {
		g.ins("VPMOVM2D", affineRedo, zmm(redo))
		g.store(redo, field(atRedo))
	}
	g.load(field(atDead), dead)
	g.load(field(atLowest), lowest)
	g.zero(zero)
	g.lesser(zero, lowest, lowest)
	if g.wide() {
		g.ins("VPMOVD2M", zmm(dead), g.mask(1))
	} else {
		g.ins("VMOVAPS", ymm(dead), g.mask(1))
	}
	for _, f := range []offset{atScale, atInverse, atRedo} {
		g.mergeInto(1, zero, field(f), spare)
	}
	g.mergeInto(1, lowest, field(atLow), spare)
}
