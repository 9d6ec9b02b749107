package quantize

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
	lattice   *lattice
	size      int
	x         [32]float32 // sizes, but for a sign that does not fit
	w, wx, wr [32]float32 // weight, weight * x, root of the weight
	signs     [4]byte     // of each 8 values
	index     [8]uint16
}

// fit fills b, which must be zero.
func (f *latticeFormat) fit(b *latticeBlock, x *[256]float32, importance []float32) {
	var scales [16]float32
	var greatest float32
	meanSquare := float32(f.energy*sumSquares(x[:])) / 256
	g := latticeGroup{lattice: f.lattice(), size: f.size}
	groups, points := 256/f.size, f.size/g.lattice.dims
	for i := range groups {
		from, to := i*f.size, (i+1)*f.size
		if importance != nil {
			energyWeights(g.w[:], x[from:to], importance[from:to], meanSquare)
		} else {
			floor := float32(f.floor * meanSquare)
			for j, v := range x[from:to] {
				g.w[j] = floor + float32(v*v)
			}
		}
		g.set(x[from:to], f.even)
		scale, zero := f.fitGroup(&g)
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
		var signs, odd byte
		for j, v := range x[8*k : 8*k+8] {
			if !(v >= 0) {
				v = -v
				signs |= 1 << j
				odd ^= 1
			}
			g.x[8*k+j] = v
		}
		if even && odd != 0 {
			least, cost := 0, float32(0)
			for j, v := range x[8*k : 8*k+8] {
				if c := float32(g.w[8*k+j]*v) * v; j == 0 || c < cost {
					least, cost = j, c
				}
			}
			g.x[8*k+least] = -g.x[8*k+least]
			signs ^= 1 << least
		}
		g.signs[k] = signs
	}
	for j, w := range g.w[:len(x)] {
		g.wr[j] = sqrt32(w)
		g.wx[j] = w * g.x[j]
	}
}

// fitGroup chooses points and returns their scale.
func (f *latticeFormat) fitGroup(g *latticeGroup) (scale float32, zero bool) {
	top := g.x[0]
	for _, v := range g.x[1:g.size] {
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
		scale = positiveFit(q[:g.size], g.x[:g.size], g.w[:g.size], g.lattice.top+2)
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
	var best float32
	var tried [8]uint16
	for step := -f.steps; step <= f.steps; step++ {
		inverse := (levels + float32(f.step*float32(step))) / top
		offNow := g.place(&tried, all, inverse, 1/inverse)
		if xl, ll := g.sums(&tried); ll > 0 && float32(xl*xl) > float32(best*ll) {
			scale = xl / ll
			best = scale * xl
			g.index, off = tried, offNow
		}
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

// place chooses the points in the mask which for a scale and its inverse, and returns the
// mask of those whose place is off the grid.
func (g *latticeGroup) place(index *[8]uint16, which uint, inverse, scale float32) (off uint) {
	l := g.lattice
	dims := l.dims
	for k := range g.size / dims {
		if which>>k&1 == 0 {
			continue
		}
		x := g.x[k*dims:][:dims]
		var place uint16
		for i, v := range x {
			c := nearest(float32(0.5 * (float32(inverse*v) - 1)))
			place |= uint16(max(0, min(l.top, c))) << (l.bits * i)
		}
		var onGrid bool
		index[k], onGrid = l.find(place, x, g.wr[k*dims:], scale)
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
		w, wx := g.w[k*dims:][:dims], g.wx[k*dims:][:dims]
		for i, q := range levels {
			xl += float32(wx[i] * q)
			ll += float32(float32(w[i]*q) * q)
		}
	}
	return xl, ll
}
