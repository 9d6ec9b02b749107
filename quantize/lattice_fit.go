package quantize

import (
	"math"
	"math/bits"
	"sync"

	"qtool/internal/kernel/coding"
)

// The formats IQ2 and IQ3 are found alike: for each group of values, scales around the
// one that reaches the greatest are tried; at each, every 8 or 4 values take the
// codebook point nearest to them.

// latticeFormat is what tells the five apart.
type latticeFormat struct {
	lattice func() *lattice
	size    int     // of a group
	zero    float32 // a group is zeros if all its values are less
	even    bool    // the number of negative signs must be
	energy  float32 // of the mean square that goes with importance
	floor   float32 // of it that each value weighs without importance
	steps   int     // scales are tried from -steps to steps
	step    float32
	prefit  bool // search a scale for a free choice of levels first
	settle  settling
	fudge   float32 // on the scale that is stored
}

// settling says which points are chosen again once the scale is known.
type settling int

const (
	settleOff    settling = iota // those of places off the grid
	settleAllOff                 // all, if a place is off the grid
	settleAll
)

var (
	formatIQ2_XXS = latticeFormat{
		lattice: latticeIQ2XXS, size: 32, zero: allZero, even: true, energy: 1,
		steps: 6, step: 0.1, prefit: true, settle: settleAll, fudge: 1,
	}
	formatIQ2_XS = latticeFormat{
		lattice: latticeIQ2XS, size: 16, zero: allZero, even: true, energy: 1,
		steps: 9, step: 0.1, settle: settleOff, fudge: 1,
	}
	formatIQ2_S = latticeFormat{
		lattice: latticeIQ2S, size: 16, zero: 1e-8, energy: 2, floor: 0.25,
		steps: 9, step: 0.1, settle: settleOff, fudge: 0.9875,
	}
	formatIQ3_XXS = latticeFormat{
		lattice: latticeIQ3XXS, size: 32, zero: 1e-8, even: true, energy: 2,
		steps: 15, step: 0.2, settle: settleOff, fudge: 1.0125,
	}
	formatIQ3_S = latticeFormat{
		lattice: latticeIQ3S, size: 32, zero: 0x1p-149, energy: 2,
		steps: 9, step: 0.2, settle: settleAllOff, fudge: 1.033,
	}
)

// latticeBlock is a superblock before it is packed.
type latticeBlock struct {
	index [64]uint16 // of each point
	signs [32]byte   // of each 8 values
	scale [16]byte   // of each group
	zero  [16]bool   // groups of zeros, for which no points were chosen
	blank bool       // all scales are 0
	d     float32
}

// latticeGroup is a group of values in the search.
type latticeGroup struct {
	coding.PointTrials // X are sizes, but for a sign that does not fit

	lattice *lattice
	size    int
	signs   [4]byte // of each 8 values
	index   [8]uint16

	count      int                        // of the scales that are tried
	numerators [coding.TrialLanes]float32 // of their inverses
}

var latticeGroups = sync.Pool{New: func() any { return new(latticeGroup) }}

// newGroup must be given back.
func (f *latticeFormat) newGroup() *latticeGroup {
	g := latticeGroups.Get().(*latticeGroup)
	g.lattice, g.size, g.count = f.lattice(), f.size, 2*f.steps+1
	levels := float32(2*g.lattice.top + 1)
	for i := range g.numerators {
		g.numerators[i] = levels + float32(f.step*float32(min(i, g.count-1)-f.steps))
	}
	return g
}

func (g *latticeGroup) giveBack() { latticeGroups.Put(g) }

// fit fills b, which must be zero.
func (f *latticeFormat) fit(b *latticeBlock, x *[256]float32, importance []float32) {
	var scales [16]float32
	var greatest float32
	meanSquare := float32(f.energy*sumSquares(x[:])) / 256
	g := f.newGroup()
	defer g.giveBack()
	groups, points := 256/f.size, f.size/g.lattice.dims
	for i := range groups {
		from, to := i*f.size, (i+1)*f.size
		if importance != nil {
			energyWeights(g.W[:], x[from:to], importance[from:to], meanSquare)
		} else {
			floor := float32(f.floor * meanSquare)
			for j, v := range x[from:to] {
				g.W[j] = floor + float32(v*v)
			}
		}
		g.set(x[from:to], f.even)
		scale, zero := f.fitGroup(g)
		if b.zero[i] = zero; zero {
			continue
		}
		if scale < 0 {
			scale = -scale
			for j := range g.signs {
				g.signs[j] = ^g.signs[j]
			}
		}
		copy(b.index[i*points:], g.index[:points])
		copy(b.signs[from/8:to/8], g.signs[:])
		scales[i] = scale
		if !(greatest > scale) {
			greatest = scale
		}
	}
	if b.blank = greatest == 0; b.blank {
		return
	}
	b.d = greatest / 31
	inverse := 1 / b.d
	for i := range groups {
		b.scale[i] = byte(max(0, min(15, nearest(float32(0.5*(float32(inverse*scales[i])-1))))))
	}
	b.d *= f.fudge
}

