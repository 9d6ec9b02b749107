package main

import (
	"fmt"
	"math"
)

// Fields of coding.PointTrials.
const (
	trialTerms  offset = "PointTrials_terms"
	trialX      offset = "PointTrials_X"
	trialRoot   offset = "PointTrials_Root"
	trialW      offset = "PointTrials_W"
	trialWX     offset = "PointTrials_WX"
	trialXL     offset = "PointTrials_XL"
	trialLL     offset = "PointTrials_LL"
	trialScale  offset = "PointTrials_Scale"
	trialGain   offset = "PointTrials_Gain"
	trialScaled offset = "PointTrials_scaled"
	trialPlaces offset = "PointTrials_Places"
	trialPoints offset = "PointTrials_Points"
	trialRunsAt offset = "PointTrials_runs" // every 16 bytes
)

// Registers of tryPoints.
const (
	trialsAt        = "DI"
	trialLanesAt    = "SI" // the trials of the vector at hand
	trialXAt        = "DX" // 4 values
	trialPlacesAt   = "BX" // their places
	trialLists      = "R12"
	trialNumerators = "R11"
	trialVectors    = "R13" // that are left
)

// Vector registers of tryPoints. With AVX-512 those from 16 on hold the levels, scaled.
const (
	trialInverse, trialSumXL, trialSumLL = 0, 1, 2
	trialValue, trialSpare, trialPlace   = 3, 4, 5
	trialDiff, trialWeight, trialSum     = 6, 7, 8
	trialResult, trialBest, trialChosen  = 9, 10, 11
	trialGreatest, trialLevels           = 12, 13
	trialZero, trialFirstScaled          = 14, 16
)

// Lists are listUnit points, so many times as the word at their place says from bit
// listBits on; below, it says where they begin.
const listUnit, listBits = 3, 24

// emitTrialTables prints the levels of coordinates, for each lane the one before, and masks
// of which the one at 32 - 4*i has the lanes from i on.
func emitTrialTables(w *writer) {
	for i := range 16 {
		w.printf("DATA oddLevels<>+%d(SB)/4, $%#08x\n", 4*i, math.Float32bits(float32(2*(i%8)+1)))
	}
	w.printf("GLOBL oddLevels<>(SB), RODATA|NOPTR, $64\n")
	for i := range 8 {
		w.printf("DATA laneBefore<>+%d(SB)/4, $%d\n", 4*i, (i+7)%8)
	}
	for i := range 8 {
		w.printf("DATA lanesFrom<>+%d(SB)/8, $%d\n", 8*i, -(i / 4))
	}
	w.printf("GLOBL laneBefore<>(SB), RODATA|NOPTR, $32\n")
	w.printf("GLOBL lanesFrom<>(SB), RODATA|NOPTR, $64\n")
}

const tryPointsArguments = "t *PointTrials, lists *uint32, numerators *[TrialLanes]float32, top float32, vectors int"

// tryPoints prints the search for points of 4 coordinates from 0 to 7, whose levels are 1,
// 3 .. 15.
func (g *groupWriter) tryPoints() {
	g.printf("\n// func tryPoints%s(%s)\n", g.tier, tryPointsArguments)
	g.printf("TEXT ·tryPoints%s(SB), NOSPLIT, $0-40\n", g.tier)
	g.ins("MOVQ", "t+0(FP)", trialsAt)
	g.ins("MOVQ", trialsAt, trialLanesAt)
	g.ins("MOVQ", "lists+8(FP)", trialLists)
	g.ins("MOVQ", "numerators+16(FP)", trialNumerators)
	g.ins("MOVQ", "vectors+32(FP)", trialVectors)
	g.ins("MOVL", "$0x7f7fffff", scratch+" // the greatest float32")
	g.ins("VMOVD", scratch, xmm(trialGreatest))
	g.ins("VPBROADCASTD", xmm(trialGreatest), g.v(trialGreatest))
	g.load("oddLevels<>+0(SB)", trialLevels)
	g.zero(trialZero)
	g.printf("\nvector:\n")
	g.beginTrials()
	g.everyFour("place", func() {
		for i := range 4 {
			g.trialValue(i)
			g.trialPlace(i)
		}
		g.store(trialPlace, trialPlaces.of(trialPlacesAt))
		g.trialRuns()
	})
	g.everyFour("point", func() {
		for i := range 4 {
			g.trialValue(i)
			g.termsOf(i)
		}
		g.nearestInLists()
		g.store(trialResult, trialPoints.of(trialPlacesAt))
		g.trialSums()
	})
	g.endTrials()
	g.ins("ADDQ", number(4*g.lanes), trialNumerators)
	g.ins("ADDQ", number(4*g.lanes), trialLanesAt)
	g.ins("DECQ", trialVectors)
	g.op("JNZ vector")
	g.op("VZEROUPPER")
	g.op("RET")
}

