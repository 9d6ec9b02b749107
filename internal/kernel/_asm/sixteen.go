package main

// Encoders of F16 and BF16, from float32 and from each other.

// Vector registers of the encoders of 16 bits.
const (
	sixteenX, sixteenSpare   = 0, 3
	sixteenOne, sixteenRound = 1, 2 // the lowest bit, and what rounds half up less that
)

// sixteenBits prints the encoders of F16 and BF16, which round to nearest even, and the
// greatest magnitude.
func (e *encodeWriter) sixteenBits() {
	for _, name := range []string{"F16", "BF16"} {
		e.begin(name, "elements and is a multiple of 16", 0)
		e.constant(1, sixteenOne)
		e.constant(0x7fff, sixteenRound)
		e.loop(16, func() {
			for first := 0; first < 16; first += e.lanes {
				e.ins("VMOVUPS", at(elementsAt, 4*first), e.v(sixteenX))
				switch {
				case name == "F16":
					e.ins("VCVTPS2PH", "$0", e.v(sixteenX), at(blockAt, 2*first))
				case e.wide():
					e.roundBF16()
					e.ins("VPMOVDW", zmm(sixteenX), in(blockAt))
				default:
					e.roundBF16()
					e.packBF16(2 * first)
				}
			}
			e.ins("ADDQ", "$64", elementsAt)
			e.ins("ADDQ", "$32", blockAt)
		})
	}
	e.greatestMagnitude()
}

// packBF16 stores the words of 8 lanes that roundBF16 rounded.
func (e *encodeWriter) packBF16(place int) {
	e.ins("VEXTRACTI128", "$1", ymm(sixteenX), xmm(sixteenSpare))
	e.ins("VPACKUSDW", xmm(sixteenSpare), xmm(sixteenX), xmm(sixteenX))
	e.ins("VMOVDQU", xmm(sixteenX), at(blockAt, place))
}

func (e *encodeWriter) greatestMagnitude() {
	const magnitudes, bits, greatest = 0, 2, 3
	const maximum = "VPMAXUD"
	e.printf("\n// func magnitude%s(v *float32, n int) uint32\n//\n//\tn is a multiple of 16\n", e.tier)
	e.printf("TEXT ·magnitude%s(SB), NOSPLIT, $0-20\n", e.tier)
	e.ins("MOVQ", "v+0(FP)", elementsAt)
	e.ins("MOVQ", "n+8(FP)", remaining)
	e.constant(1<<31-1, bits)
	e.constant(0, greatest)
	e.ins("SUBQ", "$16", remaining)
	e.op("JLT done")
	e.printf("\nloop:\n")
	for first := 0; first < 16; first += e.lanes {
		e.ins(e.and(), at(elementsAt, 4*first), e.v(bits), e.v(magnitudes))
		e.ins(maximum, e.v(magnitudes), e.v(greatest), e.v(greatest))
	}
	e.ins("ADDQ", "$64", elementsAt)
	e.ins("SUBQ", "$16", remaining)
	e.op("JGE loop")
	e.printf("\ndone:\n")
	if e.wide() {
		e.ins("VEXTRACTI64X4", "$1", zmm(greatest), ymm(magnitudes))
		e.ins(maximum, ymm(magnitudes), ymm(greatest), ymm(greatest))
	}
	e.ins("VEXTRACTI128", "$1", ymm(greatest), xmm(magnitudes))
	e.ins(maximum, xmm(magnitudes), xmm(greatest), xmm(greatest))
	for _, order := range []string{"$0x4e", "$0xb1"} {
		e.ins("VPSHUFD", order, xmm(greatest), xmm(magnitudes))
		e.ins(maximum, xmm(magnitudes), xmm(greatest), xmm(greatest))
	}
	e.ins("VMOVD", xmm(greatest), scratch)
	e.ins("MOVL", scratch, "ret+16(FP)")
	e.op("VZEROUPPER")
	e.op("RET")
}

// and is VPAND, which has another name in 512 bits.
func (e *encodeWriter) and() string {
	if e.wide() {
		return "VPANDD"
	}
	return "VPAND"
}

// roundBF16 rounds float32 lanes to words.
func (e *encodeWriter) roundBF16() {
	x, lowest := e.v(sixteenX), e.v(sixteenSpare)
	e.ins("VPSRLD", "$16", x, lowest)
	e.ins(e.and(), e.v(sixteenOne), lowest, lowest)
	e.ins("VPADDD", lowest, x, x)
	e.ins("VPADDD", e.v(sixteenRound), x, x)
	e.ins("VPSRLD", "$16", x, x)
}

// toBF16 prints the encoder of BF16, which rounds to nearest even.
func (b *batchWriter) toBF16() {
	b.begin("BF16", "elements and is a multiple of 16", 0)
	b.constant(1, sixteenOne)
	b.constant(0x7fff, sixteenRound)
	b.ins("TESTQ", remaining, remaining)
	b.op("JLE done")
	b.printf("\nloop:\n")
	b.magnitudes16()
	for first := 0; first < 16; first += b.lanes {
		b.widen(at(elementsAt, 2*first), b.v(sixteenX))
		b.roundBF16()
		if b.wide() {
			b.ins("VPMOVDW", zmm(sixteenX), ymm(sixteenX))
			b.ins("VMOVDQU", ymm(sixteenX), in(blockAt))
		} else {
			b.packBF16(2 * first)
		}
	}
	b.ins("ADDQ", "$32", blockAt)
	b.next16()
}

// toF16 prints the encoder of F16.
func (b *batchWriter) toF16() {
	b.begin("F16", "elements and is a multiple of 16", 0)
	b.ins("TESTQ", remaining, remaining)
	b.op("JLE done")
	b.printf("\nloop:\n")
	b.magnitudes16()
	for first := 0; first < 16; first += b.lanes {
		b.widen(at(elementsAt, 2*first), b.v(sixteenX))
		b.ins("VCVTPS2PH", "$0", b.v(sixteenX), at(blockAt, 2*first))
	}
	b.ins("ADDQ", "$32", blockAt)
	b.next16()
}

// survey prints what encodes nothing: elements that stay as they are are copied.
func (b *batchWriter) survey(name string) {
	b.begin(name, "elements and is a multiple of 16; dst is not used", 0)
	b.ins("TESTQ", remaining, remaining)
	b.op("JLE done")
	b.printf("\nloop:\n")
	b.magnitudes16()
	b.next16()
}

// magnitudes16 takes the magnitudes of 16 elements into account.
func (b *batchWriter) magnitudes16() {
	const magnitudes = 4
	b.ins("VMOVDQU", in(elementsAt), ymm(magnitudes))
	b.ins("VPANDN", ymm(batchMask), ymm(magnitudes), ymm(magnitudes))
	b.ins("VPMINUW", ymm(magnitudes), ymm(batchLeast), ymm(batchLeast))
}

func (b *batchWriter) next16() {
	b.ins("ADDQ", "$32", elementsAt)
	b.ins("SUBQ", "$16", remaining)
	b.op("JGT loop")
	b.fold("VPMINUW", batchLeast)
	b.end()
}
