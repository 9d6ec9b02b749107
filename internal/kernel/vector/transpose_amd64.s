//go:build !purego

#include "textflag.h"

// Four columns at a time: register r takes four elements of the rows r, r+4, …
// into one 128-bit lane each, so that unpacking within lanes leaves a column
// of all rows in order in each register.

// func transposeAVX2(dst *float32, stride int, rows *[16]*float32, n int)
//
//	for k < n { for r < 8 { dst[k·stride+r] = rows[r][k] } }, n a multiple of 4
TEXT ·transposeAVX2(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ stride+8(FP), R8
	MOVQ rows+16(FP), SI
	MOVQ n+24(FP), CX
	SHLQ $2, R8
	LEAQ (R8)(R8*2), R9
	XORQ BX, BX
	SUBQ $4, CX
	JLT  done

loop:
	MOVQ        0(SI), AX
	MOVQ        8(SI), DX
	MOVQ        16(SI), R10
	MOVQ        24(SI), R11
	VMOVUPS     (AX)(BX*4), X0
	VMOVUPS     (DX)(BX*4), X1
	VMOVUPS     (R10)(BX*4), X2
	VMOVUPS     (R11)(BX*4), X3
	MOVQ        32(SI), AX
	MOVQ        40(SI), DX
	MOVQ        48(SI), R10
	MOVQ        56(SI), R11
	VINSERTF128 $1, (AX)(BX*4), Y0, Y0
	VINSERTF128 $1, (DX)(BX*4), Y1, Y1
	VINSERTF128 $1, (R10)(BX*4), Y2, Y2
	VINSERTF128 $1, (R11)(BX*4), Y3, Y3
	VUNPCKLPS   Y1, Y0, Y4
	VUNPCKHPS   Y1, Y0, Y5
	VUNPCKLPS   Y3, Y2, Y6
	VUNPCKHPS   Y3, Y2, Y7
	VUNPCKLPD   Y6, Y4, Y0
	VUNPCKHPD   Y6, Y4, Y1
	VUNPCKLPD   Y7, Y5, Y2
	VUNPCKHPD   Y7, Y5, Y3
	VMOVUPS     Y0, (DI)
	VMOVUPS     Y1, (DI)(R8*1)
	VMOVUPS     Y2, (DI)(R8*2)
	VMOVUPS     Y3, (DI)(R9*1)
	LEAQ        (DI)(R8*4), DI
	ADDQ        $4, BX
	SUBQ        $4, CX
	JGE         loop

done:
	VZEROUPPER
	RET

// func transposeAVX512(dst *float32, stride int, rows *[16]*float32, n int)
//
//	for k < n { for r < 16 { dst[k·stride+r] = rows[r][k] } }, n a multiple of 4
TEXT ·transposeAVX512(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ stride+8(FP), R8
	MOVQ rows+16(FP), SI
	MOVQ n+24(FP), CX
	SHLQ $2, R8
	LEAQ (R8)(R8*2), R9
	XORQ BX, BX
	SUBQ $4, CX
	JLT  done

loop:
	MOVQ         0(SI), AX
	MOVQ         8(SI), DX
	MOVQ         16(SI), R10
	MOVQ         24(SI), R11
	VMOVUPS      (AX)(BX*4), X0
	VMOVUPS      (DX)(BX*4), X1
	VMOVUPS      (R10)(BX*4), X2
	VMOVUPS      (R11)(BX*4), X3
	MOVQ         32(SI), AX
	MOVQ         40(SI), DX
	MOVQ         48(SI), R10
	MOVQ         56(SI), R11
	VINSERTF32X4 $1, (AX)(BX*4), Z0, Z0
	VINSERTF32X4 $1, (DX)(BX*4), Z1, Z1
	VINSERTF32X4 $1, (R10)(BX*4), Z2, Z2
	VINSERTF32X4 $1, (R11)(BX*4), Z3, Z3
	MOVQ         64(SI), AX
	MOVQ         72(SI), DX
	MOVQ         80(SI), R10
	MOVQ         88(SI), R11
	VINSERTF32X4 $2, (AX)(BX*4), Z0, Z0
	VINSERTF32X4 $2, (DX)(BX*4), Z1, Z1
	VINSERTF32X4 $2, (R10)(BX*4), Z2, Z2
	VINSERTF32X4 $2, (R11)(BX*4), Z3, Z3
	MOVQ         96(SI), AX
	MOVQ         104(SI), DX
	MOVQ         112(SI), R10
	MOVQ         120(SI), R11
	VINSERTF32X4 $3, (AX)(BX*4), Z0, Z0
	VINSERTF32X4 $3, (DX)(BX*4), Z1, Z1
	VINSERTF32X4 $3, (R10)(BX*4), Z2, Z2
	VINSERTF32X4 $3, (R11)(BX*4), Z3, Z3
	VUNPCKLPS    Z1, Z0, Z4
	VUNPCKHPS    Z1, Z0, Z5
	VUNPCKLPS    Z3, Z2, Z6
	VUNPCKHPS    Z3, Z2, Z7
	VUNPCKLPD    Z6, Z4, Z0
	VUNPCKHPD    Z6, Z4, Z1
	VUNPCKLPD    Z7, Z5, Z2
	VUNPCKHPD    Z7, Z5, Z3
	VMOVUPS      Z0, (DI)
	VMOVUPS      Z1, (DI)(R8*1)
	VMOVUPS      Z2, (DI)(R8*2)
	VMOVUPS      Z3, (DI)(R9*1)
	LEAQ         (DI)(R8*4), DI
	ADDQ         $4, BX
	SUBQ         $4, CX
	JGE          loop

done:
	VZEROUPPER
	RET
