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

// lastTerms is how many terms before its end a tile's loop fetches the lines of c: early
// enough for lines from far away, late enough that a and b, of which a longer loop
// reads more than the L1 cache holds, do not drive them out again.
const lastTerms = 48

// touchC fetches the lines of c.
func touchC(w *writer, t tile) {
	w.op("MOVQ DX, SI")
	for range t.rows {
		for line := 0; line < t.vectors*t.lanes*4; line += 64 {
			// PREFETCHW, which asks for lines that nobody else keeps.
			w.op("BYTE $0x0f; BYTE $0x0d; BYTE $0x4e; BYTE $%#02x", line)
		}
		w.op("ADDQ R10, SI")
	}
}

// putInC adds the accumulators to c if the last argument says so, else it
// stores them there.
func putInC(w *writer, t tile, register string) {
	w.op("CMPB add+56(FP), $0")
	w.op("JEQ  store")
	for r := range t.rows {
		for v := range t.vectors {
			acc := r*t.vectors + v
			w.op("VADDPS %d(DX), %s%d, %s%d", v*t.lanes*4, register, acc, register, acc)
			w.op("VMOVUPS %s%d, %d(DX)", register, acc, v*t.lanes*4)
		}
		if r < t.rows-1 {
			w.op("ADDQ R10, DX")
		}
	}
	w.op("VZEROUPPER")
	w.op("RET")
	w.printf("\nstore:\n")
	for r := range t.rows {
		for v := range t.vectors {
			w.op("VMOVUPS %s%d, %d(DX)", register, r*t.vectors+v, v*t.lanes*4)
		}
		if r < t.rows-1 {
			w.op("ADDQ R10, DX")
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
	// fromMemory takes the row's element, at 4·index(AX), on the way; nil if
	// the instruction cannot.
	fromMemory func(w *writer, acc, b, index int)
	// unrolled is how many terms a round of the loop has: 0 or up to four, as many as
	// can be addressed without moving AX and BX.
	unrolled int
}

var (
	avx2FMA = multiplier{register: "Y", b: 12, a: 14, multiply: func(w *writer, acc, a, b int) {
		w.op("VFMADD231PS Y%d, Y%d, Y%d", b, a, acc)
	}, unrolled: 4}
	avx512FMA = multiplier{register: "Z", b: 28, a: 30, multiply: func(w *writer, acc, a, b int) {
		w.op("VFMADD231PS Z%d, Z%d, Z%d", b, a, acc)
	}, fromMemory: func(w *writer, acc, b, index int) {
		w.op("VFMADD231PS.BCST %d(AX), Z%d, Z%d", 4*index, b, acc)
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
		w.op("LEAQ (R8)(R8*2), R11")
		w.op("LEAQ (R9)(R9*2), R12")
	}
	w.op("MOVQ CX, DI")
	w.op("SUBQ $%d, CX", lastTerms)
	w.op("JG   terms") // the last terms are a second round
	w.op("MOVQ DI, CX")
	w.printf("\ntouch:\n")
	w.op("XORQ DI, DI")
	touchC(w, t)
	w.printf("\nterms:\n")
	if m.unrolled > 1 {
		w.op("SUBQ $%d, CX", m.unrolled)
		w.op("JL   rest")
		w.printf("\nunrolled:\n")
		for i := range m.unrolled {
			m.term(w, t, i)
		}
		w.op("LEAQ (AX)(R8*%d), AX", m.unrolled)
		w.op("LEAQ (BX)(R9*%d), BX", m.unrolled)
		w.op("SUBQ $%d, CX", m.unrolled)
		w.op("JGE  unrolled")
		w.printf("\nrest:\n")
		w.op("ADDQ $%d, CX", m.unrolled)
	} else {
		w.op("TESTQ CX, CX")
	}
	w.op("JZ   next")
	w.printf("\nloop:\n")
	m.term(w, t, 0)
	w.op("ADDQ R8, AX")
	w.op("ADDQ R9, BX")
	w.op("DECQ CX")
	w.op("JNZ  loop")
	w.printf("\nnext:\n")
	w.op("MOVL $%d, CX", lastTerms)
	w.op("TESTQ DI, DI")
	w.op("JNZ  touch")
	putInC(w, t, m.register)
}

// term prints the multiplications of the term i after the one that AX and BX point to.
func (m multiplier) term(w *writer, t tile, i int) {
	// R11 and R12 are three times the strides.
	a := []string{"(AX)", "(AX)(R8*1)", "(AX)(R8*2)", "(AX)(R11*1)"}[i]
	b := []string{"(BX)", "(BX)(R9*1)", "(BX)(R9*2)", "(BX)(R12*1)"}[i]
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
	w.op("MOVQ n+0(FP), CX")
	for i := range m.a + 1 {
		w.op("VXORPS %[1]s%[2]d, %[1]s%[2]d, %[1]s%[2]d", m.register, i)
	}
	w.printf("\nloop:\n")
	for i := range m.b {
		m.multiply(w, i, m.a, m.b)
	}
	w.op("DECQ CX")
	w.op("JNZ  loop")
	w.op("VZEROUPPER")
	w.op("RET")
}
