package main

import "fmt"

// Registers of tiles. Of the vectors, accumulators come first, row by row.
const (
	neonTerms                             = "R3" // that are left
	neonA, neonB, neonC                   = "R0", "R1", "R2"
	neonStrideA, neonStrideB, neonStrideC = "R4", "R5", "R6" // in bytes
	neonElement                           = "R7"             // an element of a's row; later, whether to add

	neonVectorsB  = 24 // and the three that follow
	neonBroadcast = 28 // of elements of a, and the one that follows
	neonOne       = 30
)

// neonTile prints c = or += a·b. There is no vector addition in the Go assembler:
// c += acc·1 is the same.
func neonTile(w *writer, t tile) {
	w.ins("MOVD", "k+0(FP)", neonTerms)
	w.ins("MOVD", "a+8(FP)", neonA)
	w.ins("MOVD", "lda+16(FP)", neonStrideA)
	w.ins("MOVD", "b+24(FP)", neonB)
	w.ins("MOVD", "ldb+32(FP)", neonStrideB)
	w.ins("MOVD", "c+40(FP)", neonC)
	w.ins("MOVD", "ldc+48(FP)", neonStrideC)
	w.ins("LSL", "$2", neonStrideA)
	w.ins("LSL", "$2", neonStrideB)
	w.ins("LSL", "$2", neonStrideC)
	for i := range t.rows * t.vectors {
		w.op("VEOR V%[1]d.B16, V%[1]d.B16, V%[1]d.B16", i)
	}
	w.ins("CBZ", neonTerms, "done")
	w.printf("\nloop:\n")
	w.ins("VLD1", "("+neonB+")", registers(neonVectorsB, t.vectors))
	w.ins("MOVD", neonA, neonElement)
	for r := range t.rows {
		a := neonBroadcast + r%2
		w.ins("VLD1R.P", at(neonElement, 4), registers(a, 1))
		for v := range t.vectors {
			w.op("VFMLA V%d.S4, V%d.S4, V%d.S4", neonVectorsB+v, a, r*t.vectors+v)
		}
	}
	w.ins("ADD", neonStrideA, neonA)
	w.ins("ADD", neonStrideB, neonB)
	w.ins("SUB", "$1", neonTerms)
	w.ins("CBNZ", neonTerms, "loop")
	w.printf("\ndone:\n")
	w.ins("MOVBU", "add+56(FP)", neonElement)
	w.ins("CBZ", neonElement, "store")
	w.ins("FMOVS", "$1.0", numbered("F", neonOne))
	w.op("VDUP V%[1]d.S[0], V%[1]d.S4", neonOne)
	for r := range t.rows {
		w.ins("VLD1", "("+neonC+")", registers(neonVectorsB, t.vectors))
		for v := range t.vectors {
			w.op("VFMLA V%d.S4, V%d.S4, V%d.S4", r*t.vectors+v, neonOne, neonVectorsB+v)
		}
		w.ins("VST1", registers(neonVectorsB, t.vectors), "("+neonC+")")
		w.ins("ADD", neonStrideC, neonC)
	}
	w.op("RET")
	w.printf("\nstore:\n")
	for r := range t.rows {
		w.ins("VST1", registers(r*t.vectors, t.vectors), "("+neonC+")")
		w.ins("ADD", neonStrideC, neonC)
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
	w.ins("MOVD", "n+0(FP)", neonTerms)
	for i := range 29 {
		w.op("VEOR V%[1]d.B16, V%[1]d.B16, V%[1]d.B16", i)
	}
	w.printf("\nloop:\n")
	for i := range 24 {
		w.op("VFMLA V24.S4, V28.S4, V%d.S4", i)
	}
	w.ins("SUB", "$1", neonTerms)
	w.ins("CBNZ", neonTerms, "loop")
	w.op("RET")
}
