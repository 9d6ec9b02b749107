package quantize

import (
	"qtool/gguf"
	"qtool/internal/kernel/coding"
)

func init() {
	register(gguf.Q3_K, decodeQ3_K, encodeQ3_K)
}

// Q3_K: 16 groups of 16; value = d * (scale - 32) * (q - 4), where the third bit of
// q is in hmask: bit g/2 of byte l for value l of 32 in the pair of groups g. qs is
// as in Q2_K.
//
//	0           32       96           108 110
//	| hmask[32] | qs[64] | scales[12] | d |
//
// Scale g has its low 4 bits in half g/8 of scales[g%8] and its high 2 bits in bit
// pair g/4 of scales[8+g%4].
func decodeQ3_K(dst []float32, src []byte) {
	for ; len(src) >= 110; dst, src = dst[256:], src[110:] {
		b := (*[110]byte)(src)
		d := float16At(b[108:])
		for g := range 16 {
			q := (*[16]byte)(b[32+g/8*32+g%2*16:])
			high := (*[16]byte)(b[g%2*16:])
			y := (*[16]float32)(dst[16*g:])
			shift, bit := g%8/2*2, g/2
			s := b[96+g%8]>>(g/8*4)&15 | b[104+g%4]>>(g/4*2)&3<<4
			scale := d * float32(int32(s)-32)
			for l := range y {
				y[l] = scale * float32(int32(q[l]>>shift&3|high[l]>>bit&1<<2)-4)
			}
		}
	}
}

func encodeQ3_K(dst []byte, src, importance []float32) {
	f := newGroupFit(src, 16)
	defer f.giveBack()
	if importance != nil {
		f.symmetric(src, energyOf(src, importance, 256, func(sum float32) float32 { return float32(2*sum) / 256 }), 4)
	} else {
		f.descend(src)
	}
	for i := range len(src) / 256 {
		b := (*[110]byte)(dst[110*i:])
		var scale [16]byte // plus 32
		scales := (*[16]float32)(f.scale[16*i:])
		if importance != nil {
			putFloat16(b[108:], symmetricFit(scale[:], scales[:], f.total[16*i:16*i+16], 32))
		} else {
			putFloat16(b[108:], greatestAtMinus32(&scale, scales))
		}
		d := float16At(b[108:])
		f.base = coding.Lane{}
		for g, s := range scale {
			f.step[g] = d * float32(int32(s)-32)
		}
		f.relevel(i, src, -4, 3, 4)
		packQ3_K(b, (*[256]byte)(f.levels[256*i:]), &scale)
	}
}

// greatestAtMinus32 makes integers of scales, so that the greatest gets -32.
func greatestAtMinus32(integers *[16]byte, scales *[16]float32) (d float32) {
	top, magnitude := extreme(scales[:])
	if magnitude == 0 {
		return 0
	}
	inverse := -32 / top
	for g, s := range scales {
		integers[g] = byte(32 + max(-32, min(31, int8(nearest(float32(inverse*s))))))
	}
	return 1 / inverse
}

// descend starts from the levels that put the extreme value at -4, then moves single ones
// as long as that helps, at most five times each. A value weighs its square.
func descend(q *[16]byte, x *[16]float32) (d float32) {
	top, magnitude := extreme(x[:])
	if magnitude < allZero {
		clear(q[:])
		return 0
	}
	inverse := -4 / top
	var level, w, wx [16]float32
	var xl, ll float32
	for i, v := range x {
		level[i] = float32(max(-4, min(3, nearest(float32(inverse*v)))))
		w[i] = v * v
		wx[i] = w[i] * v
		xl += float32(wx[i] * level[i])
		ll += float32(float32(w[i]*level[i]) * level[i])
	}
	for range 5 {
		changed := false
		for i, v := range x {
			newXL := xl - float32(wx[i]*level[i])
			if !(newXL > 0) {
				continue
			}
			newLL := ll - float32(float32(w[i]*level[i])*level[i])
			l := float32(max(-4, min(3, nearest(float32(v*newLL)/newXL))))
			if l == level[i] {
				continue
			}
			newXL += float32(wx[i] * l)
			newLL += float32(float32(w[i]*l) * l)
			if newLL > 0 && float32(float32(newXL*newXL)*ll) > float32(float32(xl*xl)*newLL) {
				level[i], xl, ll = l, newXL, newLL
				changed = true
			}
		}
		if !changed {
			break
		}
	}
	for i, l := range level {
		q[i] = byte(4 + int32(l))
	}
	if ll > 0 {
		return xl / ll
	}
	return 0
}

func packQ3_K(b *[110]byte, q *[256]byte, scale *[16]byte) {
	for l := 0; l < 32; l += 8 {
		var high uint64
		for g := range 8 {
			high |= le.Uint64(q[32*g+l:]) >> 2 & eachByte << g
		}
		le.PutUint64(b[l:], high)
	}
	putPairs((*[64]byte)(b[32:]), q)
	for g := range 8 {
		b[96+g] = scale[g]&15 | scale[g+8]<<4
	}
	for g := range 4 {
		b[104+g] = scale[g]>>4 | scale[g+4]>>4<<2 | scale[g+8]>>4<<4 | scale[g+12]>>4<<6
	}
}
