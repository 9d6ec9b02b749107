#include "textflag.h"

// The calls that makeFinalCalls makes: a handler is given nothing that could tell it.
GLOBL calls<>(SB), NOPTR, $8

// func handler(first *systemCall) uintptr
TEXT ·handler(SB), NOSPLIT, $0-16
	MOVQ first+0(FP), AX
	MOVQ AX, calls<>(SB)
	LEAQ makeFinalCalls<>(SB), AX
	MOVQ AX, ret+8(FP)
	RET

// makeFinalCalls uses no stack and needs nothing of the runtime.
TEXT makeFinalCalls<>(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ calls<>(SB), BX

next:
	MOVQ 0(BX), AX
	MOVQ 8(BX), DI
	MOVQ 16(BX), SI
	MOVQ 24(BX), DX
	MOVQ 32(BX), R10
	SYSCALL
	ADDQ $40, BX
	JMP  next
