package main

import "fmt"

// The searches of IQ1 go through all ways to divide a group of ordered values among three
// levels, until a vector of candidates has one for which ll > 0 and xl * xl > best * ll.

// Fields of coding.Division32.
const (
	divide32SumX  offset = "Division32_SumX"
	divide32SumW  offset = "Division32_SumW"
	divide32TailX offset = "Division32_TailX"
	divide32TailW offset = "Division32_TailW"
	divide32Level offset = "Division32_Level"
	divide32XL    offset = "Division32_XL"
	divide32LL    offset = "Division32_LL"
	divide32Low   offset = "Division32_Low"
	divide32At    offset = "Division32_At"
	divide32Best  offset = "Division32_Best"
)

// Fields of coding.Division16.
const (
	divide16Terms  offset = "Division16_Terms"
	divide16Head   offset = "Division16_head"
	divide16Middle offset = "Division16_middle"
	divide16Sums   offset = "Division16_Sums"
	divide16LowAt  offset = "Division16_low"
	divide16HighAt offset = "Division16_high"
	divide16Low    offset = "Division16_Low"
	divide16High   offset = "Division16_High"
	divide16Best   offset = "Division16_Best"
)

// division16Bytes are the terms of one level: xl and ll of four sets for each of 16 values.
const division16Bytes = 16 * 8 * 4

// division is the register of the struct.
const division = "DI"

// above is the predicate of a comparison as a number in base 16.
var above = fmt.Sprintf("$%#x", greaterThan)

// emitDivisions prints both searches, which are the same with and without AVX-512.
func emitDivisions(w *writer) {
	emitDivide32(w)
	emitDivide16(w)
}

func emitDivide32(w *writer) {
	w.printf("\n// func divide32(d *Division32) bool\n")
	w.printf("TEXT ·divide32(SB), NOSPLIT, $0-9\n")
	const (
		// Sums of weight * level * x and of weight * level² of eight candidates, and their share
		// of the values at the lowest level.
		xl, ll, lowXL, lowLL = "Y0", "Y1", "Y10", "Y11"
		lowX, lowW           = "Y8", "Y9"   // sums of those values times weights, and of weights
		lowest, middle       = "Y13", "Y14" // levels
		square, bound        = "Y2", "Y3"   // xl² and best * ll
		best, zero           = "Y15", "Y12"
		low                  = "R8" // values at the lowest level
		at                   = "CX" // the candidates
		better               = "AX" // a bit for each candidate
	)
	w.ins("MOVQ", "d+0(FP)", division)
	w.ins("MOVQ", divide32Low.of(division), low)
	w.ins("MOVQ", divide32At.of(division), at)
	w.ins("VBROADCASTSS", divide32Best.of(division), best)
	w.ins("VBROADCASTSD", divide32Level.of(division), lowest)
	w.ins("VBROADCASTSD", divide32Level.plus(8).of(division), middle)
	w.ins("VXORPS", zero, zero, zero)
	w.printf("\nlow:\n")
	w.ins("VBROADCASTSS", divide32SumX.of(division)+times(low, 8), lowX)
	w.ins("VBROADCASTSS", divide32SumW.of(division)+times(low, 8), lowW)
	w.ins("VMULPS", lowest, lowX, lowXL)
	w.ins("VMULPS", lowest, lowW, lowLL)
	w.ins("VMULPS", lowest, lowLL, lowLL)
	w.printf("\ncandidates:\n")
	w.ins("VMOVUPS", divide32SumX.of(division)+times(at, 4), xl)
	w.ins("VMOVUPS", divide32SumW.of(division)+times(at, 4), ll)
	w.ins("VSUBPS", lowX, xl, xl)
	w.ins("VSUBPS", lowW, ll, ll)
	w.ins("VMULPS", middle, xl, xl)
	w.ins("VMULPS", middle, ll, ll)
	w.ins("VMULPS", middle, ll, ll)
	w.ins("VADDPS", xl, lowXL, xl)
	w.ins("VADDPS", ll, lowLL, ll)
	w.ins("VADDPS", divide32TailX.of(division)+times(at, 4), xl, xl)
	w.ins("VADDPS", divide32TailW.of(division)+times(at, 4), ll, ll)
	w.ins("VMULPS", xl, xl, square)
	w.ins("VMULPS", ll, best, bound)
	w.ins("VCMPPS", above, bound, square, square)
	w.ins("VCMPPS", above, zero, ll, bound)
	w.ins("VANDPS", bound, square, square)
	w.ins("VMOVMSKPS", square, better)
	w.ins("TESTL", better, better)
	w.op("JNZ found")
	w.ins("ADDQ", "$8", at)
	w.ins("CMPQ", at, "$66")
	w.op("JLT candidates")
	w.ins("INCQ", low)
	w.ins("LEAQ", indexed(low, low, 1), at)
	w.ins("CMPQ", low, "$33")
	w.op("JLT low")
	w.ins("MOVB", "$0", "ret+8(FP)")
	w.op("VZEROUPPER")
	w.op("RET")
	w.printf("\nfound:\n")
	w.ins("VMOVUPS", xl, divide32XL.of(division))
	w.ins("VMOVUPS", ll, divide32LL.of(division))
	w.ins("MOVQ", low, divide32Low.of(division))
	w.ins("MOVQ", at, divide32At.of(division))
	w.ins("MOVB", "$1", "ret+8(FP)")
	w.op("VZEROUPPER")
	w.op("RET")
}

