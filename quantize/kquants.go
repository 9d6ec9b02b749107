package quantize

import "qtool/gguf"

func init() {
	register(gguf.Q2_K, decodeQ2_K, encodeQ2_K)
	register(gguf.Q4_K, decodeQ4_K, encodeQ4_K)
	register(gguf.Q5_K, decodeQ5_K, encodeQ5_K)
}

// The K formats store superblocks of 256 values. Each group of 16 or 32 values has
// an integer scale (and minimum), which a float16 of the superblock multiplies.

// Q2_K: 16 groups of 16; value = d * (scale & 15) * q - dmin * (scale >> 4).
// Each half of 128 values takes 32 bytes of qs: values l, l+32, l+64, l+96 are the
// four bit pairs of byte l.
//
//	0            16       80  82     84
//	| scales[16] | qs[64] | d | dmin |
func decodeQ2_K(dst []float32, src []byte) {
	for ; len(src) >= 84; dst, src = dst[256:], src[84:] {
		b := (*[84]byte)(src)
		d, dmin := float16At(b[80:]), float16At(b[82:])
		for g, s := range b[:16] {
			q := (*[16]byte)(b[16+g/8*32+g%2*16:])
			y := (*[16]float32)(dst[16*g:])
			shift := g % 8 / 2 * 2
			scale, low := d*float32(s&15), float32(dmin*float32(s>>4))
			for l := range y {
				y[l] = float32(scale*float32(q[l]>>shift&3)) - low
			}
		}
	}
}

// scaleAndMin reads the 6-bit scale and minimum of group j of 8. The first four
// fill the low 6 bits of bytes 0..3 and 4..7; the last four have their low halves
// together in bytes 8..11 and their high 2 bits on top of the first four.
func scaleAndMin(s *[12]byte, j int) (scale, low float32) {
	if j < 4 {
		return float32(s[j] & 63), float32(s[j+4] & 63)
	}
	return float32(s[j+4]&15 | s[j-4]>>6<<4), float32(s[j+4]>>4 | s[j]>>6<<4)
}

// Q4_K: 8 groups of 32; value = d * scale * q - dmin * min. A pair of groups takes 32
// bytes of qs: the first the low halves, the second the high ones.
//
//	0   2      4            16        144
//	| d | dmin | scales[12] | qs[128] |
func decodeQ4_K(dst []float32, src []byte) {
	for ; len(src) >= 144; dst, src = dst[256:], src[144:] {
		b := (*[144]byte)(src)
		d, dmin := float16At(b[:]), float16At(b[2:])
		for p := range 4 {
			q := (*[32]byte)(b[16+32*p:])
			y := (*[64]float32)(dst[64*p:])
			s1, m1 := scaleAndMin((*[12]byte)(b[4:]), 2*p)
			s2, m2 := scaleAndMin((*[12]byte)(b[4:]), 2*p+1)
			s1, m1, s2, m2 = d*s1, float32(dmin*m1), d*s2, float32(dmin*m2)
			for l, q := range q {
				y[l] = float32(s1*float32(q&15)) - m1
				y[l+32] = float32(s2*float32(q>>4)) - m2
			}
		}
	}
}

// Q5_K: as Q4_K, with the fifth bit of value l of group g in bit g of qh[l].
//
//	0   2      4            16       48        176
//	| d | dmin | scales[12] | qh[32] | qs[128] |
func decodeQ5_K(dst []float32, src []byte) {
	for ; len(src) >= 176; dst, src = dst[256:], src[176:] {
		b := (*[176]byte)(src)
		d, dmin := float16At(b[:]), float16At(b[2:])
		high := (*[32]byte)(b[16:])
		for p := range 4 {
			q := (*[32]byte)(b[48+32*p:])
			y := (*[64]float32)(dst[64*p:])
			s1, m1 := scaleAndMin((*[12]byte)(b[4:]), 2*p)
			s2, m2 := scaleAndMin((*[12]byte)(b[4:]), 2*p+1)
			s1, m1, s2, m2 = d*s1, float32(dmin*m1), d*s2, float32(dmin*m2)
			for l, q := range q {
				h := high[l] >> (2 * p)
				y[l] = float32(s1*float32(q&15|h&1<<4)) - m1
				y[l+32] = float32(s2*float32(q>>4|h&2<<3)) - m2
			}
		}
	}
}
