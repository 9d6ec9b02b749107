//go:build !purego

#include "textflag.h"

// Sums of lanes: Dot ends with ((0+1)+(2+3)) of its four accumulators, then
// halves the vector until one lane is left.

// func dotAVX2(a, b *float32, n int) float32
//
//	for i < n { lane[i%32] += a[i]·b[i] } over whole eights, then one by one
TEXT ·dotAVX2(SB), NOSPLIT, $0-28
	MOVQ   a+0(FP), AX
	MOVQ   b+8(FP), BX
	MOVQ   n+16(FP), CX
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	SUBQ   $32, CX
	JLT    eights

four:
	VMOVUPS     (AX), Y4
	VMOVUPS     32(AX), Y5
	VMOVUPS     64(AX), Y6
	VMOVUPS     96(AX), Y7
	VFMADD231PS (BX), Y4, Y0
	VFMADD231PS 32(BX), Y5, Y1
	VFMADD231PS 64(BX), Y6, Y2
	VFMADD231PS 96(BX), Y7, Y3
	ADDQ        $128, AX
	ADDQ        $128, BX
	SUBQ        $32, CX
	JGE         four

eights:
	ADDQ $24, CX
	JLT  fold

eight:
	VMOVUPS     (AX), Y4
	VFMADD231PS (BX), Y4, Y0
	ADDQ        $32, AX
	ADDQ        $32, BX
	SUBQ        $8, CX
	JGE         eight

fold:
	VADDPS       Y1, Y0, Y0
	VADDPS       Y3, Y2, Y2
	VADDPS       Y2, Y0, Y0
	VEXTRACTF128 $1, Y0, X1
	VADDPS       X1, X0, X0
	VMOVHLPS     X0, X0, X1
	VADDPS       X1, X0, X0
	VMOVSHDUP    X0, X1
	VADDSS       X1, X0, X0
	ADDQ         $8, CX
	JZ           done

one:
	VMOVSS      (AX), X4
	VFMADD231SS (BX), X4, X0
	ADDQ        $4, AX
	ADDQ        $4, BX
	DECQ        CX
	JNZ         one

done:
	VMOVSS X0, ret+24(FP)
	VZEROUPPER
	RET

// func dotAVX512(a, b *float32, n int) float32
//
//	for i < n { lane[i%64] += a[i]·b[i] } over whole 16s, then the rest in lanes 0..
TEXT ·dotAVX512(SB), NOSPLIT, $0-28
	MOVQ   a+0(FP), AX
	MOVQ   b+8(FP), BX
	MOVQ   n+16(FP), CX
	VPXORD Z0, Z0, Z0
	VPXORD Z1, Z1, Z1
	VPXORD Z2, Z2, Z2
	VPXORD Z3, Z3, Z3
	SUBQ   $64, CX
	JLT    sixteens

four:
	VMOVUPS     (AX), Z4
	VMOVUPS     64(AX), Z5
	VMOVUPS     128(AX), Z6
	VMOVUPS     192(AX), Z7
	VFMADD231PS (BX), Z4, Z0
	VFMADD231PS 64(BX), Z5, Z1
	VFMADD231PS 128(BX), Z6, Z2
	VFMADD231PS 192(BX), Z7, Z3
	ADDQ        $256, AX
	ADDQ        $256, BX
	SUBQ        $64, CX
	JGE         four

sixteens:
	ADDQ $48, CX
	JLT  rest

sixteen:
	VMOVUPS     (AX), Z4
	VFMADD231PS (BX), Z4, Z0
	ADDQ        $64, AX
	ADDQ        $64, BX
	SUBQ        $16, CX
	JGE         sixteen

rest:
	ADDQ        $16, CX
	JZ          fold
	MOVL        $1, DX
	SHLL        CX, DX
	DECL        DX
	KMOVW       DX, K1
	VMOVUPS.Z   (AX), K1, Z4
	VMOVUPS.Z   (BX), K1, Z5
	VFMADD231PS Z5, Z4, K1, Z0

