package main

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
	for _, f := range []offset{atScale, atInverse, atRedo} {
		g.mergeInto(1, 2, field(f), 3)
	}
	g.mergeInto(1, 1, field(atLow), 3)
}
