package quantize

import "math"

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

// iq4Guess is the level nearest to (i - 256) / 2.
var iq4Guess = func() (guess [512]uint8) {
	for i := range guess {
		for l, middle := range iq4Middles {
			if float32(i-256)/2 >= middle {
				guess[i] = uint8(l)
			}
		}
	}
	return guess
}()

// nearestIQ4 is the index of the level nearest to v. What is not a number goes where
// ggml's bisection ends.
func nearestIQ4(v float32) uint8 {
	if !(v < 127) {
		return 15
	}
	if v < -127 {
		return 0
	}
	l := iq4Guess[uint32(int32(2*v+256))%512]
	if v < iq4Middles[l] { // the sum above was rounded up
		l--
	}
	return l
}

// iq4Fit searches the scale d for which d * level is nearest to x. It tries the one that
// puts the extreme value at the level opposite in sign to the lowest, then 15 that
// put it near the lowest.
func iq4Fit(x, w *[32]float32) (d float32) {
	top, magnitude := extreme(x[:])
	if magnitude < allZero {
		return 0
	}
	var levels [32]uint8
	iq4Nearest(&levels, x, 1/(-top/iq4Levels[0]))
	xl, ll := iq4Sums(&levels, x, w)
	if ll > 0 {
		d = xl / ll
	}
	best := d * xl
	for try := -7; try <= 7; try++ {
		if !iq4Nearest(&levels, x, (float32(try)+iq4Levels[0])/top) {
			continue // as the scale before, which had its chance
		}
		xl, ll := iq4Sums(&levels, x, w)
		if ll > 0 && float32(xl*xl) > float32(best*ll) {
			d = xl / ll
			best = d * xl
		}
	}
	return d
}

// iq4Nearest stores the levels for a scale and reports whether any is new.
func iq4Nearest(levels *[32]uint8, x *[32]float32, inverse float32) (changed bool) {
	for i, v := range x {
		if l := nearestIQ4(float32(inverse * v)); l != levels[i] {
			levels[i], changed = l, true
		}
	}
	return changed
}

// iq4Sums are the weighted sums of x * level and level * level.
func iq4Sums(levels *[32]uint8, x, w *[32]float32) (xl, ll float32) {
	for i, v := range x {
		level := iq4Levels[levels[i]&15]
		wl := w[i] * level
		xl += float32(wl * v)
		ll += float32(wl * level)
	}
	return xl, ll
}

func encodeIQ4_NL(dst []byte, src, importance []float32) {
	var w [32]float32
	var levels [32]uint8
	for i := 0; i < len(src); i += 32 {
		x, b := (*[32]float32)(src[i:]), (*[18]byte)(dst[i/32*18:])
		if importance != nil {
			energyWeights(w[:], x[:], importance[i:], float32(sumSquares(x[:])*(2.0/32)))
		} else {
			squareWeights(w[:], x[:])
		}
		d := iq4Fit(x, &w)
		putFloat16(b[:], d)
		iq4Nearest(&levels, x, reciprocal(d))
		putLow4(b[2:], &levels)
	}
}

func encodeIQ4_XS(dst []byte, src, importance []float32) {
	encode256(dst, src, importance, func(out []byte, x *[256]float32, importance []float32) {
		b := (*[136]byte)(out)
		var w [32]float32
		var scales [8]float32
		meanSquare := float32(sumSquares(x[:]) * (2.0 / 256))
		for g := range scales {
			x := (*[32]float32)(x[32*g:])
			if importance != nil {
				energyWeights(w[:], x[:], importance[32*g:], meanSquare)
			} else {
				squareWeights(w[:], x[:])
			}
			scales[g] = iq4Fit(x, &w)
		}
		top, _ := extreme(scales[:])
		d := -top / 32
		inverse := reciprocal(d)
		putFloat16(b[:], d)
		var high uint16
		var levels [32]uint8
		clear(b[4:8])
		for g, s := range scales {
			scale := max(-32, min(31, nearest(float32(inverse*s))))
			iq4Nearest(&levels, (*[32]float32)(x[32*g:]), reciprocal(d*float32(scale)))
			putLow4(b[8+16*g:], &levels)
			b[4+g/2] |= byte(scale+32) & 15 << (g % 2 * 4)
			high |= uint16(scale+32) >> 4 << (2 * g)
		}
		le.PutUint16(b[2:], high)
	})
}