func emitDivide16(w *writer) {
	w.printf("\n// func divide16(d *Division16) bool\n")
	w.printf("TEXT ·divide16(SB), NOSPLIT, $0-9\n")
	const (
		// Four xl and four ll of a division, as one vector and as two.
		sums, xl, ll        = "Y0", "X0", "X1"
		head, middle        = "Y8", "Y9" // of the values before low, and before high
		square, bound       = "X2", "X3" // xl² and best * ll
		best, zero          = "X15", "X12"
		low, high           = "R8", "R9" // where the middle and the highest level begin
		foundLow, foundHigh = "R10", "R11"
		highest             = "SI" // terms at the highest level
		at                  = "CX" // bytes of the terms of a level
		better              = "AX" // a bit for each candidate
	)
	w.ins("MOVQ", "d+0(FP)", division)
	w.ins("MOVQ", divide16LowAt.of(division), low)
	w.ins("MOVQ", divide16HighAt.of(division), high)
	w.ins("VMOVUPS", divide16Head.of(division), head)
	w.ins("VMOVUPS", divide16Middle.of(division), middle)
	w.ins("VBROADCASTSS", divide16Best.of(division), best)
	w.ins("VXORPS", zero, zero, zero)
	w.ins("LEAQ", divide16Terms.plus(2*division16Bytes).of(division), highest)
	w.printf("\ncandidates:\n")
	w.ins("VMOVAPS", middle, sums)
	w.ins("MOVQ", high, at)
	w.ins("SHLQ", "$5", at)
	w.ins("CMPQ", at, number(division16Bytes))
	w.op("JGE added")
	w.printf("\nadd:\n")
	w.ins("VADDPS", indexed(highest, at, 1), sums, sums)
	w.ins("ADDQ", "$32", at)
	w.ins("CMPQ", at, number(division16Bytes))
	w.op("JLT add")
	w.printf("\nadded:\n")
	w.ins("VEXTRACTF128", "$1", sums, ll)
	w.ins("VMULPS", xl, xl, square)
	w.ins("VMULPS", ll, best, bound)
	w.ins("VCMPPS", above, bound, square, square)
	w.ins("VCMPPS", above, zero, ll, bound)
	w.ins("VANDPS", bound, square, square)
	w.ins("VMOVMSKPS", square, better)
	w.ins("MOVQ", low, foundLow)
	w.ins("MOVQ", high, foundHigh)
	// Go on to the next division.
	w.ins("CMPQ", high, "$16")
	w.op("JGE next")
	w.ins("MOVQ", high, at)
	w.ins("SHLQ", "$5", at)
	w.ins("VADDPS", divide16Terms.plus(division16Bytes).of(division)+times(at, 1), middle, middle)
	w.ins("INCQ", high)
	w.ins("TESTL", better, better)
	w.op("JZ candidates")
	w.op("JMP found")
	w.printf("\nnext:\n")
	w.ins("CMPQ", low, "$16")
	w.op("JGE last")
	w.ins("MOVQ", low, at)
	w.ins("SHLQ", "$5", at)
	w.ins("VADDPS", divide16Terms.of(division)+times(at, 1), head, head)
	w.printf("\nlast:\n")
	w.ins("INCQ", low)
	w.ins("MOVQ", low, high)
	w.ins("VMOVAPS", head, middle)
	w.ins("TESTL", better, better)
	w.op("JNZ found")
	w.ins("CMPQ", low, "$16")
	w.op("JLE candidates")
	w.ins("MOVB", "$0", "ret+8(FP)")
	w.op("VZEROUPPER")
	w.op("RET")
	w.printf("\nfound:\n")
	w.ins("VMOVUPS", sums, divide16Sums.of(division))
	w.ins("MOVB", foundLow, divide16Low.of(division))
	w.ins("MOVB", foundHigh, divide16High.of(division))
	w.ins("MOVQ", low, divide16LowAt.of(division))
	w.ins("MOVQ", high, divide16HighAt.of(division))
	w.ins("VMOVUPS", head, divide16Head.of(division))
	w.ins("VMOVUPS", middle, divide16Middle.of(division))
	w.ins("MOVB", "$1", "ret+8(FP)")
	w.op("VZEROUPPER")
	w.op("RET")
}
