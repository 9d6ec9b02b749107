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
// 3 .. 15. DI is at the trials, SI at those of this vector, DX at 4 values, BX at their
// places.
func (g *groupWriter) tryPoints() {
	g.printf("\n// func tryPoints%s(%s)\n", g.tier, tryPointsArguments)
	g.printf("TEXT ·tryPoints%s(SB), NOSPLIT, $0-40\n", g.tier)
	g.op("MOVQ t+0(FP), DI")
	g.op("MOVQ DI, SI")
	g.op("MOVQ lists+8(FP), R12")
	g.op("MOVQ numerators+16(FP), R11")
	g.op("MOVQ vectors+32(FP), R13")
	g.op("MOVL $0x7f7fffff, AX // the greatest float32")
	g.op("VMOVD AX, X%d", trialGreatest)
	g.op("VPBROADCASTD X%d, %s", trialGreatest, g.v(trialGreatest))
	g.load("oddLevels<>+0(SB)", trialLevels)
	g.zero(trialZero)
	g.printf("\nvector:\n")
	g.beginTrials()
	g.everyFour("place", func() {
		for i := range 4 {
			g.trialValue(i)
			g.trialPlace(i)
		}
		g.store(trialPlace, trialPlaces.of("BX"))
		g.trialRuns()
	})
	g.everyFour("point", func() {
		for i := range 4 {
			g.trialValue(i)
			g.termsOf(i)
		}
		g.nearestInLists()
		g.store(trialResult, trialPoints.of("BX"))
		g.trialSums()
	})
	g.endTrials()
	g.op("ADDQ $%d, R11", 4*g.lanes)
	g.op("ADDQ $%d, SI", 4*g.lanes)
	g.op("DECQ R13")
	g.op("JNZ vector")
	g.op("VZEROUPPER")
	g.op("RET")
}

// everyFour prints body for every 4 values.
func (g *groupWriter) everyFour(label string, body func()) {
	g.op("MOVQ DI, DX")
	g.op("MOVQ SI, BX")
	g.printf("\n%s:\n", label)
	body()
	g.op("ADDQ $16, DX")
	g.op("ADDQ $128, BX")
	g.op("LEAQ 128(DI), AX")
	g.op("CMPQ DX, AX")
	g.op("JNE %s", label)
}

func (g *groupWriter) trialValue(i int) {
	g.broadcast(trialX.plus(4*i).of("DX"), trialValue)
}

// beginTrials finds the scales.
func (g *groupWriter) beginTrials() {
	g.load("(R11)", trialInverse)
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
	return trialScaled.plus(4 * g.lanes * c).of("DI")
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
		g.op("VPSLLD $%d, %s, %[2]s", 3*i, g.v(to))
		g.do(g.integer("VPOR"), trialPlace, to, trialPlace)
	}
}

// termsOf stores what coordinate i adds to the sum of squares at each level.
func (g *groupWriter) termsOf(i int) {
	g.broadcast(trialRoot.plus(4*i).of("DX"), trialWeight)
	for c := range 8 {
		g.sub(trialValue, g.scaledLevel(c), trialDiff)
		g.mul(trialWeight, trialDiff, trialSum)
		g.mul(trialSum, trialDiff, trialSum)
		g.store(trialSum, trialTerms.plus(4*g.lanes*(8*i+c)).of("DI"))
	}
}

// trialRuns stores bits of the lanes where a run of one place begins.
func (g *groupWriter) trialRuns() {
	if g.wide() {
		g.op("VALIGND $15, Z%[1]d, Z%[1]d, Z%d", trialPlace, trialSpare)
		g.op("VPCMPD $%d, Z%d, Z%d, K1", notEqual, trialSpare, trialPlace)
		g.op("KMOVW K1, AX")
	} else {
		g.load("laneBefore<>+0(SB)", trialSpare)
		g.op("VPERMD Y%d, Y%[2]d, Y%[2]d", trialPlace, trialSpare)
		g.op("VPCMPEQD Y%d, Y%d, Y%[1]d", trialSpare, trialPlace)
		g.op("VMOVMSKPS Y%d, AX", trialSpare)
		g.op("XORL $0xff, AX")
	}
	g.op("ORL $1, AX")
	g.op("MOVL AX, %s", trialRunsAt.of("DX"))
}

