package quantize

import "qtool/gguf"

func init() {
	register(gguf.IQ2_XXS, decodeIQ2_XXS, encodeIQ2_XXS)
	register(gguf.IQ2_XS, decodeIQ2_XS, encodeIQ2_XS)
	register(gguf.IQ2_S, decodeIQ2_S, encodeIQ2_S)
}

// The IQ2 formats store a point of {8, 25, 43}^8 for every 8 values and their signs;
// value = d * (scale + 1/2) / 4 * ±point.

func iq2Scale(d float32, scale uint32) float32 { return d * (0.5 + float32(scale)) * 0.25 }

// IQ2_XXS: each group of 32 values takes 8 bytes: four indices, then a word with the
// signs of point l (7 bits, the eighth makes their number even) from bit 7*l and
// the group's scale from bit 28.
//
//	0   2                66
//	| d | 8 groups of 8  |
func decodeIQ2_XXS(dst []float32, src []byte) {
	for ; len(src) >= 66; dst, src = dst[256:], src[66:] {
		b := (*[66]byte)(src)
		d := float16At(b[:])
		for g := range 8 {
			group := (*[8]byte)(b[2+8*g:])
			word := le.Uint32(group[4:])
			scale := iq2Scale(d, word>>28)
			for l := range 4 {
				scaled8((*[8]float32)(dst[32*g+8*l:]), &gridIQ2XXS[group[l]], scale, evenSigns(word>>(7*l)))
			}
		}
	}
}

// IQ2_XS: 32 words with a 9-bit index and 7 signs on top; 16 scales of 4 bits, one
// for 16 values.
//
//	0   2              66          74
//	| d | qs[32 words] | scales[8] |
func decodeIQ2_XS(dst []float32, src []byte) {
	for ; len(src) >= 74; dst, src = dst[256:], src[74:] {
		b := (*[74]byte)(src)
		d := float16At(b[:])
		for k := range 32 {
			word := uint32(le.Uint16(b[2+2*k:]))
			scale := iq2Scale(d, uint32(b[66+k/4]>>(k%4/2*4)&15))
			scaled8((*[8]float32)(dst[8*k:]), &gridIQ2XS[word&511], scale, evenSigns(word>>9))
		}
	}
}

// IQ2_S: 10-bit indices, the high 2 bits of index k in bit pair k%4 of qh[k/4]; all 8
// signs; scales as in IQ2_XS.
//
//	0   2        34          66      74          82
//	| d | qs[32] | signs[32] | qh[8] | scales[8] |
func decodeIQ2_S(dst []float32, src []byte) {
	for ; len(src) >= 82; dst, src = dst[256:], src[82:] {
		b := (*[82]byte)(src)
		d := float16At(b[:])
		for k := range 32 {
			index := uint32(b[2+k]) | uint32(b[66+k/4]>>(k%4*2)&3)<<8
			scale := iq2Scale(d, uint32(b[74+k/4]>>(k%4/2*4)&15))
			scaled8((*[8]float32)(dst[8*k:]), &gridIQ2S[index], scale, uint32(b[34+k]))
		}
	}
}

func encodeIQ2_XXS(dst []byte, src, importance []float32) {
	encode256(dst, src, importance, func(out []byte, x *[256]float32, importance []float32) {
		var b latticeBlock
		formatIQ2_XXS.fit(&b, x, importance)
		putFloat16(out, b.d)
		if clear(out[2:]); b.blank {
			return
		}
		for g := range 8 {
			group := (*[8]byte)(out[2+8*g:])
			for l := range 4 {
				group[l] = byte(b.index[4*g+l])
			}
			le.PutUint32(group[4:], b.signsAndScale(g))
		}
	})
}

// signsAndScale is the word that IQ2_XXS and IQ3_XXS store for 32 values.
func (b *latticeBlock) signsAndScale(g int) (word uint32) {
	for l := range 4 {
		word |= uint32(b.signs[4*g+l]&127) << (7 * l)
	}
	return word | uint32(b.scale[g])<<28
}

func encodeIQ2_XS(dst []byte, src, importance []float32) {
	encode256(dst, src, importance, func(out []byte, x *[256]float32, importance []float32) {
		var b latticeBlock
		formatIQ2_XS.fit(&b, x, importance)
		putFloat16(out, b.d)
		if clear(out[2:]); b.blank {
			return
		}
		for k := range 32 {
			le.PutUint16(out[2+2*k:], b.index[k]|uint16(b.signs[k]&127)<<9)
		}
		b.putScales(out[66:74])
	})
}

// putScales stores the scales of groups 2*i and 2*i+1 in the halves of byte i.
func (b *latticeBlock) putScales(scales []byte) {
	for i := range scales {
		scales[i] = b.scale[2*i] | b.scale[2*i+1]<<4
	}
}

func encodeIQ2_S(dst []byte, src, importance []float32) {
	encode256(dst, src, importance, func(out []byte, x *[256]float32, importance []float32) {
		var b latticeBlock
		formatIQ2_S.fit(&b, x, importance)
		putFloat16(out, b.d)
		clear(out[66:74])
		for k := range 32 {
			out[2+k] = byte(b.index[k])
			out[34+k] = b.signs[k]
			out[66+k/4] |= byte(b.index[k]>>8) << (k % 4 * 2)
		}
		b.putScales(out[74:82])
	})
}
