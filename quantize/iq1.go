package quantize

import (
	"qtool/gguf"
	"qtool/internal/half"
)

func init() {
	register(gguf.IQ1_S, decodeIQ1_S, encodeIQ1_S)
	register(gguf.IQ1_M, decodeIQ1_M, encodeIQ1_M)
}

// IQ1_S and IQ1_M: a point of {-1, 0, 1}^8 for every 8 values, shifted by an eighth
// up or down; value = d * (2 * scale + 1) * (point ± 1/8).
const iq1Delta = 0.125

// IQ1_S: groups of 32 values share a 3-bit scale and the direction of the shift.
//
//	0   2        34       50
//	| d | qs[32] | qh[16] |
//
// qs holds the low 8 bits of each index. Word g of qh holds the high 3 bits of the
// four indices of group g from bit 0, the scale from bit 12, the shift in bit 15.
func decodeIQ1_S(dst []float32, src []byte) {
	for ; len(src) >= 50; dst, src = dst[256:], src[50:] {
		b := (*[50]byte)(src)
		d := float16At(b[:])
		for g := range 8 {
			h := uint32(le.Uint16(b[34+2*g:]))
			scale := d * float32(2*(h>>12&7)+1)
			for l := range 4 {
				index := uint32(b[2+4*g+l]) | h>>(3*l)&7<<8
				shifted8((*[8]float32)(dst[32*g+8*l:]), &gridIQ1[index], scale, h&0x8000 != 0)
			}
		}
	}
}

// IQ1_M: groups of 16 values share a 3-bit scale; each 8 have a shift of their own.
//
//	0        32       48          56
//	| qs[32] | qh[16] | scales[8] |
//
// qs holds the low 8 bits of each index, half k%2 of qh[k/2] the high 3 bits and the
// shift of index k. Word w of scales holds the four scales from 4*w in its low 12
// bits; the top halves of the four words together are the float16 d.
func decodeIQ1_M(dst []float32, src []byte) {
	for ; len(src) >= 56; dst, src = dst[256:], src[56:] {
		b := (*[56]byte)(src)
		var word [4]uint16
		for w := range word {
			word[w] = le.Uint16(b[48+2*w:])
		}
		d := half.FromFloat16(scaleIQ1_M(b))
		for k := range 32 {
			h := uint32(b[32+k/2] >> (k % 2 * 4))
			scale := d * float32(2*(word[k/8]>>(k%8/2*3)&7)+1)
			shifted8((*[8]float32)(dst[8*k:]), &gridIQ1[uint32(b[k])|h&7<<8], scale, h&8 != 0)
		}
	}
}

// scaleIQ1_M gathers the bits of d.
func scaleIQ1_M(b *[56]byte) (bits uint16) {
	for w := range 4 {
		bits |= uint16(b[49+2*w]>>4) << (4 * w)
	}
	return bits
}

func shifted8(y, point *[8]float32, scale float32, down bool) {
	delta := float32(iq1Delta)
	if down {
		delta = -delta
	}
	for j := range y {
		y[j] = scale * (point[j] + delta)
	}
}
