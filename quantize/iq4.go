package quantize

// The non-linear 4-bit levels of IQ4_NL and IQ4_XS.
var iq4Levels = [16]float32{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}

// IQ4_NL: 32 values, value = d * level[q].
//
//	0   2          18
//	| d | qs[16]   |    byte j holds values j (low half) and j+16
func decodeIQ4_NL(dst []float32, src []byte) {
	for ; len(src) >= 18; dst, src = dst[32:], src[18:] {
		b := (*[18]byte)(src)
		decodeIQ4Group((*[32]float32)(dst), (*[16]byte)(b[2:]), float16At(b[:]))
	}
}

// IQ4_XS: 8 groups of 32, value = d * (scale - 32) * level[q]. Scale g has its low 4
// bits in half g%2 of scales[g/2] and its high 2 in bit pair g of sh.
//
//	0   2    4           8         136
//	| d | sh | scales[4] | qs[128] |    16 bytes of qs for each group, as IQ4_NL
func decodeIQ4_XS(dst []float32, src []byte) {
	for ; len(src) >= 136; dst, src = dst[256:], src[136:] {
		b := (*[136]byte)(src)
		d, sh := float16At(b[:]), le.Uint16(b[2:])
		for g := range 8 {
			s := int32(b[4+g/2]>>(g%2*4)&15) | int32(sh>>(2*g)&3<<4)
			decodeIQ4Group((*[32]float32)(dst[32*g:]), (*[16]byte)(b[8+16*g:]), d*float32(s-32))
		}
	}
}

func decodeIQ4Group(y *[32]float32, qs *[16]byte, d float32) {
	for j, q := range qs {
		y[j] = d * iq4Levels[q&15]
		y[j+16] = d * iq4Levels[q>>4]
	}
}
