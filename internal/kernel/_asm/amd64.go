package main

// Registers of tiles. Of the vectors, accumulators come first, row by row; those of b and the
// broadcast elements of a follow, see multiplier.
const (
	terms                        = "CX" // that are left
	termsAfter                   = "DI" // of the second round of the loop
	atA, atB, atC                = "AX", "BX", "DX"
	strideA, strideB, strideC    = "R8", "R9", "R10" // in bytes
	threeStridesA, threeStridesB = "R11", "R12"
	touched                      = "SI" // a row of c
)

func loadArguments(w *writer) {
	w.ins("MOVQ", "k+0(FP)", terms)
	w.ins("MOVQ", "a+8(FP)", atA)
	w.ins("MOVQ", "lda+16(FP)", strideA)
	w.ins("MOVQ", "b+24(FP)", atB)
	w.ins("MOVQ", "ldb+32(FP)", strideB)
	w.ins("MOVQ", "c+40(FP)", atC)
	w.ins("MOVQ", "ldc+48(FP)", strideC)
	w.ins("SHLQ", "$2", strideA)
	w.ins("SHLQ", "$2", strideB)
	w.ins("SHLQ", "$2", strideC)
}

// lastTerms is how many terms before its end a tile's loop fetches the lines of c: early
// enough for lines from far away, late enough that a and b, of which a longer loop
// reads more than the L1 cache holds, do not drive them out again.
const lastTerms = 48

// touchC fetches the lines of c.
func touchC(w *writer, t tile) {
	w.ins("MOVQ", atC, touched)
	for range t.rows {
		for line := 0; line < t.vectors*t.lanes*4; line += 64 {
			// PREFETCHW, which asks for lines that nobody else keeps.
			w.op("BYTE $0x0f; BYTE $0x0d; BYTE $0x4e; BYTE $%#02x", line)
		}
		w.ins("ADDQ", strideC, touched)
	}
}

// putInC adds the accumulators to c if the last argument says so, else it
// stores them there.
func putInC(w *writer, t tile, register string) {
	w.ins("CMPB", "add+56(FP)", "$0")
	w.op("JEQ  store")
	for r := range t.rows {
		for v := range t.vectors {
			acc := r*t.vectors + v
			w.ins("VADDPS", at(atC, v*t.lanes*4), numbered(register, acc), numbered(register, acc))
			w.ins("VMOVUPS", numbered(register, acc), at(atC, v*t.lanes*4))
		}
		if r < t.rows-1 {
			w.ins("ADDQ", strideC, atC)
		}
	}
	w.op("VZEROUPPER")
	w.op("RET")
	w.printf("\nstore:\n")
	for r := range t.rows {
		for v := range t.vectors {
			w.ins("VMOVUPS", numbered(register, r*t.vectors+v), at(atC, v*t.lanes*4))
		}
		if r < t.rows-1 {
			w.ins("ADDQ", strideC, atC)
		}
	}
	w.op("VZEROUPPER")
	w.op("RET")
}

// A multiplier prints the product of one row and a vector of b.
type multiplier struct {
	register string
	b, a     int // the first register of b's vectors and of a's broadcasts
	multiply func(w *writer, acc, a, b int)
	// fromMemory takes the row's element, index elements after atA, on the way; nil if
	// the instruction cannot.
	fromMemory func(w *writer, acc, b, index int)
	// unrolled is how many terms a round of the loop has: 0 or up to four, as many as
	// can be addressed without moving atA and atB.
	unrolled int
}

var (
	avx2FMA = multiplier{register: "Y", b: 12, a: 14, multiply: func(w *writer, acc, a, b int) {
		w.op("VFMADD231PS Y%d, Y%d, Y%d", b, a, acc)
	}, unrolled: 4}
	avx512FMA = multiplier{register: "Z", b: 28, a: 30, multiply: func(w *writer, acc, a, b int) {
		w.op("VFMADD231PS Z%d, Z%d, Z%d", b, a, acc)
	}, fromMemory: func(w *writer, acc, b, index int) {
		w.ins("VFMADD231PS.BCST", at(atA, 4*index), numbered("Z", b), numbered("Z", acc))
	}}
	avx512BF16 = multiplier{register: "Z", b: 28, a: 30, multiply: dotPairs, fromMemory: dotPairsBroadcast}
)

