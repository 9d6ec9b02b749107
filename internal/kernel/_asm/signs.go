package main

import "qtool/internal/ggml"

// The encoders of Q1_0, whose scale is the mean size. Sizes are added up in order, so those of
// a batch's 16 blocks are side by side. Vectors have 256 bits, as in ternary.go.
const (
	stackRow       = stackBytes // where each block of the batch begins
	signStackBytes = stackBytes + 8*16
)

var signBlocks = blocksOf(ggml.Q1_0)

// Vector registers of signs.
const (
	signX       = 0 // elements at hand
	signColumns = 0 // to 3: of 8 blocks, the elements of each in a lane
	signSums    = 4 // and 5
	signSpare   = 6 // to 9

	signLeast     = 10 // elements that are not negative are not less than it
	signMagnitude = 11 // the bits of a magnitude
	signUp        = 12 // the factor of sizes that are moved float16
	signBits      = 15
)

// Registers of the means.
const (
	signRow, signOtherRow = scratch, "BX" // where blocks begin
	signColumn            = batchAt       // bytes from there
)

// A signWriter prints the encoder.
type signWriter struct {
	*batchWriter
	words bool // from float16, else from float32
}

func (s *signWriter) fromFloats() {
	s.encodeWriter.begin(signBlocks.name, "blocks", signStackBytes)
	s.constant(1<<31-1, signMagnitude)
	s.constant(0, signLeast)
	s.batches(4*signBlocks.elements, signBlocks.bytes, nil, func() { s.scales(4 * signBlocks.elements) }, func() {
		s.store(stackScale, 0)
		for i := range signBlocks.elements / 8 {
			s.ins("VCMPPS", number(atMost), at(batchAt, 32*i), ymm(signLeast), ymm(signX))
			s.ins("VMOVMSKPS", ymm(signX), scratch)
			s.ins("MOVB", scratch, at(blockAt, 2+i))
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
	const spare = 2
	s.batches(2*signBlocks.elements, signBlocks.bytes, nil, func() { s.scales(2 * signBlocks.elements) }, func() {
		s.store(stackScale, 0)
		for first := 0; first < signBlocks.elements; first += 32 {
			for i := range 2 {
				x := ymm(signX + i)
				s.ins("VPXOR", at(batchAt, 2*first+32*i), ymm(signBits), x)
				s.ins("VPANDN", ymm(batchMask), x, ymm(spare))
				s.ins("VPMINUW", ymm(spare), ymm(batchLeast), ymm(batchLeast))
				s.ins("VPCMPGTW", x, ymm(signLeast), x+" // not below 0, of either sign")
			}
			s.ins("VPACKSSWB", ymm(signX+1), ymm(signX), ymm(signX))
			s.ins("VPERMQ", "$0xd8", ymm(signX), ymm(signX))
			s.ins("VPMOVMSKB", ymm(signX), scratch)
			s.ins("MOVL", scratch, at(blockAt, 2+first/8))
		}
	})
	s.fold("VPMINUW", batchLeast)
	s.end()
}

// scales keeps the scales of a batch, whose blocks have so many bytes. In the places of blocks
// that it lacks it has its last one.
func (s *signWriter) scales(size int) {
	s.ins("MOVQ", elementsAt, signRow)
	for i := range 16 {
		s.ins("MOVQ", signRow, at(stack, stackRow+8*i))
		s.ins("LEAQ", at(signRow, size), signOtherRow)
		s.ins("CMPQ", batchBlocks, number(i+1))
		s.ins("CMOVQGT", signOtherRow, signRow)
	}
	for i := range 2 {
		s.ins("VXORPS", ymm(signSums+i), ymm(signSums+i), ymm(signSums+i))
	}
	s.ins("XORL", signColumn, signColumn)
	s.printf("\nsums:\n")
	for i := range 2 {
		s.columns(8 * i)
		for column := range 4 {
			s.add(signColumns+column, signSums+i)
		}
	}
	s.ins("ADDQ", "$16", signColumn)
	s.ins("CMPQ", signColumn, number(size))
	s.op("JLT sums")
	const factor = 0
	s.float(1/float32(signBlocks.elements), factor)
	for i := range 2 {
		s.ins("VMULPS", ymm(factor), ymm(signSums+i), ymm(signSums+i))
		s.ins("VCVTPS2PH", "$0", ymm(signSums+i), at(stack, stackScale+16*i))
	}
}

// columns loads 16 bytes of each of 8 blocks from the first on: the first 4 bytes of each into
// the lanes of the first vector of columns, the next ones into those that follow.
func (s *signWriter) columns(first int) {
	for i := range 4 {
		s.ins("MOVQ", at(stack, stackRow+8*(first+i)), signRow)
		s.ins("MOVQ", at(stack, stackRow+8*(first+i+4)), signOtherRow)
		s.ins("VMOVUPS", indexed(signRow, signColumn, 1), xmm(signColumns+i))
		s.ins("VINSERTF128", "$1", indexed(signOtherRow, signColumn, 1), ymm(signColumns+i), ymm(signColumns+i))
	}
	s.ins("VUNPCKLPS", ymm(signColumns+1), ymm(signColumns), ymm(signSpare))
	s.ins("VUNPCKHPS", ymm(signColumns+1), ymm(signColumns), ymm(signSpare+1))
	s.ins("VUNPCKLPS", ymm(signColumns+3), ymm(signColumns+2), ymm(signSpare+2))
	s.ins("VUNPCKHPS", ymm(signColumns+3), ymm(signColumns+2), ymm(signSpare+3))
	s.ins("VUNPCKLPD", ymm(signSpare+2), ymm(signSpare), ymm(signColumns))
	s.ins("VUNPCKHPD", ymm(signSpare+2), ymm(signSpare), ymm(signColumns+1))
	s.ins("VUNPCKLPD", ymm(signSpare+3), ymm(signSpare+1), ymm(signColumns+2))
	s.ins("VUNPCKHPD", ymm(signSpare+3), ymm(signSpare+1), ymm(signColumns+3))
}

// add adds the magnitudes of a float32, or of two float16, in each lane. The bits of a float16
// without its sign, where a float32 has them, are 2^-112 times its magnitude.
func (s *signWriter) add(column, sum int) {
	if !s.words {
		s.ins("VANDPS", ymm(signMagnitude), ymm(column), ymm(column))
		s.ins("VADDPS", ymm(column), ymm(sum), ymm(sum))
		return
	}
	for _, move := range []string{"VPSLLD $13", "VPSRLD $3"} {
		s.op("%s, %s, %s", move, ymm(column), ymm(signSpare))
		s.ins("VPAND", ymm(signMagnitude), ymm(signSpare), ymm(signSpare))
		s.ins("VFMADD231PS", ymm(signUp), ymm(signSpare), ymm(sum))
	}
}
