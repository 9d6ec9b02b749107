package main

// The formats whose few levels fit in a table for VPERMPS.

// scaleTernary puts d·(-1, 0, 1, 2) into tableScaled.
func (d *decoderWriter) scaleTernary(address string) {
	d.float16(address, tableScaled)
	d.op("VMULPS %s, %s, %s", d.v(tableLevels), d.v(tableScaled), d.v(tableScaled))
}

// lookUp replaces indices in register i by the levels of tableScaled. Bits above the
// lowest two, which the table repeats, need not be clear.
func (d *decoderWriter) lookUp(from, i int) {
	d.op("VPERMPS %s, %s, %s", d.v(tableScaled), d.v(from), d.v(i))
}

func decodeQ10Setup(d *decoderWriter) {
	d.vector(signShifts, "signShifts")
	d.vector(signBit, "signBit")
}

func decodeQ10(d *decoderWriter) {
	const negative = 5
	d.float16("0(SI)", scale)
	d.op("%s %s, %s, %s", d.bitwise("VPXOR"), d.v(signBit), d.v(scale), d.v(negative))
	for at := 0; at < 128; at += d.lanes {
		if d.register == "Z" {
			d.op("KMOVW %d(SI), K1", 2+at/8)
			d.op("VBLENDMPS Z%d, Z%d, K1, Z0", scale, negative)
		} else {
			d.op("VPBROADCASTB %d(SI), Y0", 2+at/8)
			d.op("VPSLLVD Y%d, Y0, Y0", signShifts)
			d.op("VBLENDVPS Y0, Y%d, Y%d, Y0", scale, negative)
		}
		d.store(0, at)
	}
}

func decodeQ20(d *decoderWriter) {
	d.scaleTernary("0(SI)")
	for at := 0; at < 64; at += d.lanes {
		if d.register == "Z" {
			d.op("VPBROADCASTD %d(SI), Z0", 2+at/4)
		} else {
			d.op("VPBROADCASTW %d(SI), Y0", 2+at/4)
		}
		d.op("VPSRLVD pairShifts<>(SB), %[1]s, %[1]s", d.v(0))
		d.lookUp(0, 0)
		d.store(0, at)
	}
}

func decodeTQ20(d *decoderWriter) {
	d.scaleTernary("64(SI)")
	for half := range 2 {
		for at := 0; at < 32; at += d.lanes {
			d.op("VPMOVZXBD %d(SI), %s", 32*half+at, d.v(0))
			for k := range 4 {
				source := 1
				if k == 0 {
					source = 0
				} else {
					d.op("VPSRLD $%d, %s, %s", 2*k, d.v(0), d.v(1))
				}
				d.lookUp(source, 1)
				d.store(1, 128*half+32*k+at)
			}
		}
	}
}

// nextTrit puts the top digit of the fractions in 0 times 3 into 1.
func (d *decoderWriter) nextTrit(last bool) {
	d.op("VPADDD %[1]s, %[1]s, %[2]s", d.v(0), d.v(1))
	d.op("VPADDD %[1]s, %[2]s, %[2]s", d.v(0), d.v(1))
	if !last {
		d.op("%s %s, %s, %s", d.bitwise("VPAND"), d.v(lowBits), d.v(1), d.v(0))
	}
	d.op("VPSRLD $8, %[1]s, %[1]s", d.v(1))
}

func decodeTQ10(d *decoderWriter) {
	d.scaleTernary("52(SI)")
	for _, part := range []struct{ bytes, at, n int }{{0, 0, 32}, {32, 160, 16}} {
		for at := 0; at < part.n; at += d.lanes {
			d.op("VPMOVZXBD %d(SI), %s", part.bytes+at, d.v(0))
			for digit := range 5 {
				d.nextTrit(digit == 4)
				d.lookUp(1, 1)
				d.store(1, part.at+digit*part.n+at)
			}
		}
	}
	// Four bytes with four digits: those of all bytes side by side.
	powers := []string{"powersOf3", "upperPowersOf3"}
	for at := 0; at < 16; at += d.lanes {
		d.op("VPBROADCASTD 48(SI), X0")
		d.op("VPMOVZXBD X0, %s", d.v(0))
		d.op("VPMULLD %s<>(SB), %[2]s, %[2]s", powers[at/8], d.v(0))
		d.op("%s %s, %s, %s", d.bitwise("VPAND"), d.v(lowBits), d.v(0), d.v(0))
		d.nextTrit(true)
		d.lookUp(1, 1)
		d.store(1, 240+at)
	}
}

func decodeNVFP4(d *decoderWriter) {
	// A float8 of 4 bits of exponent is a binary16 but for its bias: 2^8 too small,
	// and half of it is wanted. 0x7f stands for 0.
	d.op("VMOVD (SI), X0")
	d.op("VPCMPEQB notANumber<>(SB), X0, X1")
	d.op("VPANDN X0, X1, X0")
	d.op("VPMOVZXBW X0, X0")
	d.op("VPSLLW $9, X0, X0 // without the sign")
	d.op("VPSRLW $2, X0, X0")
	d.op("VCVTPH2PS X0, X0")
	d.op("VMULPS times128<>(SB), X0, X0")
	d.op("VMOVUPS X0, (SP)")
	for g := range 4 {
		d.op("VMOVQ %d(SI), X0", 4+8*g)
		d.op("VPSRLW $4, X0, X1")
		d.op("VPUNPCKLQDQ X1, X0, X0")
		d.op("VPAND X%d, X0, X0", lowBytes)
		d.op("VPSHUFB X0, X%d, X0", lowBits)
		d.op("VBROADCASTSS %d(SP), %s", 4*g, d.v(scale))
		for at := 0; at < 16; at += d.lanes {
			d.op("VPMOVSXBD X0, %s", d.v(1))
			d.scaled(1, 16*g+at)
			if at+d.lanes < 16 {
				d.op("VPSRLDQ $8, X0, X0")
			}
		}
	}
}
