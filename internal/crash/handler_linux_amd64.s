#include "textflag.h"

// func handler() uintptr
TEXT ·handler(SB), NOSPLIT, $0-8
	LEAQ makeFinalCalls<>(SB), AX
	MOVQ AX, ret+0(FP)
	RET

// makeFinalCalls is a signal handler. It uses no stack and needs nothing of the runtime.
TEXT makeFinalCalls<>(SB), NOSPLIT|NOFRAME, $0-0
	LEAQ ·finalCalls(SB), BX

next:
	MOVQ 0(BX), AX
	MOVQ 8(BX), DI
	MOVQ 16(BX), SI
	MOVQ 24(BX), DX
	MOVQ 32(BX), R10
	SYSCALL
	ADDQ $40, BX
	JMP  next
