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

// dotPairsBroadcast is dotPairs with one pair at 4·index(AX) for all of b.
func dotPairsBroadcast(w *writer, acc, b, index int) {
	prefix(w, acc, b, 0, 0x50, 2)
	w.printf("; BYTE $0x52; BYTE $%#02x; BYTE $%#02x // VDPBF16PS.BCST %d(AX), Z%d, Z%d\n", modRM(1, acc, 0), index, 4*index, b, acc)
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

// emitRound prints roundToBF16 over a row.
func emitRound(w *writer) {
	w.printf(`
// func roundBF16AVX512(dst *uint16, src *float32, n int)
//
//	for i < n { dst[i] = bfloat16(src[i]) }, n a multiple of 16
TEXT ·roundBF16AVX512(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
	SUBQ $16, CX
	JLT  done

loop:
	VMOVUPS (SI), Z0
`)
	roundToBF16(w, 0, 0)
	w.printf(`	VMOVDQU Y0, (DI)
	ADDQ $64, SI
	ADDQ $32, DI
	SUBQ $16, CX
	JGE  loop

done:
	VZEROUPPER
	RET

// func interleaveAVX512(dst *float32, a, b *uint16, n int)
//
//	for i < n { pair i of dst = a[i], b[i] }, n a multiple of 16
TEXT ·interleaveAVX512(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ a+8(FP), AX
	MOVQ b+16(FP), BX
	MOVQ n+24(FP), CX
	SUBQ $16, CX
	JLT  done

loop:
	VPMOVZXWD (AX), Z0
	VPMOVZXWD (BX), Z1
	VPSLLD    $16, Z1, Z1
	VPORD     Z0, Z1, Z0
	VMOVDQU32 Z0, (DI)
	ADDQ      $32, AX
	ADDQ      $32, BX
	ADDQ      $64, DI
	SUBQ      $16, CX
	JGE       loop

done:
	VZEROUPPER
	RET

// The words of two rows by turns.
%s
// func joinAVX512(dst, a, b *float32, n int)
//
//	for i < n { pair i of dst = bfloat16(a[i]), bfloat16(b[i]) }, n a multiple of 16
TEXT ·joinAVX512(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ a+8(FP), AX
	MOVQ b+16(FP), BX
	MOVQ n+24(FP), CX
	VMOVDQU64 ·byTurns<>(SB), Z31
	SUBQ $16, CX
	JLT  done

loop:
	VMOVUPS (AX), Z0
	VMOVUPS (BX), Z1
`, byTurns())
	roundTwoToBF16(w, 0, 0, 1)
	w.printf(`	VPERMW    Z0, Z31, Z0
	VMOVDQU32 Z0, (DI)
	ADDQ      $64, AX
	ADDQ      $64, BX
	ADDQ      $64, DI
	SUBQ      $16, CX
	JGE       loop

done:
	VZEROUPPER
	RET
`)
}

// byTurns declares the indices of the words of two halves by turns.
func byTurns() string {
	var s strings.Builder
	for i := 0; i < 32; i += 4 {
		first := uint64(i / 2)
		fmt.Fprintf(&s, "DATA ·byTurns<>+%d(SB)/8, $%#016x\n", 2*i, first|(first+16)<<16|(first+1)<<32|(first+17)<<48)
	}
	return s.String() + "GLOBL ·byTurns<>(SB), RODATA|NOPTR, $64\n"
}