// everyFour prints body for every 4 values.
func (g *groupWriter) everyFour(label string, body func()) {
	g.ins("MOVQ", trialsAt, trialXAt)
	g.ins("MOVQ", trialLanesAt, trialPlacesAt)
	g.printf("\n%s:\n", label)
	body()
	g.ins("ADDQ", "$16", trialXAt)
	g.ins("ADDQ", "$128", trialPlacesAt)
	g.ins("LEAQ", at(trialsAt, 128), scratch)
	g.ins("CMPQ", trialXAt, scratch)
	g.op("JNE %s", label)
}

func (g *groupWriter) trialValue(i int) {
	g.broadcast(trialX.plus(4*i).of(trialXAt), trialValue)
}

// beginTrials finds the scales.
func (g *groupWriter) beginTrials() {
	g.load(in(trialNumerators), trialInverse)
	g.broadcast("top+24(FP)", trialSpare)
	g.div(trialInverse, trialSpare, trialInverse)
	g.constant(gOne, trialSpare)
	g.div(trialSpare, trialInverse, trialSpare)
	for c := range 8 {
		to := trialDiff
		if g.wide() {
			to = trialFirstScaled + c
		}
		g.broadcast(fmt.Sprintf("oddLevels<>+%d(SB)", 4*c), to)
		g.mul(trialSpare, to, to)
		if !g.wide() {
			g.store(to, g.scaledLevel(c).(string))
		}
	}
	g.zero(trialSumXL)
	g.zero(trialSumLL)
}

// scaledLevel is the operand of the level of coordinate c.
func (g *groupWriter) scaledLevel(c int) any {
	if g.wide() {
		return trialFirstScaled + c
	}
	return trialScaled.plus(4 * g.lanes * c).of(trialsAt)
}

// trialPlace puts the coordinate nearest to the value in its bits of the place.
func (g *groupWriter) trialPlace(i int) {
	to := trialSpare
	if i == 0 {
		to = trialPlace
	}
	g.mul(trialInverse, trialValue, to)
	g.withConstant("VSUBPS", to, gOne, to)
	g.withConstant("VMULPS", to, gHalf, to)
	g.nearest(to)
	g.do("VPMAXSD", to, trialZero, to)
	g.withConstant("VPMINSD", to, gSeven, to)
	if i > 0 {
		g.ins("VPSLLD", number(3*i), g.v(to), g.v(to))
		g.do(g.integer("VPOR"), trialPlace, to, trialPlace)
	}
}

// termsOf stores what coordinate i adds to the sum of squares at each level.
func (g *groupWriter) termsOf(i int) {
	g.broadcast(trialRoot.plus(4*i).of(trialXAt), trialWeight)
	for c := range 8 {
		g.sub(trialValue, g.scaledLevel(c), trialDiff)
		g.mul(trialWeight, trialDiff, trialSum)
		g.mul(trialSum, trialDiff, trialSum)
		g.store(trialSum, trialTerms.plus(4*g.lanes*(8*i+c)).of(trialsAt))
	}
}

// trialRuns stores bits of the lanes where a run of one place begins.
func (g *groupWriter) trialRuns() {
	if g.wide() {
		g.ins("VALIGND", "$15", zmm(trialPlace), zmm(trialPlace), zmm(trialSpare))
		g.ins("VPCMPD", number(notEqual), zmm(trialSpare), zmm(trialPlace), g.mask(1))
		g.ins("KMOVW", g.mask(1), scratch)
	} else {
		g.load("laneBefore<>+0(SB)", trialSpare)
		g.ins("VPERMD", ymm(trialPlace), ymm(trialSpare), ymm(trialSpare))
		g.ins("VPCMPEQD", ymm(trialSpare), ymm(trialPlace), ymm(trialSpare))
		g.ins("VMOVMSKPS", ymm(trialSpare), scratch)
		g.ins("XORL", "$0xff", scratch)
	}
	g.ins("ORL", "$1", scratch)
	g.ins("MOVL", scratch, trialRunsAt.of(trialXAt))
}

