package main

import (
	"slices"

	"qtool/internal/ggml"
)

// What decoders that multiply with a vector have of their own.

// float32Rows are rows of elements as they are, which only these decoders read.
var float32Rows = decoding{blocks{ggml.F32, "F32", 16, 64}, nil, "", nil, func(d *decoderWriter) {
	for at := 0; at < 16; at += d.lanes {
		d.op("VMOVUPS %d(SI), %s", 4*at, d.v(values))
		d.store(values, at)
	}
}}

// decodings are those of which the sink makes something.
func (k kind) decodings() []decoding {
	if k == toDot {
		return append(decodings[:len(decodings):len(decodings)], float32Rows)
	}
	return decodings
}

// bytesAhead is how far weights are fetched ahead.
const bytesAhead = 4096

func (d *decoderWriter) fetchAhead(bytes int) {
	for line := 0; line < bytes; line += 64 {
		d.op("PREFETCHT0 %d(SI)", bytesAhead+line)
	}
}

// hasOneScale reports whether a block is a binary16 and integers that it scales.
func (d decoding) hasOneScale() bool {
	return slices.Contains([]ggml.Type{ggml.Q4_0, ggml.Q5_0, ggml.Q8_0, ggml.IQ4_NL}, d.typ)
}

// Registers of a block's sum before it is scaled, and of its scale in all lanes.
const (
	blockSum  = low
	scaleHere = 14
)

// addToBlock adds the products of register i.
func (d *decoderWriter) addToBlock(i, at int) {
	if d.begun {
		d.op("VFMADD231PS %d(DI), %s, %s", 4*at, d.v(i), d.v(blockSum))
		return
	}
	d.op("VMULPS %d(DI), %s, %s", 4*at, d.v(i), d.v(blockSum))
	d.begun = true
}

// fourBlocks prints blocks with one scale. Four of those are converted at once: one by
// one they would cost as much as the elements.
func (d *decoderWriter) fourBlocks(of decoding) {
	d.op("CMPQ CX, $4")
	d.op("JLT single")
	d.fetchAhead(4 * of.bytes)
	d.op("MOVWLZX (SI), R8")
	for i := 1; i < 4; i++ {
		d.op("MOVWLZX %d(SI), R9", i*of.bytes)
		d.op("SHLQ $%d, R9", 16*i)
		d.op("ORQ R9, R8")
	}
	d.op("VMOVQ R8, X%d", scale)
	d.op("VCVTPH2PS X%[1]d, X%[1]d", scale)
	d.scalesToLanes()
	if of.typ == ggml.Q8_0 && !d.wide() {
		d.fourByTurns(of)
	} else {
		for i := range 4 {
			d.scaledBlock(of, i)
		}
	}
	d.op("SUBQ $4, CX")
	d.op("JNZ loop")
	d.op("JMP end")
	d.printf("\nsingle:\n")
	d.op("MOVWLZX (SI), R8")
	d.op("VMOVD R8, X%d", scale)
	d.op("VCVTPH2PS X%[1]d, X%[1]d", scale)
	d.scalesToLanes()
	d.scaledBlock(of, 0)
	d.op("DECQ CX")
	d.op("JNZ single")
	d.printf("\nend:\n")
}

// scalesToLanes copies the four scales to every 128 bits. Stored and broadcast from the
// stack, each would wait for the store.
func (d *decoderWriter) scalesToLanes() {
	if d.wide() {
		d.op("VSHUFF32X4 $0, Z%[1]d, Z%[1]d, Z%[1]d", scale)
		return
	}
	d.op("VINSERTF128 $1, X%[1]d, Y%[1]d, Y%[1]d", scale)
}

// scaledBlock adds a block times scale i of four.
func (d *decoderWriter) scaledBlock(of decoding, i int) {
	d.begun = false
	d.blockOf(of)
	d.timesScale(i, blockSum)
}

// timesScale adds the sum of a block times scale i of four.
func (d *decoderWriter) timesScale(i, sum int) {
	d.op("VPERMILPS $%#02x, %s, %s", 0x55*i, d.v(scale), d.v(scaleHere))
	d.op("VFMADD231PS %s, %s, %s", d.v(scaleHere), d.v(sum), d.v(d.sums[i%len(d.sums)]))
}

// fourByTurns is four scaledBlocks of bytes that are elements, a vector of each by turns:
// the sum of one block would wait for itself.
func (d *decoderWriter) fourByTurns(of decoding) {
	for at := 0; at < of.elements; at += d.lanes {
		for i := range 4 {
			sum, x := d.v(blockSum+i), 4*(i*of.elements+at)
			d.op("VPMOVSXBD %d(SI), %s", i*of.bytes+2+at, d.v(values))
			d.op("VCVTDQ2PS %s, %s", d.v(values), d.v(values))
			if at == 0 {
				d.op("VMULPS %d(DI), %s, %s", x, d.v(values), sum)
			} else {
				d.op("VFMADD231PS %d(DI), %s, %s", x, d.v(values), sum)
			}
		}
	}
	d.op("ADDQ $%d, SI", 4*of.bytes)
	d.op("ADDQ $%d, DI", 16*of.elements)
	for i := range 4 {
		d.timesScale(i, blockSum+i)
	}
}

// blockScale loads the scale of a block.
func (d *decoderWriter) blockScale() {
	if !d.scaledLast {
		d.float16("0(SI)", scale)
	}
}

// foldSums adds up the lanes of the sums.
func (d *decoderWriter) foldSums() {
	for _, r := range d.sums[1:] {
		d.op("VADDPS %s, %s, %s", d.v(r), d.v(dotSum), d.v(dotSum))
	}
	if d.wide() {
		d.op("VEXTRACTF64X4 $1, Z%d, Y%d", dotSum, values)
		d.op("VADDPS Y%[1]d, Y%[2]d, Y%[2]d", values, dotSum)
	}
	d.op("VEXTRACTF128 $1, Y%d, X%d", dotSum, values)
	d.op("VADDPS X%[1]d, X%[2]d, X%[1]d", values, dotSum)
	d.op("VMOVHLPS X0, X0, X1")
	d.op("VADDPS X1, X0, X0")
	d.op("VMOVSHDUP X0, X1")
	d.op("VADDSS X1, X0, X0")
}

func (d *decoderWriter) clearSums() {
	for _, r := range d.sums {
		d.op("VXORPS %[1]s, %[1]s, %[1]s", d.v(r))
	}
}

// addSum prints the end of a row of toDot: its sum is added to y, and the next row
// follows.
func (d *decoderWriter) addSum() {
	d.foldSums()
	d.op("VADDSS (R15), X0, X0")
	d.op("VMOVSS X0, (R15)")
	d.op("ADDQ $4, R15")
	d.clearSums()
	d.op("MOVQ x+0(FP), DI")
	d.op("MOVQ blocks+16(FP), CX")
	d.op("DECQ rows+24(FP)")
	d.op("JNZ loop")
}
