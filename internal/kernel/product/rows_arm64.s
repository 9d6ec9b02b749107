//go:build !purego

#include "textflag.h"

// func toPanelsNEON(dst *float32, step int, src *float32, n int)
//
//	for i < n { for j < 16 { dst[i·step+j] = src[16·i+j] } }, n > 0
TEXT ·toPanelsNEON(SB), NOSPLIT, $0-32
	MOVD dst+0(FP), R0
	MOVD step+8(FP), R1
	MOVD src+16(FP), R2
	MOVD n+24(FP), R3
	LSL  $2, R1

loop:
	VLD1.P 64(R2), [V0.S4, V1.S4, V2.S4, V3.S4]
	VST1   [V0.S4, V1.S4, V2.S4, V3.S4], (R0)
	ADD    R1, R0
	SUBS   $1, R3
	BNE    loop
	RET
