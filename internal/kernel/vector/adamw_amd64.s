//go:build !purego

#include "textflag.h"
#include "go_asm.h"

// Registers: 7 to 15 hold the numbers of the step in their order in the struct; 0 is the gradient, 1 and 3
// the means, 5 the weight.

// func adamWAVX2(s *AdamWStep, w, grad, m, v *float32, n int)
//
//	for i < n { as AdamWStep.Apply }, n a multiple of 8
TEXT ·adamWAVX2(SB), NOSPLIT, $0-48
	MOVQ s+0(FP), SI
	MOVQ w+8(FP), DI
	MOVQ grad+16(FP), AX
	MOVQ m+24(FP), BX
	MOVQ v+32(FP), DX
	MOVQ n+40(FP), CX
	VBROADCASTSD AdamWStep_GradScale(SI), Y7
	VBROADCASTSD AdamWStep_Beta1(SI), Y8
	VBROADCASTSD AdamWStep_Beta2(SI), Y9
	VBROADCASTSD AdamWStep_Rest1(SI), Y10
	VBROADCASTSD AdamWStep_Rest2(SI), Y11
	VBROADCASTSD AdamWStep_Keep(SI), Y12
	VBROADCASTSD AdamWStep_Rate(SI), Y13
	VBROADCASTSD AdamWStep_RootScale(SI), Y14
	VBROADCASTSD AdamWStep_Epsilon(SI), Y15
	SUBQ $8, CX
	JLT  done

loop:
	VCVTPS2PD (AX), Y0
	VMULPD    Y7, Y0, Y0
	VCVTPS2PD (BX), Y1
	VMULPD    Y8, Y1, Y1
	VMULPD    Y0, Y10, Y2
	VADDPD    Y2, Y1, Y1
	VCVTPS2PD (DX), Y3
	VMULPD    Y9, Y3, Y3
	VMULPD    Y0, Y11, Y2
	VMULPD    Y0, Y2, Y2
	VADDPD    Y2, Y3, Y3
	VCVTPD2PSY Y1, X4
	VMOVUPS   X4, (BX)
	VCVTPD2PSY Y3, X4
	VMOVUPS   X4, (DX)
	VSQRTPD   Y3, Y3
	VMULPD    Y14, Y3, Y3
	VADDPD    Y15, Y3, Y3
	VMULPD    Y1, Y13, Y1
	VDIVPD    Y3, Y1, Y1
	VCVTPS2PD (DI), Y5
	VMULPD    Y12, Y5, Y5
	VSUBPD    Y1, Y5, Y5
	VCVTPD2PSY Y5, X4
	VMOVUPS   X4, (DI)
	VCVTPS2PD 16(AX), Y0
	VMULPD    Y7, Y0, Y0
	VCVTPS2PD 16(BX), Y1
	VMULPD    Y8, Y1, Y1
	VMULPD    Y0, Y10, Y2
	VADDPD    Y2, Y1, Y1
	VCVTPS2PD 16(DX), Y3
	VMULPD    Y9, Y3, Y3
	VMULPD    Y0, Y11, Y2
	VMULPD    Y0, Y2, Y2
	VADDPD    Y2, Y3, Y3
	VCVTPD2PSY Y1, X4
	VMOVUPS   X4, 16(BX)
	VCVTPD2PSY Y3, X4
	VMOVUPS   X4, 16(DX)
	VSQRTPD   Y3, Y3
	VMULPD    Y14, Y3, Y3
	VADDPD    Y15, Y3, Y3
	VMULPD    Y1, Y13, Y1
	VDIVPD    Y3, Y1, Y1
	VCVTPS2PD 16(DI), Y5
	VMULPD    Y12, Y5, Y5
	VSUBPD    Y1, Y5, Y5
	VCVTPD2PSY Y5, X4
	VMOVUPS   X4, 16(DI)
	ADDQ $32, AX
	ADDQ $32, BX
	ADDQ $32, DX
	ADDQ $32, DI
	SUBQ $8, CX
	JGE  loop

done:
	VZEROUPPER
	RET

// func adamWAVX512(s *AdamWStep, w, grad, m, v *float32, n int)
//
//	for i < n { as AdamWStep.Apply }, n a multiple of 8
TEXT ·adamWAVX512(SB), NOSPLIT, $0-48
	MOVQ s+0(FP), SI
	MOVQ w+8(FP), DI
	MOVQ grad+16(FP), AX
	MOVQ m+24(FP), BX
	MOVQ v+32(FP), DX
	MOVQ n+40(FP), CX
	VBROADCASTSD AdamWStep_GradScale(SI), Z7
	VBROADCASTSD AdamWStep_Beta1(SI), Z8
	VBROADCASTSD AdamWStep_Beta2(SI), Z9
	VBROADCASTSD AdamWStep_Rest1(SI), Z10
	VBROADCASTSD AdamWStep_Rest2(SI), Z11
	VBROADCASTSD AdamWStep_Keep(SI), Z12
	VBROADCASTSD AdamWStep_Rate(SI), Z13
	VBROADCASTSD AdamWStep_RootScale(SI), Z14
	VBROADCASTSD AdamWStep_Epsilon(SI), Z15
	SUBQ $8, CX
	JLT  done

loop:
	VCVTPS2PD (AX), Z0
	VMULPD    Z7, Z0, Z0
	VCVTPS2PD (BX), Z1
	VMULPD    Z8, Z1, Z1
	VMULPD    Z0, Z10, Z2
	VADDPD    Z2, Z1, Z1
	VCVTPS2PD (DX), Z3
	VMULPD    Z9, Z3, Z3
	VMULPD    Z0, Z11, Z2
	VMULPD    Z0, Z2, Z2
	VADDPD    Z2, Z3, Z3
	VCVTPD2PS Z1, Y4
	VMOVUPS   Y4, (BX)
	VCVTPD2PS Z3, Y4
	VMOVUPS   Y4, (DX)
	VSQRTPD   Z3, Z3
	VMULPD    Z14, Z3, Z3
	VADDPD    Z15, Z3, Z3
	VMULPD    Z1, Z13, Z1
	VDIVPD    Z3, Z1, Z1
	VCVTPS2PD (DI), Z5
	VMULPD    Z12, Z5, Z5
	VSUBPD    Z1, Z5, Z5
	VCVTPD2PS Z5, Y4
	VMOVUPS   Y4, (DI)
	ADDQ $32, AX
	ADDQ $32, BX
	ADDQ $32, DX
	ADDQ $32, DI
	SUBQ $8, CX
	JGE  loop

done:
	VZEROUPPER
	RET
