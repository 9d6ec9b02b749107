package quantize

import (
	"math"

	"qtool/internal/half"
	"qtool/internal/kernel/coding"
)

// With three levels the best choice for a group can be found outright: its values in
// ascending order fall into those at the lowest level, at the middle and at the
// highest, and all ways to divide them are tried, with each shift.

// iq1Levels are the levels shifted up and down.
var iq1Levels = [2][8]float32{
	{-1 + iq1Delta, iq1Delta, 1 + iq1Delta},
	{-1 - iq1Delta, -iq1Delta, 1 - iq1Delta},
}

// iq1Group is a group of up to 32 values in the search.
type iq1Group struct {
	x, w  []float32
	by    *divisions
	order [32]uint8 // of the values, ascending
	// division: the values at the lowest level end, in order, before low, those at the
	// middle before high. down says for each 8 values if they are shifted down.
	low, high int
	down      [4]bool
	index     [4]uint16
}

// sort keeps the order of equals.
func (g *iq1Group) sort() {
	for i := range g.x {
		j := i
		for ; j > 0 && g.x[g.order[j-1]] > g.x[i]; j-- {
			g.order[j] = g.order[j-1]
		}
		g.order[j] = uint8(i)
	}
}

// choose takes for each 8 values the point that the division asks for, or the nearest to
// it, and returns the scale that goes with the points.
func (g *iq1Group) choose(scale float32) float32 {
	var coordinate [32]uint16
	for j, i := range g.order[:len(g.x)] {
		switch {
		case j < g.low:
			coordinate[i] = 0
		case j < g.high:
			coordinate[i] = 1
		default:
			coordinate[i] = 2
		}
	}
	if scale < 0 { // the division found the negative
		scale = -scale
		for i := range coordinate {
			coordinate[i] = 2 - coordinate[i]
		}
		for k := range g.down {
			g.down[k] = !g.down[k]
		}
	}
	allOnGrid := true
	for k := range len(g.x) / 8 {
		var place uint16
		for j, c := range coordinate[8*k : 8*k+8] {
			place |= c << (2 * j)
		}
		var onGrid bool
		g.index[k], onGrid = g.lattice(k).find(place, g.x[8*k:], g.w[8*k:], scale)
		allOnGrid = allOnGrid && onGrid
	}
	if allOnGrid {
		return scale
	}
	if xl, ll := g.sums(0, 0, 1); xl > 0 && ll > 0 {
		scale = xl / ll
	}
	return scale
}

// lattice has the levels for the shift of the values from 8*k.
func (g *iq1Group) lattice(k int) *lattice {
	up, down := latticesIQ1()
	if g.down[k] {
		return down
	}
	return up
}

// sums adds the weighted sums of x * level and level * level, the levels times factor.
func (g *iq1Group) sums(xl, ll, factor float32) (float32, float32) {
	for k := range len(g.x) / 8 {
		levels := g.lattice(k).levels[8*int(g.index[k]):][:8]
		x, w := g.x[8*k:8*k+8], g.w[8*k:8*k+8]
		for j, level := range levels {
			q := level * factor
			xl += float32(float32(w[j]*q) * x[j])
			ll += float32(float32(w[j]*q) * q)
		}
	}
	return xl, ll
}

// divide32 is the search of IQ1_S, with one shift for 32 values. It works with sums over
// the first values in order. It reports false if no division has any weight.
func (g *iq1Group) divide32() (scale float32, ok bool) {
	g.sort()
	if coding.CanSearch() {
		return g.divide32ByVectors()
	}
	var sumX, sumW [33]float32
	for j, i := range g.order {
		sumX[j+1] = sumX[j] + float32(g.w[i]*g.x[i])
		sumW[j+1] = sumW[j] + g.w[i]
	}
	var tailX, tailW [2][33]float32 // of the highest level
	for s, levels := range iq1Levels {
		for j := range tailX[s] {
			tailX[s][j] = float32((sumX[32] - sumX[j]) * levels[2])
			tailW[s][j] = float32(float32((sumW[32]-sumW[j])*levels[2]) * levels[2])
		}
	}
	best := float32(-math.MaxFloat32)
	for low := range 33 {
		var headX, headW [2]float32
		for s, levels := range iq1Levels {
			headX[s] = float32(sumX[low] * levels[0])
			headW[s] = float32(float32(sumW[low]*levels[0]) * levels[0])
		}
		for high := low; high <= 32; high++ {
			middleX, middleW := sumX[high]-sumX[low], sumW[high]-sumW[low]
			for s := range iq1Levels {
				level := iq1Levels[s][1]
				xl := headX[s] + float32(middleX*level) + tailX[s][high]
				ll := headW[s] + float32(float32(middleW*level)*level) + tailW[s][high]
				if ll > 0 && float32(xl*xl) > float32(best*ll) {
					scale = xl / ll
					best = scale * xl
					g.low, g.high, ok = low, high, true
					g.down = [4]bool{s == 1, s == 1, s == 1, s == 1}
				}
			}
		}
	}
	return scale, ok
}

