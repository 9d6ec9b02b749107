#include "textflag.h"

// The calls that makeFinalCalls makes: a handler is given nothing that could tell it.
GLOBL calls<>(SB), NOPTR, $8

// func handler(first *systemCall) uintptr
TEXT ·handler(SB), NOSPLIT, $0-16
	MOVD first+0(FP), R0
	MOVD R0, calls<>(SB)
	MOVD $makeFinalCalls<>(SB), R0
	MOVD R0, ret+8(FP)
	RET

// makeFinalCalls uses no stack and needs nothing of the runtime.
TEXT makeFinalCalls<>(SB), NOSPLIT|NOFRAME, $0-0
	MOVD calls<>(SB), R19

next:
	MOVD 0(R19), R8
	MOVD 8(R19), R0
	MOVD 16(R19), R1
	MOVD 24(R19), R2
	MOVD 32(R19), R3
	SVC
	ADD  $40, R19
	B    next