// set takes x, which g.w weighs, apart into sizes and signs. If the number of signs must be
// even, it flips that of the value which counts least.
func (g *latticeGroup) set(x []float32, even bool) {
	for k := range len(x) / 8 {
		x := (*[8]float32)(x[8*k:])
		var signs byte
		for j, v := range x { // without branches, which nobody could predict
			const negativeZero = 1 << 31
			signs |= byte((negativeZero-uint64(math.Float32bits(v)))>>63) << j
			g.X[8*k+j] = abs32(v)
		}
		if even && bits.OnesCount8(signs)%2 != 0 {
			least := leastSquare(x, (*[8]float32)(g.W[8*k:]))
			g.X[8*k+least] = -g.X[8*k+least]
			signs ^= 1 << least
		}
		g.signs[k] = signs
	}
	for j, w := range g.W[:len(x)] {
		g.Root[j] = sqrt32(w)
		g.WX[j] = w * g.X[j]
	}
}

// leastSquare is the first value whose weighted square is least. Squares order as their bits
// do; if the first is not a number, nothing is less.
func leastSquare(x, w *[8]float32) int {
	least := ^uint64(0)
	for j, v := range x {
		least = min(least, uint64(math.Float32bits(float32(w[j]*v)*v))<<3|uint64(j))
	}
	if first := float32(w[0]*x[0]) * x[0]; first != first {
		return 0
	}
	return int(least & 7)
}

// fitGroup chooses points and returns their scale.
func (f *latticeFormat) fitGroup(g *latticeGroup) (scale float32, zero bool) {
	top := g.X[0]
	for _, v := range g.X[1:g.size] {
		if v > top {
			top = v
		}
	}
	if top < f.zero {
		return 0, true
	}
	levels := float32(2*g.lattice.top + 1)
	if f.prefit {
		var q [32]byte
		scale = positiveFit(q[:g.size], g.X[:g.size], g.W[:g.size], g.lattice.top+2)
		if top = scale * float32(g.lattice.top+1); top <= 0 {
			return 0, true
		}
	} else {
		scale = top / levels
	}
	points := g.size / g.lattice.dims
	all := uint(1)<<points - 1
	var off uint
	if f.settle != settleOff {
		off = all
	}
	for k := range points {
		g.index[k] = uint16(g.lattice.at[0])
	}
	if g.lattice.lists != nil && coding.CanSearch() {
		scale, off = g.tryTogether(top, scale, off)
	} else {
		scale, off = g.tryEach(top, scale, off)
	}
	if f.settle == settleAll || f.settle == settleAllOff && off != 0 {
		off = all
	}
	if off != 0 && scale > 0 {
		g.place(&g.index, off, 1/scale, scale)
		if xl, ll := g.sums(&g.index); ll > 0 {
			scale = xl / ll
		}
	}
	return scale, false
}

// tryEach tries the scales of which numerators / top are the inverses. It chooses the points
// for the best and returns that and the mask of points whose place is off the grid; what it
// is given, if none is better than no points.
func (g *latticeGroup) tryEach(top, scale float32, off uint) (float32, uint) {
	var best float32
	var tried [8]uint16
	for _, numerator := range g.numerators[:g.count] {
		inverse := numerator / top
		offNow := g.place(&tried, ^uint(0), inverse, 1/inverse)
		if xl, ll := g.sums(&tried); ll > 0 && float32(xl*xl) > float32(best*ll) {
			scale = xl / ll
			best = scale * xl
			g.index, off = tried, offNow
		}
	}
	return scale, off
}

// tryTogether does the same side by side.
func (g *latticeGroup) tryTogether(top, scale float32, off uint) (float32, uint) {
	g.Try(g.lattice.lists, &g.numerators, g.count, top)
	var best float32
	chosen := -1
	for i, xl := range g.XL[:g.count] {
		if ll := g.LL[i]; ll > 0 && float32(xl*xl) > float32(best*ll) {
			best, chosen = g.Gain[i], i
		}
	}
	if chosen < 0 {
		return scale, off
	}
	off = 0
	for k := range g.index {
		point := g.Point(k, chosen)
		g.index[k] = uint16(g.lattice.at[point])
		if uint32(point) != g.Places[k][chosen] {
			off |= 1 << k
		}
	}
	return g.Scale[chosen], off
}

// place chooses the points in the mask which for a scale and its inverse, and returns the
// mask of those whose place is off the grid.
func (g *latticeGroup) place(index *[8]uint16, which uint, inverse, scale float32) (off uint) {
	l := g.lattice
	dims := l.dims
	for k := range g.size / dims {
		if which>>k&1 == 0 {
			continue
		}
		x := g.X[k*dims:][:dims]
		var place uint16
		for i, v := range x {
			c := nearest(float32(0.5 * (float32(inverse*v) - 1)))
			place |= uint16(max(0, min(l.top, c))) << (l.bits * i)
		}
		var onGrid bool
		index[k], onGrid = l.find(place, x, g.Root[k*dims:], scale)
		if !onGrid {
			off |= 1 << k
		}
	}
	return off
}

// sums are the weighted sums of x * level and level * level.
func (g *latticeGroup) sums(index *[8]uint16) (xl, ll float32) {
	dims := g.lattice.dims
	for k := range g.size / dims {
		levels := g.lattice.levels[int(index[k])*dims:][:dims]
		w, wx := g.W[k*dims:][:dims], g.WX[k*dims:][:dims]
		for i, q := range levels {
			xl += float32(wx[i] * q)
			ll += float32(float32(w[i]*q) * q)
		}
	}
	return xl, ll
}