// divisions are what the searches of a row use, where they are in assembly.
type divisions struct {
	of32 coding.Division32
	of16 coding.Division16
}

// divide32ByVectors is divide32 with the candidates side by side.
func (g *iq1Group) divide32ByVectors() (scale float32, ok bool) {
	d := &g.by.of32
	var x, w float32
	for j := range 33 {
		d.SumX[2*j], d.SumX[2*j+1] = x, x
		d.SumW[2*j], d.SumW[2*j+1] = w, w
		if j < 32 {
			i := g.order[j]
			x += float32(g.w[i] * g.x[i])
			w += g.w[i]
		}
	}
	for s, levels := range iq1Levels {
		d.Level[0][s], d.Level[1][s] = levels[0], levels[1]
		for j := s; j < 66; j += 2 {
			d.TailX[j] = float32((x - d.SumX[j]) * levels[2])
			d.TailW[j] = float32(float32((w-d.SumW[j])*levels[2]) * levels[2])
		}
	}
	for d.Begin(); d.Next(); d.Skip() {
		for i, xl := range d.XL {
			if ll := d.LL[i]; ll > 0 && float32(xl*xl) > float32(d.Best*ll) {
				scale = xl / ll
				d.Best = scale * xl
				g.low, g.high, ok = d.Low, (d.At+i)/2, true
				s := (d.At+i)%2 == 1
				g.down = [4]bool{s, s, s, s}
			}
		}
	}
	return scale, ok
}

// shiftSums are the weighted sums of x * level and of level * level for the four ways to
// shift two halves of a group: the first half down in the upper two, the second in odd ones.
type shiftSums struct {
	xl, ll [4]float32
}

// add adds terms in order.
func (s *shiftSums) add(terms []shiftSums) {
	x0, x1, x2, x3 := s.xl[0], s.xl[1], s.xl[2], s.xl[3]
	l0, l1, l2, l3 := s.ll[0], s.ll[1], s.ll[2], s.ll[3]
	for i := range terms {
		t := &terms[i]
		x0 += t.xl[0]
		x1 += t.xl[1]
		x2 += t.xl[2]
		x3 += t.xl[3]
		l0 += t.ll[0]
		l1 += t.ll[1]
		l2 += t.ll[2]
		l3 += t.ll[3]
	}
	s.xl, s.ll = [4]float32{x0, x1, x2, x3}, [4]float32{l0, l1, l2, l3}
}

// divide16 is the search of IQ1_M, with a shift for each half of 16 values. Its sums run
// over the values in order for each division, as rounding depends on that.
func (g *iq1Group) divide16() (scale float32, ok bool) {
	g.sort()
	if coding.CanSearch() {
		return g.divide16ByVectors()
	}
	var terms [3][16]shiftSums // by level, of each value in order
	for j := range 16 {
		for c := range terms {
			for k := range 4 {
				terms[c][j].xl[k], terms[c][j].ll[k] = g.term(j, c, k)
			}
		}
	}
	best := float32(-math.MaxFloat32)
	var head shiftSums
	for low := range 17 {
		middle := head
		for high := low; high <= 16; high++ {
			sums := middle
			sums.add(terms[2][high:])
			for k, xl := range sums.xl {
				if ll := sums.ll[k]; ll > 0 && float32(xl*xl) > float32(best*ll) {
					scale = xl / ll
					best = scale * xl
					g.low, g.high, ok = low, high, true
					g.down = [4]bool{k >= 2, k&1 == 1}
				}
			}
			if high < 16 {
				middle.add(terms[1][high : high+1])
			}
		}
		if low < 16 {
			head.add(terms[0][low : low+1])
		}
	}
	return scale, ok
}

// term is what value j in order adds to the sums for shifts k if it is at level c.
func (g *iq1Group) term(j, c, k int) (xl, ll float32) {
	i := g.order[j]
	down := k >> 1
	if i >= 8 {
		down = k & 1
	}
	wl := float32(g.w[i] * iq1Levels[down][c])
	return float32(wl * g.x[i]), float32(wl * iq1Levels[down][c])
}

