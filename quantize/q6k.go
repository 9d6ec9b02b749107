package quantize

import (
	"qtool/gguf"
	"qtool/internal/kernel/coding"
)

func init() {
	register(gguf.Q6_K, decodeQ6_K, encodeQ6_K)
}

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
	f := newGroupFit(src, 16)
	defer f.giveBack()
	w := weighting{by: coding.Square}
	if importance != nil {
		w = weighting{by: coding.Given, importance: importance}
	}
	f.symmetric(src, w, 32)
	for i := 0; i < len(src); i += 256 {
		f.putQ6_K((*[210]byte)(dst[i/256*210:]), src, i/256)
	}
}

// putQ6_K makes integers of the scales of superblock i of x, and levels that go with them.
func (f *groupFit) putQ6_K(b *[210]byte, x []float32, i int) {
	scales, q := f.scale[16*i:16*i+16], f.levels[256*i:]
	top, magnitude := extreme(scales)
	if magnitude < allZero {
		clear(b[:])
		return
	}
	inverse := -128 / top
	putFloat16(b[208:], 1/inverse)
	d := float16At(b[208:])
	f.base = coding.Lane{}
	for g, s := range scales {
		scale := int8(min(127, nearest(float32(inverse*s))))
		b[192+g] = byte(scale)
		f.step[g] = d * float32(scale)
	}
	f.relevel(i, x, -32, 31, 32)
	for h := range 2 {
		ql, qh, q := b[64*h:64*h+64], b[128+32*h:], q[128*h:128*h+128]
		for l := 0; l < 32; l += 8 {
			q1, q2, q3, q4 := le.Uint64(q[l:]), le.Uint64(q[l+32:]), le.Uint64(q[l+64:]), le.Uint64(q[l+96:])
			le.PutUint64(ql[l:], q1&lowNibbles|q3&lowNibbles<<4)
			le.PutUint64(ql[l+32:], q2&lowNibbles|q4&lowNibbles<<4)
			le.PutUint64(qh[l:], q1>>4&bitPairs|q2>>4&bitPairs<<2|q3>>4&bitPairs<<4|q4>>4&bitPairs<<6)
		}
	}
}
