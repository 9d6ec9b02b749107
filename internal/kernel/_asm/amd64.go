package main

// Registers: CX counts k; AX, BX, DX point into a, b, c; R8, R9, R10 are their
// strides in bytes. Accumulators come first, row by row; the vectors of b and
// the broadcast element of a follow.

func loadArguments(w *writer) {
	w.op("MOVQ k+0(FP), CX")
	w.op("MOVQ a+8(FP), AX")
	w.op("MOVQ lda+16(FP), R8")
	w.op("MOVQ b+24(FP), BX")
	w.op("MOVQ ldb+32(FP), R9")
	w.op("MOVQ c+40(FP), DX")
	w.op("MOVQ ldc+48(FP), R10")
	w.op("SHLQ $2, R8")
	w.op("SHLQ $2, R9")
	w.op("SHLQ $2, R10")
}

// touchC fetches the lines of c while the loop runs.
func touchC(w *writer, t tile) {
	w.op("MOVQ DX, SI")
	for range t.rows {
		for line := 0; line < t.vectors*t.lanes*4; line += 64 {
			w.op("PREFETCHT0 %d(SI)", line)
		}
		w.op("ADDQ R10, SI")
	}
}

// addToC adds the accumulators to c.
func addToC(w *writer, t tile, register string) {
	for r := range t.rows {
		for v := range t.vectors {
			acc, at := r*t.vectors+v, v*t.lanes*4
			w.op("VADDPS %d(DX), %s%d, %s%d", at, register, acc, register, acc)
			w.op("VMOVUPS %s%d, %d(DX)", register, acc, at)
		}
		if r < t.rows-1 {
			w.op("ADDQ R10, DX")
		}
	}
	w.op("VZEROUPPER")
	w.op("RET")
}

// emitFMA prints c += a·b with one broadcast of a for each row.
func emitFMA(w *writer, t tile, register string, b, a int) {
	loadArguments(w)
	touchC(w, t)
	for i := range t.rows * t.vectors {
		w.op("VXORPS %[1]s%[2]d, %[1]s%[2]d, %[1]s%[2]d", register, i)
	}
	w.op("TESTQ CX, CX")
	w.op("JZ   done")
	w.printf("\nloop:\n")
	for v := range t.vectors {
		w.op("VMOVUPS %d(BX), %s%d", v*t.lanes*4, register, b+v)
	}
	for r := range t.rows {
		w.op("VBROADCASTSS %d(AX), %s%d", 4*r, register, a+r%2)
		for v := range t.vectors {
			w.op("VFMADD231PS %[1]s%[2]d, %[1]s%[3]d, %[1]s%[4]d", register, b+v, a+r%2, r*t.vectors+v)
		}
	}
	w.op("ADDQ R8, AX")
	w.op("ADDQ R9, BX")
	w.op("DECQ CX")
	w.op("JNZ  loop")
	w.printf("\ndone:\n")
	addToC(w, t, register)
}

func emitAVX2(w *writer, t tile)   { emitFMA(w, t, "Y", 12, 14) }
func emitAVX512(w *writer, t tile) { emitFMA(w, t, "Z", 28, 30) }
