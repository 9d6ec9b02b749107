package main

import "qtool/internal/ggml"

// The encoders of Q1_0, whose scale is the mean size. Sizes are added up in order, so those of
// a batch's 16 blocks are side by side. Vectors have 256 bits, as in ternary.go.
const (
	stackRow       = stackBytes // where each block of the batch begins
	signStackBytes = stackBytes + 8*16
)

var signBlocks = blocksOf(ggml.Q1_0)

// Vectors: the sums, and constants.
const signSums, signLeast, signMagnitude, signUp, signBits = 4, 10, 11, 12, 15

// A signWriter prints the encoder from float16, or from float32.
type signWriter struct {
	*batchWriter
	words bool
}

func (s *signWriter) fromFloats() {
	s.encodeWriter.begin(signBlocks.name, "blocks", signStackBytes)
	s.constant(1<<31-1, signMagnitude)
	s.constant(0, signLeast)
	s.batches(4*signBlocks.elements, signBlocks.bytes, nil, func() { s.scales(4 * signBlocks.elements) }, func() {
		s.store(stackScale, 0)
		for i := range signBlocks.elements / 8 {
			s.op("VCMPPS $%d, %d(R11), Y%d, Y0", atMost, 32*i, signLeast)
			s.op("VMOVMSKPS Y0, AX")
			s.op("MOVB AX, %d(DI)", 2+i)
		}
	})
	s.encodeWriter.end()
}

func (s *signWriter) fromWords() {
	s.begin(signBlocks.name, "blocks", signStackBytes)
	s.constant(0x7fff<<13, signMagnitude)
	s.float(0x1p112, signUp)
	s.constant(0x80008000, signBits)
	s.constant(0x00010001, signLeast)
	s.batches(2*signBlocks.elements, signBlocks.bytes, nil, func() { s.scales(2 * signBlocks.elements) }, func() {
		s.store(stackScale, 0)
		for at := 0; at < signBlocks.elements; at += 32 {
			for i := range 2 {
				s.op("VPXOR %d(R11), Y%d, Y%d", 2*at+32*i, signBits, i)
				s.op("VPANDN Y%d, Y%d, Y2", batchMask, i)
				s.op("VPMINUW Y2, Y%[1]d, Y%[1]d", batchLeast)
				s.op("VPCMPGTW Y%d, Y%d, Y%[1]d // not below 0, of either sign", i, signLeast)
			}
			s.op("VPACKSSWB Y1, Y0, Y0")
			s.op("VPERMQ $0xd8, Y0, Y0")
			s.op("VPMOVMSKB Y0, AX")
			s.op("MOVL AX, %d(DI)", 2+at/8)
		}
	})
	s.fold("VPMINUW", batchLeast)
	s.end()
}

// scales keeps the scales of a batch, whose blocks have so many bytes. In the places of blocks
// that it lacks it has its last one.
func (s *signWriter) scales(size int) {
	s.op("MOVQ SI, AX")
	for i := range 16 {
		s.op("MOVQ AX, %d(SP)", stackRow+8*i)
		s.op("LEAQ %d(AX), BX", size)
		s.op("CMPQ R9, $%d", i+1)
		s.op("CMOVQGT BX, AX")
	}
	for i := range 2 {
		s.op("VXORPS Y%[1]d, Y%[1]d, Y%[1]d", signSums+i)
	}
	s.op("XORL R11, R11")
	s.printf("\nsums:\n")
	for i := range 2 {
		s.columns(8 * i)
		for column := range 4 {
			s.add(column, signSums+i)
		}
	}
	s.op("ADDQ $16, R11")
	s.op("CMPQ R11, $%d", size)
	s.op("JLT sums")
	s.float(1/float32(signBlocks.elements), 0)
	for i := range 2 {
		s.op("VMULPS Y0, Y%[1]d, Y%[1]d", signSums+i)
		s.op("VCVTPS2PH $0, Y%d, %d(SP)", signSums+i, stackScale+16*i)
	}
}

// columns puts 4 bytes at R11 of each of 8 blocks, from the first on, into Y0, the next ones into
// Y1, Y2 and Y3.
func (s *signWriter) columns(first int) {
	for i := range 4 {
		s.op("MOVQ %d(SP), AX", stackRow+8*(first+i))
		s.op("MOVQ %d(SP), BX", stackRow+8*(first+i+4))
		s.op("VMOVUPS (AX)(R11*1), X%d", i)
		s.op("VINSERTF128 $1, (BX)(R11*1), Y%[1]d, Y%[1]d", i)
	}
	s.op("VUNPCKLPS Y1, Y0, Y6")
	s.op("VUNPCKHPS Y1, Y0, Y7")
	s.op("VUNPCKLPS Y3, Y2, Y8")
	s.op("VUNPCKHPS Y3, Y2, Y9")
	s.op("VUNPCKLPD Y8, Y6, Y0")
	s.op("VUNPCKHPD Y8, Y6, Y1")
	s.op("VUNPCKLPD Y9, Y7, Y2")
	s.op("VUNPCKHPD Y9, Y7, Y3")
}

// add adds the sizes of a float32, or of two float16, in each lane. The bits of a float16 without its
// sign, where a float32 has them, are 2^-112 times its size.
func (s *signWriter) add(column, sum int) {
	if !s.words {
		s.op("VANDPS Y%d, Y%[2]d, Y%[2]d", signMagnitude, column)
		s.op("VADDPS Y%d, Y%[2]d, Y%[2]d", column, sum)
		return
	}
	for _, move := range []string{"VPSLLD $13", "VPSRLD $3"} {
		s.op("%s, Y%d, Y6", move, column)
		s.op("VPAND Y%d, Y6, Y6", signMagnitude)
		s.op("VFMADD231PS Y%d, Y6, Y%d", signUp, sum)
	}
}
