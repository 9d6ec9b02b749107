package quantize

import "math"

// The searches below follow ggml step by step, since a sum in another order gives
// other bytes. A weight says how much the squared error of a value counts.

// allZero is the magnitude below which ggml takes a group for zeros.
const allZero = 1e-15

func abs32(v float32) float32 { return math.Float32frombits(math.Float32bits(v) &^ (1 << 31)) }

func sqrt32(v float32) float32 { return float32(math.Sqrt(float64(v))) }

// nearest rounds to the nearest integer, ties to even, for |v| < 2^22; beyond, it
// gives the low bits that ggml's addition of 1.5 * 2^23 leaves.
func nearest(v float32) int32 {
	return int32(math.Float32bits(float32(v)+12582912)&0x7fffff) - 0x400000
}

// truncated converts as x86 does: what does not fit becomes the lowest int32.
func truncated(v float32) int32 {
	if v > -0x1p31 && v < 0x1p31 {
		return int32(v)
	}
	return math.MinInt32
}

// awayFromZero rounds to the nearest integer, ties away from zero. The sum needs the
// precision of float64: just below a half, float32 would round it up.
func awayFromZero(v float32) int32 {
	if wide := float64(v); wide < 0x1p30 && wide > -0x1p30 {
		return int32(wide + math.Copysign(0.5, wide))
	}
	return math.MinInt32
}

// extreme is the first value of the greatest magnitude.
func extreme(x []float32) (value, magnitude float32) {
	for _, v := range x {
		if a := abs32(v); a > magnitude {
			value, magnitude = v, a
		}
	}
	return value, magnitude
}

// span is the least and the greatest value. Of equal ones it keeps the first, since
// ggml does and zero has two signs.
func span(x []float32) (low, high float32) {
	low, high = x[0], x[0]
	for _, v := range x {
		if v < low {
			low = v
		}
		if v > high {
			high = v
		}
	}
	return low, high
}

// symmetricFit searches the scale d for which d * (q - n), 0 <= q < 2n, is nearest to
// x, and stores q. It tries the extreme value at level -n, then 18 scales around
// that. Without weights, a value weighs its square.
func symmetricFit(q []byte, x, weights []float32, n int32) (d float32) {
	top, magnitude := extreme(x)
	if magnitude < allZero {
		clear(q)
		return 0
	}
	var best float32
	for try := int32(0); try <= 18; try++ {
		step := try - 10 // the first try is for 0, which -9..9 then leaves out
		switch {
		case try == 0:
			step = 0
		case try >= 10:
			step = try - 9
		}
		inverse := -(float32(n) + float32(0.1*float32(step))) / top
		xl, ll := symmetricSums(x, weights, inverse, n)
		if try > 0 && !(ll > 0 && float32(xl*xl) > float32(best*ll)) {
			continue
		}
		if d = 0; ll != 0 {
			d = xl / ll
		}
		best = d * xl
		for i, v := range x {
			q[i] = byte(n + symmetricLevel(v, inverse, n))
		}
	}
	return d
}

// symmetricSums are the weighted sums of x * level and level * level.
func symmetricSums(x, weights []float32, inverse float32, n int32) (xl, ll float32) {
	for i, v := range x {
		level := float32(symmetricLevel(v, inverse, n))
		w := v * v
		if weights != nil {
			w = weights[i]
		}
		xl += float32(float32(w*v) * level)
		ll += float32(float32(w*level) * level)
	}
	return xl, ll
}

func symmetricLevel(v, inverse float32, n int32) int32 {
	return max(-n, min(n-1, nearest(float32(inverse*v))))
}

// affineFit searches scale and minimum for which d * q + low, 0 <= q <= n, low <= 0, is
// nearest to x, and stores q. It starts from the range of x, then tries 37 scales
// that divide the range above the best minimum so far, each with the minimum that
// least squares give it.
func affineFit(q []byte, x, weights []float32, n int32) (d, low float32) {
	low, high := span(x)
	sumW := weights[0]
	sumX := sumW * x[0]
	for i, v := range x[1:] {
		w := weights[i+1]
		sumW += w
		sumX += float32(w * v)
	}
	if low > 0 {
		low = 0
	}
	if high <= low {
		clear(q)
		return 0, low
	}
	inverse := float32(n) / (high - low)
	d = 1 / inverse
	affineLevels(q, x, low, inverse, n)
	best := affineError(q, x, weights, d, low)
	var tried [32]byte
	t := tried[:len(x)]
	for step := range 37 {
		inverse = (-0.9 + float32(0.05*float32(step)) + float32(n)) / (high - low)
		affineLevels(t, x, low, inverse, n)
		var sumL, sumLL, sumXL float32
		for i, v := range x {
			w, level := weights[i], float32(t[i])
			wl := float32(w * level)
			sumL += wl
			sumLL += float32(wl * level)
			sumXL += float32(wl * v)
		}
		det := float32(sumW*sumLL) - float32(sumL*sumL)
		if !(det > 0) {
			continue
		}
		scale := (float32(sumW*sumXL) - float32(sumX*sumL)) / det
		offset := (float32(sumLL*sumX) - float32(sumL*sumXL)) / det
		if offset > 0 {
			scale, offset = sumXL/sumLL, 0
		}
		if e := affineError(t, x, weights, scale, offset); e < best {
			best, d, low = e, scale, offset
			copy(q, t)
		}
	}
	return d, low
}

func affineLevels(q []byte, x []float32, low, inverse float32, n int32) {
	for i, v := range x {
		q[i] = byte(max(0, min(n, nearest(float32(inverse*(v-low))))))
	}
}

func affineError(q []byte, x, weights []float32, d, low float32) (sum float32) {
	for i, v := range x {
		diff := float32(d*float32(q[i])) + low - v
		sum += float32(weights[i] * float32(diff*diff))
	}
	return sum
}