// Rows of a that are packed follow each other through all panels; the next ones
// may lie in the cache of another core, far away. So many bytes ahead they are
// fetched; not where rows are few and may not be packed.
const (
	ahead   = 2048
	fewRows = 4
)

// tile prints c = or += a·b. A row that meets one vector of b takes its element from
// memory; where it meets more, broadcasting it once is cheaper.
func (m multiplier) tile(w *writer, t tile) {
	loadArguments(w)
	for i := range t.rows * t.vectors {
		w.op("VXORPS %[1]s%[2]d, %[1]s%[2]d, %[1]s%[2]d", m.register, i)
	}
	if m.unrolled > 1 {
		w.ins("LEAQ", indexed(strideA, strideA, 2), threeStridesA)
		w.ins("LEAQ", indexed(strideB, strideB, 2), threeStridesB)
	}
	w.ins("MOVQ", terms, termsAfter)
	w.ins("SUBQ", number(lastTerms), terms)
	w.op("JG   terms") // the last terms are a second round
	w.ins("MOVQ", termsAfter, terms)
	w.printf("\ntouch:\n")
	w.ins("XORQ", termsAfter, termsAfter)
	touchC(w, t)
	w.printf("\nterms:\n")
	if m.unrolled > 1 {
		w.ins("SUBQ", number(m.unrolled), terms)
		w.op("JL   rest")
		w.printf("\nunrolled:\n")
		for i := range m.unrolled {
			m.term(w, t, i)
		}
		w.ins("LEAQ", indexed(atA, strideA, m.unrolled), atA)
		w.ins("LEAQ", indexed(atB, strideB, m.unrolled), atB)
		w.ins("SUBQ", number(m.unrolled), terms)
		w.op("JGE  unrolled")
		w.printf("\nrest:\n")
		w.ins("ADDQ", number(m.unrolled), terms)
	} else {
		w.ins("TESTQ", terms, terms)
	}
	w.op("JZ   next")
	w.printf("\nloop:\n")
	m.term(w, t, 0)
	w.ins("ADDQ", strideA, atA)
	w.ins("ADDQ", strideB, atB)
	w.ins("DECQ", terms)
	w.op("JNZ  loop")
	w.printf("\nnext:\n")
	w.ins("MOVL", number(lastTerms), terms)
	w.ins("TESTQ", termsAfter, termsAfter)
	w.op("JNZ  touch")
	putInC(w, t, m.register)
}

// term prints the multiplications of the term i after the one that atA and atB point to.
func (m multiplier) term(w *writer, t tile, i int) {
	a := []string{"(" + atA + ")", indexed(atA, strideA, 1), indexed(atA, strideA, 2), indexed(atA, threeStridesA, 1)}[i]
	b := []string{"(" + atB + ")", indexed(atB, strideB, 1), indexed(atB, strideB, 2), indexed(atB, threeStridesB, 1)}[i]
	for v := range t.vectors {
		w.op("VMOVUPS %d%s, %s%d", v*t.lanes*4, b, m.register, m.b+v)
	}
	if t.rows > fewRows && i%2 == 0 {
		w.op("PREFETCHT0 %d%s", ahead, a)
	}
	for r := range t.rows {
		if t.vectors == 1 && m.fromMemory != nil {
			m.fromMemory(w, r, m.b, r)
			continue
		}
		w.op("VBROADCASTSS %d%s, %s%d", 4*r, a, m.register, m.a+r%2)
		for v := range t.vectors {
			m.multiply(w, r*t.vectors+v, m.a+r%2, m.b+v)
		}
	}
}

// peak prints n rounds of the widest tile's multiplications alone.
func (m multiplier) peak(w *writer) {
	w.ins("MOVQ", "n+0(FP)", terms)
	for i := range m.a + 1 {
		w.op("VXORPS %[1]s%[2]d, %[1]s%[2]d, %[1]s%[2]d", m.register, i)
	}
	w.printf("\nloop:\n")
	for i := range m.b {
		m.multiply(w, i, m.a, m.b)
	}
	w.ins("DECQ", terms)
	w.op("JNZ  loop")
	w.op("VZEROUPPER")
	w.op("RET")
}
