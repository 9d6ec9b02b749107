//go:build !purego

#include "textflag.h"

// V30 is 1: c += a·1 stands for the vector addition that the assembler lacks.

// func dotNEON(a, b *float32, n int) float32
//
//	for i < n { lane[i%16] += a[i]·b[i] } over whole fours, then one by one
TEXT ·dotNEON(SB), NOSPLIT, $0-28
	MOVD  a+0(FP), R0
	MOVD  b+8(FP), R1
	MOVD  n+16(FP), R2
	VEOR  V0.B16, V0.B16, V0.B16
	VEOR  V1.B16, V1.B16, V1.B16
	VEOR  V2.B16, V2.B16, V2.B16
	VEOR  V3.B16, V3.B16, V3.B16
	FMOVS $1.0, F30
	VDUP  V30.S[0], V30.S4
	SUBS  $16, R2
	BLT   fours

sixteen:
	VLD1.P 64(R0), [V4.S4, V5.S4, V6.S4, V7.S4]
	VLD1.P 64(R1), [V16.S4, V17.S4, V18.S4, V19.S4]
	VFMLA  V4.S4, V16.S4, V0.S4
	VFMLA  V5.S4, V17.S4, V1.S4
	VFMLA  V6.S4, V18.S4, V2.S4
	VFMLA  V7.S4, V19.S4, V3.S4
	SUBS   $16, R2
	BGE    sixteen

fours:
	ADDS $12, R2
	BLT  fold

four:
	VLD1.P 16(R0), [V4.S4]
	VLD1.P 16(R1), [V16.S4]
	VFMLA  V4.S4, V16.S4, V0.S4
	SUBS   $4, R2
	BGE    four

fold:
	VFMLA V1.S4, V30.S4, V0.S4
	VFMLA V3.S4, V30.S4, V2.S4
	VFMLA V2.S4, V30.S4, V0.S4
	VDUP  V0.S[1], V1.S4
	VDUP  V0.S[2], V2.S4
	VDUP  V0.S[3], V3.S4
	FADDS F2, F0, F0
	FADDS F3, F1, F1
	FADDS F1, F0, F0
	ADDS  $4, R2
	BEQ   done

one:
	FMOVS.P 4(R0), F4
	FMOVS.P 4(R1), F5
	FMADDS  F4, F0, F5, F0
	SUBS    $1, R2
	BNE     one

done:
	FMOVS F0, ret+24(FP)
	RET

// func axpyNEON(y *float32, a float32, x *float32, n int)
//
//	for i < n { y[i] = fma(a, x[i], y[i]) }
TEXT ·axpyNEON(SB), NOSPLIT, $0-32
	MOVD  y+0(FP), R0
	FMOVS a+8(FP), F30
	MOVD  x+16(FP), R1
	MOVD  n+24(FP), R2
	VDUP  V30.S[0], V30.S4
	SUBS  $16, R2
	BLT   fours

sixteen:
	VLD1   (R0), [V0.S4, V1.S4, V2.S4, V3.S4]
	VLD1.P 64(R1), [V4.S4, V5.S4, V6.S4, V7.S4]
	VFMLA  V4.S4, V30.S4, V0.S4
	VFMLA  V5.S4, V30.S4, V1.S4
	VFMLA  V6.S4, V30.S4, V2.S4
	VFMLA  V7.S4, V30.S4, V3.S4
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	SUBS   $16, R2
	BGE    sixteen

fours:
	ADDS $12, R2
	BLT  rest

four:
	VLD1   (R0), [V0.S4]
	VLD1.P 16(R1), [V4.S4]
	VFMLA  V4.S4, V30.S4, V0.S4
	VST1.P [V0.S4], 16(R0)
	SUBS   $4, R2
	BGE    four

rest:
	ADDS $4, R2
	BEQ  done

one:
	FMOVS   (R0), F0
	FMOVS.P 4(R1), F4
	FMADDS  F4, F0, F30, F0
	FMOVS.P F0, 4(R0)
	SUBS    $1, R2
	BNE     one

done:
	RET

// func transposeNEON(dst *float32, stride int, rows *rowPointers, n int)
//
//	for k < n { for r < 4 { dst[k·stride+r] = rows[r][k] } }, n a multiple of 4
TEXT ·transposeNEON(SB), NOSPLIT, $0-32
	MOVD dst+0(FP), R0
	MOVD stride+8(FP), R1
	MOVD rows+16(FP), R2
	MOVD n+24(FP), R3
	LSL  $2, R1
	LDP  (R2), (R4, R5)
	LDP  16(R2), (R6, R7)
	SUBS $4, R3
	BLT  done

loop:
	VLD1.P 16(R4), [V0.S4]
	VLD1.P 16(R5), [V1.S4]
	VLD1.P 16(R6), [V2.S4]
	VLD1.P 16(R7), [V3.S4]
	VTRN1  V1.S4, V0.S4, V4.S4
	VTRN2  V1.S4, V0.S4, V5.S4
	VTRN1  V3.S4, V2.S4, V6.S4
	VTRN2  V3.S4, V2.S4, V7.S4
	VTRN1  V6.D2, V4.D2, V0.D2
	VTRN1  V7.D2, V5.D2, V1.D2
	VTRN2  V6.D2, V4.D2, V2.D2
	VTRN2  V7.D2, V5.D2, V3.D2
	VST1   [V0.S4], (R0)
	ADD    R1, R0
	VST1   [V1.S4], (R0)
	ADD    R1, R0
	VST1   [V2.S4], (R0)
	ADD    R1, R0
	VST1   [V3.S4], (R0)
	ADD    R1, R0
	SUBS   $4, R3
	BGE    loop

done:
	RET
