package quantize

import "qtool/gguf"

func init() {
	register(gguf.IQ3_XXS, decodeIQ3_XXS, encodeIQ3_XXS)
	register(gguf.IQ3_S, decodeIQ3_S, encodeIQ3_S)
}

// The IQ3 formats store a codebook point for every 4 values, and their signs.

// IQ3_XXS: points of {4, 12, .. 52, 62}^4; value = d * (scale + 1/2) / 2 * ±point. Word
// g holds signs and scale of 32 values as in IQ2_XXS.
//
//	0   2        66               98
//	| d | qs[64] | words[8]       |
func decodeIQ3_XXS(dst []float32, src []byte) {
	for ; len(src) >= 98; dst, src = dst[256:], src[98:] {
		b := (*[98]byte)(src)
		d := float16At(b[:])
		for g := range 8 {
			word := le.Uint32(b[66+4*g:])
			scale := d * (0.5 + float32(word>>28)) * 0.5
			for l := range 4 {
				q := (*[2]byte)(b[2+8*g+2*l:])
				scaled4((*[8]float32)(dst[32*g+8*l:]), &gridIQ3XXS[q[0]], &gridIQ3XXS[q[1]], scale, evenSigns(word>>(7*l)))
			}
		}
	}
}

// IQ3_S: points of {1, 3, .. 15}^4 with 9-bit indices, the ninth bit of index i of
// group g in bit i of qh[g]; value = d * (2 * scale + 1) * ±point; a 4-bit scale for
// each group of 32.
//
//	0   2        66      74          106         110
//	| d | qs[64] | qh[8] | signs[32] | scales[4] |
func decodeIQ3_S(dst []float32, src []byte) {
	for ; len(src) >= 110; dst, src = dst[256:], src[110:] {
		b := (*[110]byte)(src)
		d := float16At(b[:])
		for g := range 8 {
			scale := d * float32(2*(b[106+g/2]>>(g%2*4)&15)+1)
			h := uint32(b[66+g])
			for l := range 4 {
				q := (*[2]byte)(b[2+8*g+2*l:])
				p1 := &gridIQ3S[uint32(q[0])|h>>(2*l)&1<<8]
				p2 := &gridIQ3S[uint32(q[1])|h>>(2*l+1)&1<<8]
				scaled4((*[8]float32)(dst[32*g+8*l:]), p1, p2, scale, uint32(b[74+4*g+l]))
			}
		}
	}
}

func encodeIQ3_XXS(dst []byte, src, importance []float32) {
	encode256(dst, src, importance, func(out []byte, x *[256]float32, importance []float32) {
		var b latticeBlock
		formatIQ3_XXS.fit(&b, x, importance)
		putFloat16(out, b.d)
		if clear(out[2:]); b.blank {
			return
		}
		for i := range 64 {
			out[2+i] = byte(b.index[i])
		}
		for g := range 8 {
			le.PutUint32(out[66+4*g:], b.signsAndScale(g))
		}
	})
}

// encodeIQ3_S does as ggml does even for a group of zeros: it stores no signs and no low
// bits of indices for that, so that those of the groups after it come too early. See
// misplacement.
func encodeIQ3_S(dst []byte, src, importance []float32) {
	encode256(dst, src, importance, func(out []byte, x *[256]float32, importance []float32) {
		var b latticeBlock
		formatIQ3_S.fit(&b, x, importance)
		putFloat16(out, b.d)
		clear(out[2:])
		qs, signs := out[2:66], out[74:106]
		for g := range 8 {
			if b.zero[g] {
				continue
			}
			for i, index := range b.index[8*g : 8*g+8] {
				qs[i] = byte(index)
				out[66+g] |= byte(index>>8) << i
			}
			copy(signs, b.signs[4*g:4*g+4])
			qs, signs = qs[8:], signs[4:]
		}
		b.putScales(out[106:110])
	})
}