// nearestInLists chooses the point for each run from the list of its place, for all lanes
// from there on.
func (g *groupWriter) nearestInLists() {
	const (
		runs         = scratch    // bits of the lanes where they begin
		lane         = "R8"       // of the run at hand
		entry, units = "R9", "R9" // of the list: how often listUnit points
		mask         = "R9"
	)
	g.ins("MOVL", trialRunsAt.of(trialXAt), runs)
	g.printf("\nrun:\n")
	g.ins("TZCNTL", runs, lane)
	g.ins("MOVL", trialPlaces.of(trialPlacesAt)+times(lane, 4), entry)
	g.ins("MOVL", indexed(trialLists, entry, 4), entry)
	g.ins("MOVL", entry, listAt)
	g.ins("SHRL", number(listBits), units+" // how many times listUnit points")
	g.ins("ANDL", number(1<<listBits-1), listAt)
	g.ins("LEAQ", indexed(trialLists, listAt, 4), listAt)
	g.ins("VPBROADCASTD", in(listAt), g.v(trialChosen))
	g.sumOfTerms(0)
	g.lesser(trialSum, trialGreatest, trialBest) // the first is chosen anyway
	g.op("JMP first")
	g.printf("\nunit:\n")
	g.candidate(0)
	g.printf("\nfirst:\n")
	for i := 1; i < listUnit; i++ {
		g.candidate(i)
	}
	g.ins("ADDQ", number(4*listUnit), listAt)
	g.ins("DECL", units)
	g.op("JNZ unit")
	if g.wide() {
		g.ins("MOVL", "$-1", mask)
		g.ins("SHLXL", lane, mask, mask)
		g.ins("KMOVW", mask, g.mask(1))
	} else {
		g.ins("NEGQ", lane)
		g.ins("LEAQ", "lanesFrom<>+32(SB)", mask)
		g.ins("VMOVUPS", indexed(mask, lane, 4), g.mask(1))
	}
	g.merge(1, trialChosen, trialResult)
	g.ins("BLSRL", runs, runs)
	g.op("JNZ run")
}

// listAt is where the points of a list are that are at hand.
const listAt = "R10"

// sumOfTerms is that of point i of the list.
func (g *groupWriter) sumOfTerms(i int) {
	const coordinate = "CX"
	for j := range 4 {
		g.ins("MOVBLZX", at(listAt, 4*i+j), coordinate)
		term := trialTerms.plus(4*g.lanes*8*j).of(trialsAt) + times(coordinate, g.lanes/8)
		if j == 0 {
			g.load(term, trialSum)
		} else {
			g.add(trialSum, term, trialSum)
		}
	}
}

// candidate chooses point i of the list if it is nearer.
func (g *groupWriter) candidate(i int) {
	g.sumOfTerms(i)
	g.compare(lessThan, trialSum, trialBest, 1)
	g.lesser(trialSum, trialBest, trialBest)
	if g.wide() {
		g.ins("VPBROADCASTD", at(listAt, 4*i), g.mask(1), zmm(trialChosen))
		return
	}
	g.ins("VPBROADCASTD", at(listAt, 4*i), ymm(trialSpare))
	g.merge(1, trialSpare, trialChosen)
}

// trialSums adds the weighted x * level and level * level.
func (g *groupWriter) trialSums() {
	const level, term = trialPlace, trialDiff
	for i := range 4 {
		g.ins("VPSRLD", number(8*i+5), g.v(trialResult), g.v(level))
		g.ins("VPERMPS", g.v(trialLevels), g.v(level), g.v(level))
		g.broadcast(trialWX.plus(4*i).of(trialXAt), term)
		g.mul(term, level, term)
		g.add(trialSumXL, term, trialSumXL)
		g.broadcast(trialW.plus(4*i).of(trialXAt), term)
		g.mul(term, level, term)
		g.mul(term, level, term)
		g.add(trialSumLL, term, trialSumLL)
	}
}

func (g *groupWriter) endTrials() {
	g.store(trialSumXL, trialXL.of(trialLanesAt))
	g.store(trialSumLL, trialLL.of(trialLanesAt))
	g.div(trialSumXL, trialSumLL, trialSumLL)
	g.store(trialSumLL, trialScale.of(trialLanesAt))
	g.mul(trialSumLL, trialSumXL, trialSumLL)
	g.store(trialSumLL, trialGain.of(trialLanesAt))
}
