#include "textflag.h"

// func handler() uintptr
TEXT ·handler(SB), NOSPLIT, $0-8
	MOVD $makeFinalCalls<>(SB), R0
	MOVD R0, ret+0(FP)
	RET

// makeFinalCalls is a signal handler. It uses no stack and needs nothing of the runtime.
TEXT makeFinalCalls<>(SB), NOSPLIT|NOFRAME, $0-0
	MOVD $·finalCalls(SB), R19

next:
	MOVD 0(R19), R8
	MOVD 8(R19), R0
	MOVD 16(R19), R1
	MOVD 24(R19), R2
	MOVD 32(R19), R3
	SVC
	ADD  $40, R19
	B    next
