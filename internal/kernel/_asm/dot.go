package main

import (
	"fmt"
	"slices"

	"qtool/internal/ggml"
)

// What decoders that multiply with a vector have of their own.

// float32Rows are rows of elements as they are, which only these decoders read.
var float32Rows = decoding{blocks{ggml.F32, "F32", 16, 64}, nil, "", nil, func(d *decoderWriter) {
	for first := 0; first < 16; first += d.lanes {
		d.ins("VMOVUPS", at(encodedAt, 4*first), d.v(values))
		d.store(values, first)
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
		d.ins("PREFETCHT0", at(encodedAt, bytesAhead+line))
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
func (d *decoderWriter) addToBlock(i, first int) {
	if d.begun {
		d.ins("VFMADD231PS", at(sinkAt, 4*first), d.v(i), d.v(blockSum))
		return
	}
	d.ins("VMULPS", at(sinkAt, 4*first), d.v(i), d.v(blockSum))
	d.begun = true
}

// fourBlocks prints blocks with one scale. Four of those are converted at once: one by
// one they would cost as much as the elements.
func (d *decoderWriter) fourBlocks(of decoding) {
	const fourScales, nextScale = "R8", "R9"
	d.ins("CMPQ", blocksLeft, "$4")
	d.op("JLT single")
	d.fetchAhead(4 * of.bytes)
	d.ins("MOVWLZX", in(encodedAt), fourScales)
	for i := 1; i < 4; i++ {
		d.ins("MOVWLZX", at(encodedAt, i*of.bytes), nextScale)
		d.ins("SHLQ", number(16*i), nextScale)
		d.ins("ORQ", nextScale, fourScales)
	}
	d.ins("VMOVQ", fourScales, xmm(scale))
	d.ins("VCVTPH2PS", xmm(scale), xmm(scale))
	d.scalesToLanes()
	if of.typ == ggml.Q8_0 && !d.wide() {
		d.fourInterleaved(of)
	} else {
		for i := range 4 {
			d.scaledBlock(of, i)
		}
	}
	d.ins("SUBQ", "$4", blocksLeft)
	d.op("JNZ loop")
	d.op("JMP end")
	d.printf("\nsingle:\n")
	d.ins("MOVWLZX", in(encodedAt), fourScales)
	d.ins("VMOVD", fourScales, xmm(scale))
	d.ins("VCVTPH2PS", xmm(scale), xmm(scale))
	d.scalesToLanes()
	d.scaledBlock(of, 0)
	d.ins("DECQ", blocksLeft)
	d.op("JNZ single")
	d.printf("\nend:\n")
}

// scalesToLanes copies the four scales to every 128 bits. Stored and broadcast from the
// stack, each would wait for the store.
func (d *decoderWriter) scalesToLanes() {
	if d.wide() {
		d.ins("VSHUFF32X4", "$0", zmm(scale), zmm(scale), zmm(scale))
		return
	}
	d.ins("VINSERTF128", "$1", xmm(scale), ymm(scale), ymm(scale))
}

// scaledBlock adds a block times scale i of four.
func (d *decoderWriter) scaledBlock(of decoding, i int) {
	d.begun = false
	d.blockOf(of)
	d.timesScale(i, blockSum)
}

// timesScale adds the sum of a block times scale i of four.
func (d *decoderWriter) timesScale(i, sum int) {
	d.ins("VPERMILPS", fmt.Sprintf("$%#02x", 0x55*i), d.v(scale), d.v(scaleHere))
	d.ins("VFMADD231PS", d.v(scaleHere), d.v(sum), d.v(d.sums[i%len(d.sums)]))
}

// fourInterleaved is four scaledBlocks of bytes that are elements, a vector of each in a round:
// the sum of one block would wait for itself.
func (d *decoderWriter) fourInterleaved(of decoding) {
	for first := 0; first < of.elements; first += d.lanes {
		for i := range 4 {
			sum, x := d.v(blockSum+i), 4*(i*of.elements+first)
			d.ins("VPMOVSXBD", at(encodedAt, i*of.bytes+2+first), d.v(values))
			d.ins("VCVTDQ2PS", d.v(values), d.v(values))
			if first == 0 {
				d.ins("VMULPS", at(sinkAt, x), d.v(values), sum)
			} else {
				d.ins("VFMADD231PS", at(sinkAt, x), d.v(values), sum)
			}
		}
	}
	d.ins("ADDQ", number(4*of.bytes), encodedAt)
	d.ins("ADDQ", number(16*of.elements), sinkAt)
	for i := range 4 {
		d.timesScale(i, blockSum+i)
	}
}

// blockScale loads the scale of a block.
func (d *decoderWriter) blockScale() {
	if !d.scaledLast {
		d.float16(at(encodedAt, 0), scale)
	}
}

// foldSums adds up the lanes of the sums, in values.
func (d *decoderWriter) foldSums() {
	const sum, spare = values, values2
	for _, r := range d.sums[1:] {
		d.ins("VADDPS", d.v(r), d.v(dotSum), d.v(dotSum))
	}
	if d.wide() {
		d.ins("VEXTRACTF64X4", "$1", zmm(dotSum), ymm(values))
		d.ins("VADDPS", ymm(values), ymm(dotSum), ymm(dotSum))
	}
	d.ins("VEXTRACTF128", "$1", ymm(dotSum), xmm(values))
	d.ins("VADDPS", xmm(values), xmm(dotSum), xmm(sum))
	d.ins("VMOVHLPS", xmm(sum), xmm(sum), xmm(spare))
	d.ins("VADDPS", xmm(spare), xmm(sum), xmm(sum))
	d.ins("VMOVSHDUP", xmm(sum), xmm(spare))
	d.ins("VADDSS", xmm(spare), xmm(sum), xmm(sum))
}

func (d *decoderWriter) clearSums() {
	for _, r := range d.sums {
		d.ins("VXORPS", d.v(r), d.v(r), d.v(r))
	}
}

// addSum prints the end of a row of toDot: its sum is added to y, and the next row
// follows.
func (d *decoderWriter) addSum() {
	const sum = values
	d.foldSums()
	d.ins("VADDSS", in(yAt), xmm(sum), xmm(sum))
	d.ins("VMOVSS", xmm(sum), in(yAt))
	d.ins("ADDQ", "$4", yAt)
	d.clearSums()
	d.ins("MOVQ", "x+0(FP)", sinkAt)
	d.ins("MOVQ", "blocks+16(FP)", blocksLeft)
	d.ins("DECQ", "rows+24(FP)")
	d.op("JNZ loop")
}
