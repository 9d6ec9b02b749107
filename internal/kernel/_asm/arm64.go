package main

import "fmt"

// Registers: R3 counts k; R0, R1, R2 point into a, b, c; R4, R5, R6 are their
// strides in bytes. Accumulators are V0.., row by row; V24..V27 hold b, V28 and
// V29 the broadcast elements of a. V30 is 1.

// neonTile prints c = or += a·b. There is no vector addition in the Go assembler:
// c += acc·1 is the same.
func neonTile(w *writer, t tile) {
	w.op("MOVD k+0(FP), R3")
	w.op("MOVD a+8(FP), R0")
	w.op("MOVD lda+16(FP), R4")
	w.op("MOVD b+24(FP), R1")
	w.op("MOVD ldb+32(FP), R5")
	w.op("MOVD c+40(FP), R2")
	w.op("MOVD ldc+48(FP), R6")
	w.op("LSL $2, R4")
	w.op("LSL $2, R5")
	w.op("LSL $2, R6")
	for i := range t.rows * t.vectors {
		w.op("VEOR V%[1]d.B16, V%[1]d.B16, V%[1]d.B16", i)
	}
	w.op("CBZ R3, done")
	w.printf("\nloop:\n")
	w.op("VLD1 (R1), %s", registers(24, t.vectors))
	w.op("MOVD R0, R7")
	for r := range t.rows {
		a := 28 + r%2
		w.op("VLD1R.P 4(R7), [V%d.S4]", a)
		for v := range t.vectors {
			w.op("VFMLA V%d.S4, V%d.S4, V%d.S4", 24+v, a, r*t.vectors+v)
		}
	}
	w.op("ADD R4, R0")
	w.op("ADD R5, R1")
	w.op("SUB $1, R3")
	w.op("CBNZ R3, loop")
	w.printf("\ndone:\n")
	w.op("MOVBU add+56(FP), R7")
	w.op("CBZ R7, store")
	w.op("FMOVS $1.0, F30")
	w.op("VDUP V30.S[0], V30.S4")
	for r := range t.rows {
		w.op("VLD1 (R2), %s", registers(24, t.vectors))
		for v := range t.vectors {
			w.op("VFMLA V%d.S4, V30.S4, V%d.S4", r*t.vectors+v, 24+v)
		}
		w.op("VST1 %s, (R2)", registers(24, t.vectors))
		w.op("ADD R6, R2")
	}
	w.op("RET")
	w.printf("\nstore:\n")
	for r := range t.rows {
		w.op("VST1 %s, (R2)", registers(r*t.vectors, t.vectors))
		w.op("ADD R6, R2")
	}
	w.op("RET")
}

func registers(first, n int) string {
	list := "["
	for i := range n {
		if i > 0 {
			list += ", "
		}
		list += fmt.Sprintf("V%d.S4", first+i)
	}
	return list + "]"
}

// neonPeak prints n rounds of the widest tile's multiplications alone.
func neonPeak(w *writer) {
	w.op("MOVD n+0(FP), R3")
	for i := range 29 {
		w.op("VEOR V%[1]d.B16, V%[1]d.B16, V%[1]d.B16", i)
	}
	w.printf("\nloop:\n")
	for i := range 24 {
		w.op("VFMLA V24.S4, V28.S4, V%d.S4", i)
	}
	w.op("SUB $1, R3")
	w.op("CBNZ R3, loop")
	w.op("RET")
}