// nearestInLists chooses the point for each run from the list of its place, for all lanes
// from there on.
func (g *groupWriter) nearestInLists() {
	g.op("MOVL %s, AX", trialRunsAt.of("DX"))
	g.printf("\nrun:\n")
	g.op("TZCNTL AX, R8")
	g.op("MOVL %s(R8*4), R9", trialPlaces.of("BX"))
	g.op("MOVL (R12)(R9*4), R9")
	g.op("MOVL R9, R10")
	g.op("SHRL $%d, R9 // how many times listUnit points", listBits)
	g.op("ANDL $%d, R10", 1<<listBits-1)
	g.op("LEAQ (R12)(R10*4), R10")
	g.op("VPBROADCASTD (R10), %s", g.v(trialChosen))
	g.sumOfTerms(0)
	g.lesser(trialSum, trialGreatest, trialBest) // the first is chosen anyway
	g.op("JMP first")
	g.printf("\nunit:\n")
	g.candidate(0)
	g.printf("\nfirst:\n")
	for i := 1; i < listUnit; i++ {
		g.candidate(i)
	}
	g.op("ADDQ $%d, R10", 4*listUnit)
	g.op("DECL R9")
	g.op("JNZ unit")
	if g.wide() {
		g.op("MOVL $-1, R9")
		g.op("SHLXL R8, R9, R9")
		g.op("KMOVW R9, K1")
	} else {
		g.op("NEGQ R8")
		g.op("LEAQ lanesFrom<>+32(SB), R9")
		g.op("VMOVUPS (R9)(R8*4), %s", g.mask(1))
	}
	g.merge(1, trialChosen, trialResult)
	g.op("BLSRL AX, AX")
	g.op("JNZ run")
}

// sumOfTerms is that of point i of the list.
func (g *groupWriter) sumOfTerms(i int) {
	for j := range 4 {
		g.op("MOVBLZX %d(R10), CX", 4*i+j)
		term := fmt.Sprintf("%s(CX*%d)", trialTerms.plus(4*g.lanes*8*j).of("DI"), g.lanes/8)
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
		g.op("VPBROADCASTD %d(R10), K1, Z%d", 4*i, trialChosen)
		return
	}
	g.op("VPBROADCASTD %d(R10), Y%d", 4*i, trialSpare)
	g.merge(1, trialSpare, trialChosen)
}

// trialSums adds the weighted x * level and level * level.
func (g *groupWriter) trialSums() {
	for i := range 4 {
		g.op("VPSRLD $%d, %s, %s", 8*i+5, g.v(trialResult), g.v(trialPlace))
		g.op("VPERMPS %s, %s, %[2]s", g.v(trialLevels), g.v(trialPlace))
		g.broadcast(trialWX.plus(4*i).of("DX"), trialDiff)
		g.mul(trialDiff, trialPlace, trialDiff)
		g.add(trialSumXL, trialDiff, trialSumXL)
		g.broadcast(trialW.plus(4*i).of("DX"), trialDiff)
		g.mul(trialDiff, trialPlace, trialDiff)
		g.mul(trialDiff, trialPlace, trialDiff)
		g.add(trialSumLL, trialDiff, trialSumLL)
	}
}

func (g *groupWriter) endTrials() {
	g.store(trialSumXL, trialXL.of("SI"))
	g.store(trialSumLL, trialLL.of("SI"))
	g.div(trialSumXL, trialSumLL, trialSumLL)
	g.store(trialSumLL, trialScale.of("SI"))
	g.mul(trialSumLL, trialSumXL, trialSumLL)
	g.store(trialSumLL, trialGain.of("SI"))
}