// divide16ByVectors is divide16 with the shifts side by side.
func (g *iq1Group) divide16ByVectors() (scale float32, ok bool) {
	d := &g.by.of16
	for j := range 16 {
		for c := range d.Terms {
			t := &d.Terms[c][j]
			for k := range 4 {
				t[k], t[4+k] = g.term(j, c, k)
			}
		}
	}
	for d.Begin(); d.Next(); {
		for k, xl := range d.Sums[:4] {
			if ll := d.Sums[4+k]; ll > 0 && float32(xl*xl) > float32(d.Best*ll) {
				scale = xl / ll
				d.Best = scale * xl
				g.low, g.high, ok = int(d.Low), int(d.High), true
				g.down = [4]bool{k >= 2, k&1 == 1}
			}
		}
	}
	return scale, ok
}

func encodeIQ1_S(dst []byte, src, importance []float32) {
	var by divisions
	encode256(dst, src, importance, func(out []byte, x *[256]float32, importance []float32) {
		b := (*[50]byte)(out)
		clear(b[:])
		var w [32]float32
		var scales [8]float32
		var down [8]bool
		var greatest float32
		meanSquare := float32(2*sumSquares(x[:])) / 256
		for i := range scales {
			g := iq1Group{x: x[32*i : 32*i+32], w: w[:], by: &by}
			g.weigh(importance, 32*i, meanSquare)
			if _, magnitude := extreme(g.x); magnitude < 1e-12 {
				continue
			}
			scale, ok := g.divide32()
			if !ok {
				continue
			}
			scales[i] = g.choose(scale)
			down[i] = g.down[0]
			var high uint16
			for k, index := range g.index {
				b[2+4*i+k] = byte(index)
				high |= index >> 8 << (3 * k)
			}
			le.PutUint16(b[34+2*i:], high)
			greatest = max(greatest, scales[i])
		}
		if greatest == 0 {
			return
		}
		d := greatest / 15
		putFloat16(b[:], d*1.125)
		inverse := 1 / d
		for i, s := range scales {
			word := uint16(iq1Scale(inverse, s)) << 12
			if down[i] {
				word |= 0x8000
			}
			le.PutUint16(b[34+2*i:], le.Uint16(b[34+2*i:])|word)
		}
	})
}

// iq1Scale is the integer 0..7 that stands for a scale.
func iq1Scale(inverse, scale float32) byte {
	return byte(max(0, min(7, nearest(float32(0.5*(float32(inverse*scale)-1))))))
}

// weigh fills the weights of a group that begins at value from of its superblock.
func (g *iq1Group) weigh(importance []float32, from int, meanSquare float32) {
	if importance != nil {
		energyWeights(g.w, g.x, importance[from:], meanSquare)
	} else {
		squareWeights(g.w, g.x)
	}
}

func encodeIQ1_M(dst []byte, src, importance []float32) {
	var by divisions
	encode256(dst, src, importance, func(out []byte, x *[256]float32, importance []float32) {
		b := (*[56]byte)(out)
		clear(b[:])
		var weights [256]float32
		var groups [16]iq1Group
		var scales [16]float32
		var greatest float32
		meanSquare := float32(2*sumSquares(x[:])) / 256
		for i := range groups {
			g := &groups[i]
			g.x, g.w, g.by = x[16*i:16*i+16], weights[16*i:16*i+16], &by
			g.weigh(importance, 16*i, meanSquare)
			if _, magnitude := extreme(g.x); magnitude < 1e-7 {
				continue
			}
			scale, ok := g.divide16()
			if !ok {
				continue
			}
			scales[i] = g.choose(scale)
			b[2*i], b[2*i+1] = byte(g.index[0]), byte(g.index[1])
			b[32+i] = byte(g.index[0]>>8 | g.index[1]>>8<<4)
			greatest = max(greatest, scales[i])
		}
		if greatest == 0 {
			return
		}
		d := greatest / 15
		inverse := 1 / d
		var word [4]uint16
		var xl, ll float32
		for i := range groups {
			g := &groups[i]
			scale := iq1Scale(inverse, scales[i])
			word[i/4] |= uint16(scale) << (i % 4 * 3)
			if g.down[0] {
				b[32+i] |= 0x08
			}
			if g.down[1] {
				b[32+i] |= 0x80
			}
			xl, ll = g.sums(xl, ll, float32(2*scale+1))
		}
		if ll > 0 { // the scale that suits the rounded ones
			d = xl / ll
		}
		bits := half.ToFloat16(d * 1.1125)
		for i, v := range word {
			le.PutUint16(b[48+2*i:], v|bits>>(4*i)<<12)
		}
	})
}