fold:
	VADDPS        Z1, Z0, Z0
	VADDPS        Z3, Z2, Z2
	VADDPS        Z2, Z0, Z0
	VEXTRACTF64X4 $1, Z0, Y1
	VADDPS        Y1, Y0, Y0
	VEXTRACTF128  $1, Y0, X1
	VADDPS        X1, X0, X0
	VMOVHLPS      X0, X0, X1
	VADDPS        X1, X0, X0
	VMOVSHDUP     X0, X1
	VADDSS        X1, X0, X0
	VMOVSS        X0, ret+24(FP)
	VZEROUPPER
	RET

// func axpyAVX2(y *float32, a float32, x *float32, n int)
//
//	for i < n { y[i] = fma(a, x[i], y[i]) }
TEXT ·axpyAVX2(SB), NOSPLIT, $0-32
	MOVQ         y+0(FP), DX
	VBROADCASTSS a+8(FP), Y0
	MOVQ         x+16(FP), AX
	MOVQ         n+24(FP), CX
	SUBQ         $32, CX
	JLT          eights

four:
	VMOVUPS     (DX), Y1
	VMOVUPS     32(DX), Y2
	VMOVUPS     64(DX), Y3
	VMOVUPS     96(DX), Y4
	VFMADD231PS (AX), Y0, Y1
	VFMADD231PS 32(AX), Y0, Y2
	VFMADD231PS 64(AX), Y0, Y3
	VFMADD231PS 96(AX), Y0, Y4
	VMOVUPS     Y1, (DX)
	VMOVUPS     Y2, 32(DX)
	VMOVUPS     Y3, 64(DX)
	VMOVUPS     Y4, 96(DX)
	ADDQ        $128, AX
	ADDQ        $128, DX
	SUBQ        $32, CX
	JGE         four

eights:
	ADDQ $24, CX
	JLT  rest

eight:
	VMOVUPS     (DX), Y1
	VFMADD231PS (AX), Y0, Y1
	VMOVUPS     Y1, (DX)
	ADDQ        $32, AX
	ADDQ        $32, DX
	SUBQ        $8, CX
	JGE         eight

rest:
	ADDQ $8, CX
	JZ   done

one:
	VMOVSS      (DX), X1
	VFMADD231SS (AX), X0, X1
	VMOVSS      X1, (DX)
	ADDQ        $4, AX
	ADDQ        $4, DX
	DECQ        CX
	JNZ         one

done:
	VZEROUPPER
	RET

// func axpyAVX512(y *float32, a float32, x *float32, n int)
//
//	for i < n { y[i] = fma(a, x[i], y[i]) }
TEXT ·axpyAVX512(SB), NOSPLIT, $0-32
	MOVQ         y+0(FP), DX
	VBROADCASTSS a+8(FP), Z0
	MOVQ         x+16(FP), AX
	MOVQ         n+24(FP), CX
	SUBQ         $64, CX
	JLT          sixteens

four:
	VMOVUPS     (DX), Z1
	VMOVUPS     64(DX), Z2
	VMOVUPS     128(DX), Z3
	VMOVUPS     192(DX), Z4
	VFMADD231PS (AX), Z0, Z1
	VFMADD231PS 64(AX), Z0, Z2
	VFMADD231PS 128(AX), Z0, Z3
	VFMADD231PS 192(AX), Z0, Z4
	VMOVUPS     Z1, (DX)
	VMOVUPS     Z2, 64(DX)
	VMOVUPS     Z3, 128(DX)
	VMOVUPS     Z4, 192(DX)
	ADDQ        $256, AX
	ADDQ        $256, DX
	SUBQ        $64, CX
	JGE         four

sixteens:
	ADDQ $48, CX
	JLT  rest

sixteen:
	VMOVUPS     (DX), Z1
	VFMADD231PS (AX), Z0, Z1
	VMOVUPS     Z1, (DX)
	ADDQ        $64, AX
	ADDQ        $64, DX
	SUBQ        $16, CX
	JGE         sixteen

rest:
	ADDQ        $16, CX
	JZ          done
	MOVL        $1, BX
	SHLL        CX, BX
	DECL        BX
	KMOVW       BX, K1
	VMOVUPS.Z   (DX), K1, Z1
	VMOVUPS.Z   (AX), K1, Z2
	VFMADD231PS Z2, Z0, Z1
	VMOVUPS     Z1, K1, (DX)

done:
	VZEROUPPER
	RET
