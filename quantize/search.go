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

// group is up to 32 values with their weights, and what the searches need of both
// again and again.
type group struct {
	x, w, wx [32]float32 // value, weight, weight * value
}

func (g *group) set(x, weights []float32) {
	copy(g.x[:], x)
	for i, v := range x {
		w := weights[i]
		g.w[i], g.wx[i] = w, float32(w*v)
	}
}

// symmetricFit searches the scale d for which d * (q - n), 0 <= q < 2n, is nearest to
// x, and stores q. It tries the extreme value at level -n, then 18 scales around
// that.
func symmetricFit(q []byte, x, weights []float32, n int32) (d float32) {
	top, magnitude := extreme(x)
	if magnitude < allZero {
		clear(q)
		return 0
	}
	var g group
	g.set(x, weights)
	inverses := symmetricScales(top, n)
	var xl, ll [len(inverses)]float32
	for i := 0; i < len(inverses); i += 2 {
		g.symmetricSums(len(x), (*[2]float32)(inverses[i:]), (*[2]float32)(xl[i:]), (*[2]float32)(ll[i:]), n)
	}
	chosen := inverses[0]
	if ll[0] != 0 {
		d = xl[0] / ll[0]
	}
	best := d * xl[0]
	for i := 1; i < len(inverses); i++ {
		if ll[i] > 0 && float32(xl[i]*xl[i]) > float32(best*ll[i]) {
			d, chosen = xl[i]/ll[i], inverses[i]
			best = d * xl[i]
		}
	}
	for i, v := range x {
		q[i] = byte(n + max(-n, min(n-1, nearest(float32(chosen*v)))))
	}
	return d
}

// symmetricScales are the inverses of the scales to try, in order. The last one comes
// twice, to make their number even.
func symmetricScales(top float32, n int32) (inverses [20]float32) {
	inverses[0] = -float32(n) / top
	for i := range 9 {
		inverses[1+i] = -(float32(n) + float32(0.1*float32(i-9))) / top
		inverses[10+i] = -(float32(n) + float32(0.1*float32(i+1))) / top
	}
	inverses[19] = inverses[18]
	return inverses
}

// symmetricSums stores, for two scales, the weighted sums of x * level and level * level
// over the first count values. Side by side, their additions need not wait for each
// other.
func (g *group) symmetricSums(count int, inverses, xl, ll *[2]float32, n int32) {
	x, w, wx := g.x[:count], g.w[:count], g.wx[:count]
	i0, i1 := inverses[0], inverses[1]
	low, high := -n, n-1
	var xl0, xl1, ll0, ll1 float32
	for i, v := range x {
		l0 := float32(max(low, min(high, nearest(float32(i0*v)))))
		l1 := float32(max(low, min(high, nearest(float32(i1*v)))))
		xl0 += float32(wx[i] * l0)
		ll0 += float32(float32(w[i]*l0) * l0)
		xl1 += float32(wx[i] * l1)
		ll1 += float32(float32(w[i]*l1) * l1)
	}
	*xl, *ll = [2]float32{xl0, xl1}, [2]float32{ll0, ll1}
}

// affineSearch says which scales affineFit tries: those that spread the range over
// n + first, n + first + step, .. levels, steps + 1 of them. absolute counts |difference|
// in place of its square.
type affineSearch struct {
	first, step float32
	steps       int
	absolute    bool
}

// levels is how many levels, and parts of one, step spreads the range over.
func (s *affineSearch) levels(step int, n int32) float32 {
	return s.first + float32(s.step*float32(step)) + float32(n)
}

// weightedSearch is the one that goes with importance.
var weightedSearch = affineSearch{first: -0.9, step: 0.05, steps: 36}

// affineFit searches scale and minimum for which d * q + low, 0 <= q <= n, low <= 0, is
// nearest to x, and stores q. It starts from the range of x, then tries scales that
// divide the range above the best minimum so far, each with the minimum that least
// squares give it.
func affineFit(q []byte, x, weights []float32, n int32, search *affineSearch) (d, low float32) {
	low, high := span(x)
	var g group
	g.set(x, weights)
	var sumW, sumX float32
	for i := range x {
		sumW += g.w[i]
		sumX += g.wx[i]
	}
	if low > 0 {
		low = 0
	}
	if high <= low {
		clear(q)
		return 0, low
	}
	var levels, tried [32]float32
	inverse := float32(n) / (high - low)
	d = 1 / inverse
	g.affineLevels(&levels, len(x), low, inverse, n)
	best := g.affineError(&levels, len(x), d, low, search.absolute)
	for step := range search.steps + 1 {
		inverse = search.levels(step, n) / (high - low)
		if !g.affineLevels(&tried, len(x), low, inverse, n) && step > 0 {
			continue // as the step before, which had its chance
		}
		l, ll, xl := g.affineSums(&tried, len(x))
		det := float32(sumW*ll) - float32(l*l)
		if !(det > 0) {
			continue
		}
		scale := (float32(sumW*xl) - float32(sumX*l)) / det
		offset := (float32(ll*sumX) - float32(l*xl)) / det
		if offset > 0 {
			scale, offset = xl/ll, 0
		}
		if e := g.affineError(&tried, len(x), scale, offset, search.absolute); e < best {
			best, d, low, levels = e, scale, offset, tried
		}
	}
	for i := range x {
		q[i] = byte(levels[i])
	}
	return d, low
}

