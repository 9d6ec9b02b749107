package quantize

// Q6_K: 16 groups of 16; value = d * scale * (q - 32).
//
//	0         128      192          208 210
//	| ql[128] | qh[64] | scales[16] | d |
//
// Each half of 128 values takes 64 bytes of ql and 32 of qh. Byte l of qh holds the
// high bit pairs of values l, l+32, l+64 and l+96; their low 4 bits are the low
// halves of ql[l], ql[l+32] and then the high halves of the same.

func decodeQ6_K(dst []float32, src []byte) {
	for ; len(src) >= 210; dst, src = dst[256:], src[210:] {
		b := (*[210]byte)(src)
		d := float16At(b[208:])
		var scale [16]float32
		for g, s := range b[192:208] {
			scale[g] = d * float32(int8(s))
		}
		for h := range 2 {
			ql, qh := (*[64]byte)(b[64*h:]), (*[32]byte)(b[128+32*h:])
			y, s := (*[128]float32)(dst[128*h:]), (*[8]float32)(scale[8*h:])
			for l := range 32 {
				g, low1, low2, high := l/16, ql[l], ql[l+32], qh[l]
				y[l] = s[g] * float32(int32(low1&15|high&3<<4)-32)
				y[l+32] = s[g+2] * float32(int32(low2&15|high>>2&3<<4)-32)
				y[l+64] = s[g+4] * float32(int32(low1>>4|high>>4&3<<4)-32)
				y[l+96] = s[g+6] * float32(int32(low2>>4|high>>6<<4)-32)
			}
		}
	}
}

func encodeQ6_K(dst []byte, src, importance []float32) {
	for len(dst) > 0 {
		var weights []float32
		if importance != nil {
			weights, importance = importance[:256], importance[256:]
		}
		encodeQ6_KBlock((*[210]byte)(dst), (*[256]float32)(src), weights)
		dst, src = dst[210:], src[256:]
	}
}

func encodeQ6_KBlock(b *[210]byte, x *[256]float32, weights []float32) {
	var q [256]byte
	var scales [16]float32
	for g := range scales {
		var w []float32
		if weights != nil {
			w = weights[16*g : 16*g+16]
		}
		scales[g] = symmetricFit(q[16*g:16*g+16], x[16*g:16*g+16], w, 32)
	}
	top, magnitude := extreme(scales[:])
	if magnitude < allZero {
		clear(b[:])
		return
	}
	inverse := -128 / top
	putFloat16(b[208:], 1/inverse)
	d := float16At(b[208:])
	for g, s := range scales {
		scale := int8(min(127, nearest(float32(inverse*s))))
		b[192+g] = byte(scale)
		// The levels that the stored, rounded scale gives; at scale 0 any will do, and
		// ggml leaves those of the search.
		if step := d * float32(scale); step != 0 {
			for j := range 16 {
				q[16*g+j] = byte(32 + max(-32, min(31, nearest(x[16*g+j]/step))))
			}
		}
	}
	for h := range 2 {
		ql, qh, q := b[64*h:64*h+64], b[128+32*h:], (*[128]byte)(q[128*h:])
		for l := range 32 {
			q1, q2, q3, q4 := q[l], q[l+32], q[l+64], q[l+96]
			ql[l] = q1&15 | q3<<4
			ql[l+32] = q2&15 | q4<<4
			qh[l] = q1>>4 | q2>>4<<2 | q3>>4<<4 | q4>>4<<6
		}
	}
}
