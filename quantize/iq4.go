package quantize

import (
	"math"

	"qtool/gguf"
	"qtool/internal/kernel/coding"
)

func init() {
	register(gguf.IQ4_NL, decodeIQ4_NL, encodeIQ4_NL)
	register(gguf.IQ4_XS, decodeIQ4_XS, encodeIQ4_XS)
}

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

// iq4Middles are the middles between neighbouring levels; there, the greater is nearest.
var iq4Middles = [16]float32{float32(math.Inf(-1)), -115.5, -93.5, -74, -57, -42, -28.5, -16, -4.5, 7, 19, 31.5, 45.5, 61, 79, 101}

// iq4Near is the level nearest to (i - 512) / 2 and what follows up to the next half.
var iq4Near = func() (near [1024]float32) {
	for i := range near {
		near[i] = iq4Levels[nearestIQ4(float32(i-512)/2)]
	}
	return near
}()

// nearestIQ4 is the index of the level nearest to v. What is not a number goes where
// ggml's bisection ends.
func nearestIQ4(v float32) (index uint8) {
	if !(v < iq4Middles[8]) {
		index = 8
	}
	for step := uint8(4); step > 0; step /= 2 {
		if !(v < iq4Middles[index+step]) {
			index += step
		}
	}
	return index
}

// iq4Numerators are what the extreme value may be put at: all but the first, which iq4Fit
// treats in its own way.
var iq4Numerators = func() (n [16]float32) {
	for i := range 15 {
		n[1+i] = float32(i-7) + iq4Levels[0]
	}
	return n
}()

// iq4Fit searches the scale d for which d * level is nearest to x. It tries the one that
// puts the extreme value at the level opposite in sign to the lowest, then 15 that
// put it near the lowest.
func iq4Fit(x, w *[32]float32) (d float32) {
	top, magnitude := extreme(x[:])
	if magnitude < allZero {
		return 0
	}
	var inverses, xl, ll [16]float32
	inverses[0] = 1 / (-top / iq4Levels[0])
	for i, n := range iq4Numerators[1:] {
		inverses[1+i] = n / top
	}
	for i := 0; i < 16; i += 2 {
		iq4Sums(x, w, (*[2]float32)(inverses[i:]), (*[2]float32)(xl[i:]), (*[2]float32)(ll[i:]))
	}
	if ll[0] > 0 {
		d = xl[0] / ll[0]
	}
	best := d * xl[0]
	for i := 1; i < 16; i++ {
		if ll[i] > 0 && float32(xl[i]*xl[i]) > float32(best*ll[i]) {
			d = xl[i] / ll[i]
			best = d * xl[i]
		}
	}
	return d
}

// iq4Sums stores, for two scales, the weighted sums of x * level and level * level. No
// x / scale is beyond 135. Where its distance to a middle matters, it is a multiple of
// 2^-21, so that it can be cut to halves as an integer.
func iq4Sums(x, w *[32]float32, inverses, xl, ll *[2]float32) {
	const unit = 1 << 21
	i0, i1 := inverses[0]*unit, inverses[1]*unit
	var xl0, xl1, ll0, ll1 float32
	for i, v := range x {
		w := w[i]
		q0 := iq4Near[uint32(int32(i0*v)>>20+512)%1024]
		q1 := iq4Near[uint32(int32(i1*v)>>20+512)%1024]
		wq0, wq1 := w*q0, w*q1
		xl0 += float32(wq0 * v)
		ll0 += float32(wq0 * q0)
		xl1 += float32(wq1 * v)
		ll1 += float32(wq1 * q1)
	}
	*xl, *ll = [2]float32{xl0, xl1}, [2]float32{ll0, ll1}
}

// iq4 is iq4Fit for all groups of 32 values of x.
func (f *groupFit) iq4(x []float32, w weighting) {
	if !coding.CanSearch() {
		f.each(x, &w, func(g int, _ []byte, x, weights []float32) {
			f.scale[g] = iq4Fit((*[32]float32)(x), (*[32]float32)(weights))
		})
		return
	}
	f.sideBySide(x, &w, func(g *coding.Groups, _ int) { g.SearchIQ4(&iq4Numerators, &iq4Near) })
}

// iq4Nearest stores the levels nearest to x * inverse, for each group of 32.
func iq4Nearest(levels []byte, x []float32, inverse *coding.Lane) {
	if coding.CanSearch() {
		coding.IQ4Levels(levels, x, inverse)
		return
	}
	for i, v := range x {
		levels[i] = nearestIQ4(float32(inverse[i/32] * v))
	}
}

func encodeIQ4_NL(dst []byte, src, importance []float32) {
	f := newGroupFit(src, 32)
	defer f.giveBack()
	w := weighting{by: coding.Square}
	if importance != nil {
		w = energyOf(src, importance, 32, func(sum float32) float32 { return sum * (2.0 / 32) })
	}
	f.iq4(src, w)
	for first := 0; first < len(f.scale); first += coding.Lanes {
		from, to := 32*first, min(len(src), 32*(first+coding.Lanes))
		for l, d := range f.scale[first : to/32] {
			f.step[l] = reciprocal(d)
		}
		iq4Nearest(f.levels[from:to], src[from:to], &f.step)
	}
	for i, d := range f.scale {
		b := dst[18*i : 18*i+18]
		putFloat16(b, d)
		putLow4(b[2:], (*[32]byte)(f.levels[32*i:]))
	}
}

func encodeIQ4_XS(dst []byte, src, importance []float32) {
	f := newGroupFit(src, 32)
	defer f.giveBack()
	w := weighting{by: coding.Square}
	if importance != nil {
		w = energyOf(src, importance, 256, func(sum float32) float32 { return sum * (2.0 / 256) })
	}
	f.iq4(src, w)
	for i := range len(src) / 256 {
		b, scales := (*[136]byte)(dst[136*i:]), f.scale[8*i:8*i+8]
		top, _ := extreme(scales)
		d := -top / 32
		inverse := reciprocal(d)
		putFloat16(b[:], d)
		var high uint16
		clear(b[4:8])
		for g, s := range scales {
			scale := max(-32, min(31, nearest(float32(inverse*s))))
			f.step[g] = reciprocal(d * float32(scale))
			b[4+g/2] |= byte(scale+32) & 15 << (g % 2 * 4)
			high |= uint16(scale+32) >> 4 << (2 * g)
		}
		le.PutUint16(b[2:], high)
		q := f.levels[256*i : 256*(i+1)]
		iq4Nearest(q, src[256*i:256*(i+1)], &f.step)
		for g := range 8 {
			putLow4(b[8+16*g:], (*[32]byte)(q[32*g:]))
		}
	}
}