// affineLevels stores the levels of the first count values and reports whether any is
// new. Which one is cannot be foreseen, so it collects the differences without a branch.
func (g *group) affineLevels(levels *[32]float32, count int, low, inverse float32, n int32) (changed bool) {
	x, out := g.x[:count], levels[:count]
	var difference uint32
	for i, v := range x {
		level := float32(max(0, min(n, nearest(float32(inverse*(v-low))))))
		difference |= math.Float32bits(level) ^ math.Float32bits(out[i])
		out[i] = level
	}
	return difference != 0
}

// affineSums are the weighted sums of level, level * level and x * level.
func (g *group) affineSums(levels *[32]float32, count int) (l, ll, xl float32) {
	x, w, levelOf := g.x[:count], g.w[:count], levels[:count]
	for i, v := range x {
		wl := float32(w[i] * levelOf[i])
		l += wl
		ll += float32(wl * levelOf[i])
		xl += float32(wl * v)
	}
	return l, ll, xl
}

// affineError is the weighted sum of squared or absolute differences.
func (g *group) affineError(levels *[32]float32, count int, d, low float32, absolute bool) (sum float32) {
	x, w, levelOf := g.x[:count], g.w[:count], levels[:count]
	if absolute {
		for i, v := range x {
			sum += float32(w[i] * abs32(float32(d*levelOf[i])+low-v))
		}
		return sum
	}
	for i, v := range x {
		diff := float32(d*levelOf[i]) + low - v
		sum += float32(w[i] * float32(diff*diff))
	}
	return sum
}

// positiveFit searches the scale d for which d * q, 0 <= q <= n, is nearest to x, and
// stores q. x should not be negative; what is, gets the low byte of a negative level.
// It tries nine scales around the one that reaches the greatest value, then moves
// single levels as long as that helps.
func positiveFit(q []byte, x, weights []float32, n int32) (d float32) {
	var top float32
	for _, v := range x {
		if v > top {
			top = v
		}
	}
	if top < allZero {
		clear(q)
		return 0
	}
	inverse := positiveScale(q, x, weights, n, top)
	var xl, ll float32
	for i, v := range x {
		level := min(n, nearest(float32(inverse*v)))
		q[i] = byte(level)
		xl += float32(float32(weights[i]*v) * float32(level))
		ll += float32(float32(weights[i]*float32(level)) * float32(level))
	}
	for range 5 {
		changed := false
		for i, v := range x {
			w, old := weights[i], float32(q[i])
			restXL := xl - float32(float32(w*v)*old)
			restLL := ll - float32(float32(w*old)*old)
			if !(restXL > 0 && restLL > 0) {
				continue
			}
			level := min(n, nearest(float32(v*restLL)/restXL))
			if level == int32(q[i]) {
				continue
			}
			newXL := restXL + float32(float32(w*v)*float32(level))
			newLL := restLL + float32(float32(w*float32(level))*float32(level))
			if float32(float32(newXL*newXL)*ll) > float32(float32(xl*xl)*newLL) {
				q[i], xl, ll = byte(level), newXL, newLL
				changed = true
			}
		}
		if !changed {
			break
		}
	}
	if ll > 0 {
		return xl / ll
	}
	return 0
}

// positiveScale is the inverse of the best of nine scales. It leaves levels in q.
func positiveScale(q []byte, x, weights []float32, n int32, top float32) (inverse float32) {
	inverse = float32(n) / top
	d := 1 / inverse
	var best float32
	for i, v := range x {
		q[i] = byte(nearest(float32(inverse * v)))
		diff := v - float32(d*float32(q[i]))
		best += float32(float32(weights[i]*diff) * diff)
	}
	for step := -4; step <= 4; step++ {
		if step == 0 {
			continue
		}
		tried := (float32(0.1*float32(step)) + float32(n)) / top
		d := 1 / tried
		var sum float32
		for i, v := range x {
			diff := v - float32(d*float32(min(n, nearest(float32(tried*v)))))
			sum += float32(float32(weights[i]*diff) * diff)
		}
		if sum < best {
			best, inverse = sum, tried
		}
	}
	return inverse
}
