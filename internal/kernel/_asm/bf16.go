package main

import (
	"fmt"
	"strings"
)

// The instructions of AVX-512 BF16, which the Go assembler does not know.

// dotPairs prints VDPBF16PS, EVEX.512.F3.0F38.W0 52 /r:
// acc[i] += a[2i]·b[2i] + a[2i+1]·b[2i+1] in float32.
func dotPairs(w *writer, acc, a, b int) {
	prefix(w, acc, a, b, 0x40, 2)
	w.printf("; BYTE $0x52; BYTE $%#02x // VDPBF16PS Z%d, Z%d, Z%d\n", modRM(3, acc, b), b, a, acc)
}

// dotPairsBroadcast is dotPairs with one pair, index pairs after atA, for all of b. The register
// of atA, AX, is in the instruction.
func dotPairsBroadcast(w *writer, acc, b, index int) {
	prefix(w, acc, b, 0, 0x50, 2)
	w.printf("; BYTE $0x52; BYTE $%#02x; BYTE $%#02x // VDPBF16PS.BCST %s, Z%d, Z%d\n", modRM(1, acc, 0), index, at(atA, 4*index), b, acc)
}

// roundToBF16 prints VCVTNEPS2BF16, EVEX.512.F3.0F38.W0 72 /r, to half a register.
func roundToBF16(w *writer, dst, src int) {
	prefix(w, dst, 0, src, 0x40, 2)
	w.printf("; BYTE $0x72; BYTE $%#02x // VCVTNEPS2BF16 Z%d, Y%d\n", modRM(3, dst, src), src, dst)
}

// roundTwoToBF16 prints VCVTNE2PS2BF16, EVEX.512.F2.0F38.W0 72 /r: low becomes the lower
// half.
func roundTwoToBF16(w *writer, dst, low, high int) {
	prefix(w, dst, high, low, 0x40, 3)
	w.printf("; BYTE $0x72; BYTE $%#02x // VCVTNE2PS2BF16 Z%d, Z%d, Z%d\n", modRM(3, dst, low), low, high, dst)
}

func modRM(mode, reg, rm int) int { return mode<<6 | reg&7<<3 | rm&7 }

// prefix prints EVEX for registers reg, v and rm, whose high bits it stores
// inverted. control is the length and whether memory is broadcast, pp 2 or 3 for
// F3 or F2.
func prefix(w *writer, reg, v, rm, control, pp int) {
	not := func(r, bit int) int { return 1 &^ (r >> bit) }
	p0 := not(reg, 3)<<7 | not(rm, 4)<<6 | not(rm, 3)<<5 | not(reg, 4)<<4 | 0x02
	p1 := ^v&15<<3 | 0x04 | pp
	p2 := control | not(v, 4)<<3
	w.printf("\tBYTE $0x62; BYTE $%#02x; BYTE $%#02x; BYTE $%#02x", p0, p1, p2)
}

// Registers of what is done to rows: 16 elements of each at a time.
const (
	rowDst       = "DI"
	rowSrc       = "SI"
	rowA, rowB   = "AX", "BX"
	rowRemaining = "CX" // elements
	rowX         = 0    // elements at hand
	rowXA, rowXB = 0, 1 // those of each row
	rowOrder     = 31   // indices of words
	rowBytes     = 64   // of 16 float32
)

// emitRows prints roundToBF16 over a row, and what joins two rows in pairs.
func emitRows(w *writer) {
	w.printf(`
// func roundBF16AVX512(dst *uint16, src *float32, n int)
//
//	for i < n { dst[i] = bfloat16(src[i]) }, n a multiple of 16
TEXT ·roundBF16AVX512(SB), NOSPLIT, $0-24
`)
	w.ins("MOVQ", "dst+0(FP)", rowDst)
	w.ins("MOVQ", "src+8(FP)", rowSrc)
	w.ins("MOVQ", "n+16(FP)", rowRemaining)
	w.rows(func() {
		w.ins("VMOVUPS", in(rowSrc), zmm(rowX))
		roundToBF16(w, rowX, rowX)
		w.ins("VMOVDQU", ymm(rowX), in(rowDst))
		w.ins("ADDQ", number(rowBytes), rowSrc)
		w.ins("ADDQ", number(rowBytes/2), rowDst)
	})
	w.printf(`
// func interleaveAVX512(dst *float32, a, b *uint16, n int)
//
//	for i < n { pair i of dst = a[i], b[i] }, n a multiple of 16
TEXT ·interleaveAVX512(SB), NOSPLIT, $0-32
`)
	w.loadRows()
	w.rows(func() {
		w.ins("VPMOVZXWD", in(rowA), zmm(rowXA))
		w.ins("VPMOVZXWD", in(rowB), zmm(rowXB))
		w.ins("VPSLLD", "$16", zmm(rowXB), zmm(rowXB))
		w.ins("VPORD", zmm(rowXA), zmm(rowXB), zmm(rowX))
		w.ins("VMOVDQU32", zmm(rowX), in(rowDst))
		w.ins("ADDQ", number(rowBytes/2), rowA)
		w.ins("ADDQ", number(rowBytes/2), rowB)
		w.ins("ADDQ", number(rowBytes), rowDst)
	})
	w.printf(`
// The words of two rows by turns.
%s
// func joinAVX512(dst, a, b *float32, n int)
//
//	for i < n { pair i of dst = bfloat16(a[i]), bfloat16(b[i]) }, n a multiple of 16
TEXT ·joinAVX512(SB), NOSPLIT, $0-32
`, alternatingWords())
	w.loadRows()
	w.ins("VMOVDQU64", static("·byTurns"), zmm(rowOrder))
	w.rows(func() {
		w.ins("VMOVUPS", in(rowA), zmm(rowXA))
		w.ins("VMOVUPS", in(rowB), zmm(rowXB))
		roundTwoToBF16(w, rowX, rowXA, rowXB)
		w.ins("VPERMW", zmm(rowX), zmm(rowOrder), zmm(rowX))
		w.ins("VMOVDQU32", zmm(rowX), in(rowDst))
		w.ins("ADDQ", number(rowBytes), rowA)
		w.ins("ADDQ", number(rowBytes), rowB)
		w.ins("ADDQ", number(rowBytes), rowDst)
	})
}

// loadRows loads the arguments of functions of two rows.
func (w *writer) loadRows() {
	w.ins("MOVQ", "dst+0(FP)", rowDst)
	w.ins("MOVQ", "a+8(FP)", rowA)
	w.ins("MOVQ", "b+16(FP)", rowB)
	w.ins("MOVQ", "n+24(FP)", rowRemaining)
}

// rows prints body, which moves the pointers, for every 16 elements.
func (w *writer) rows(body func()) {
	w.ins("SUBQ", "$16", rowRemaining)
	w.op("JLT  done")
	w.printf("\nloop:\n")
	body()
	w.ins("SUBQ", "$16", rowRemaining)
	w.op("JGE  loop")
	w.printf("\ndone:\n")
	w.op("VZEROUPPER")
	w.op("RET")
}

// alternatingWords declares the indices of the words of two halves of a vector in turn.
func alternatingWords() string {
	var s strings.Builder
	for i := 0; i < 32; i += 4 {
		first := uint64(i / 2)
		fmt.Fprintf(&s, "DATA ·byTurns<>+%d(SB)/8, $%#016x\n", 2*i, first|(first+16)<<16|(first+1)<<32|(first+17)<<48)
	}
	return s.String() + "GLOBL ·byTurns<>(SB), RODATA|NOPTR, $64\n"
}
