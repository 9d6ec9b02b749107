package coding

import (
	"unsafe"

	"qtool/internal/kernel/simd"
	"qtool/internal/kernel/vector"
)

// Lanes is how many groups are searched side by side.
const Lanes = 16

// Lane holds one number of each group.
type Lane [Lanes]float32

// Groups are up to 16 groups of values, side by side: value i of group l is X[i][l]. The
// order of operations within a group is that of package quantize, which searches one
// group after another where a tier has no searches; so the results are the same, bit
// for bit. Lanes beyond the groups hold what does no harm.
//
// Assembly knows the fields by name.
type Groups struct {
	X  [32]Lane // values
	W  [32]Lane // weights
	L  [32]Lane // levels, where a search leaves them; not 4096 bytes from W, which is read after they are written
	WX [32]Lane // weight * value

	// Results: value = Scale * level + Low. The level is the one nearest to
	// Inverse * (x - From); an Inverse of 0 stands for a group that has no levels.
	Scale, Low, Inverse, From Lane

	SumW, SumX Lane // of W and WX
	MeanSquare Lane // what Energy needs

	// Redo has bits where a search left the range in which rounding is simple: such a
	// group is to be searched in Go.
	Redo [Lanes]uint32

	//lint:ignore U1000 assembly uses them
	top, best, lowest, highest, dead Lane

	count, groups int
	rows          vector.Rows // here, because what functions of a tier take escapes
}

// Weighing is a way to weigh values.
type Weighing uint8

const (
	Given    Weighing = iota // W says it
	Square                   // by the square
	Size                     // by the size
	Levelled                 // by the size and the quadratic mean of the group
	Energy                   // W, importance, times the root of MeanSquare and the square
	weighings
)

// searches are a tier's functions over groups of count values; all nil: none.
type searches struct {
	weigh            [weighings]func(g *Groups, count int)
	symmetric        func(g *Groups, count int, numerators *[20]float32, low, high float32)
	affine, absolute func(g *Groups, count int, numerators *float32, steps int, high float32)
	descend          func(g, other *Groups)
	iq4              func(g *Groups, numerators *[16]float32, near *[1024]float32)
	divide32         func(d *Division32) bool
	divide16         func(d *Division16) bool
	levels, divided  func(q *byte, x *float32, by, low *Lane, groups, vectors int, least, most, bias int32)
	iq4Levels        func(q *byte, x *float32, by *Lane, groups int)
	fp4Levels        func(q *byte, x, by *float32, groups, vectors int, middles *[7]float32)
	// of points of 8 coordinates of 2 bits, and of 4 of 3
	nearestOf8, nearestOf4 func(places *uint16, vectors int, x, weights *float32, scale float32, levels *[16]float32) int
	tryPoints              func(t *PointTrials, lists *uint32, numerators *[TrialLanes]float32, top float32, vectors int)
}

// CanSearch reports whether the tier in use has the searches below.
func CanSearch() bool { return active().symmetric != nil }

// Set makes groups of count values, 16 or 32, of x: at most 16 groups.
func (g *Groups) Set(x []float32, count int) {
	g.count, g.groups = count, len(x)/count
	g.transpose(&g.X, x)
}

// SetWeights fills W, as Set fills X.
func (g *Groups) SetWeights(w []float32) { g.transpose(&g.W, w[:g.groups*g.count]) }

// Len is the number of groups.
func (g *Groups) Len() int { return g.groups }

func (g *Groups) transpose(dst *[32]Lane, x []float32) {
	turn := vector.TransposerOf(simd.Active())
	for first := 0; first < Lanes; first += turn.Lanes {
		for l := range turn.Lanes {
			from := (first + l) * g.count
			if from >= len(x) {
				from = 0
			}
			g.rows[l] = &x[from]
		}
		turn.Transpose(&dst[0][first], Lanes, &g.rows, g.count)
	}
}

// Weigh fills W, WX and their sums.
func (g *Groups) Weigh(by Weighing) { active().weigh[by](g, g.count) }

// SearchSymmetric searches Scale and Inverse for levels from low to high, over the scales
// of which numerators[i] / (the extreme value) is the inverse. numerators has the last
// one twice.
func (g *Groups) SearchSymmetric(numerators *[20]float32, low, high float32) {
	g.From = Lane{}
	active().symmetric(g, g.count, numerators, low, high)
}

// SearchAffine searches Scale, Low, Inverse and From for levels from 0 to high, over the
// scales of which numerators[i] / (the greatest value - Low) is the inverse. absolute
// counts differences instead of their squares.
func (g *Groups) SearchAffine(numerators []float32, high float32, absolute bool) {
	search := active().affine
	if absolute {
		search = active().absolute
	}
	search(g, g.count, unsafe.SliceData(numerators), len(numerators), high)
}

// Descend searches Scale for levels from -4 to 3 of groups of 16, moving one level after
// another, in g and other, so that one need not wait for the other.
func (g *Groups) Descend(other *Groups) { active().descend(g, other) }

// DescendedLevels stores the levels that Descend found, plus 4; those of a group with an
// Inverse of 0 are arbitrary. It spends WX.
func (g *Groups) DescendedLevels(q []byte) {
	turn := vector.TransposerOf(simd.Active())
	for first := 0; first < 16; first += turn.Lanes {
		for i := range turn.Lanes {
			g.rows[i] = &g.L[first+i][0]
		}
		turn.Transpose(&g.WX[0][first], Lanes, &g.rows, Lanes)
	}
	for l := range Lanes {
		g.best[l], g.lowest[l] = 1, 0
	}
	values := unsafe.Slice(&g.WX[0][0], 16*g.groups)
	Levels(q, values, 16, &g.best, &g.lowest, -4, 3, 4)
}

// SearchIQ4 searches Scale for the levels of IQ4_NL, over groups of 32. near is the level
// nearest to each half, from -256 on.
func (g *Groups) SearchIQ4(numerators *[16]float32, near *[1024]float32) {
	active().iq4(g, numerators, near)
}

// Levels stores bias + the level from least to most nearest to by[i] * (x - low[i]), for
// group i of count values.
func Levels(q []byte, x []float32, count int, by, low *Lane, least, most, bias int32) {
	_ = q[:len(x)]
	active().levels(unsafe.SliceData(q), unsafe.SliceData(x), by, low, len(x)/count, count/16, least, most, bias)
}

// DividedLevels is Levels with (x + low[i]) / by[i]. Where that is 0, levels are arbitrary.
func DividedLevels(q []byte, x []float32, count int, by, low *Lane, least, most, bias int32) {
	_ = q[:len(x)]
	active().divided(unsafe.SliceData(q), unsafe.SliceData(x), by, low, len(x)/count, count/16, least, most, bias)
}

// IQ4Levels stores the index of the level of IQ4_NL nearest to by[i] * x, for group i of
// 32 values.
func IQ4Levels(q []byte, x []float32, by *Lane) {
	_ = q[:len(x)]
	active().iq4Levels(unsafe.SliceData(q), unsafe.SliceData(x), by, len(x)/32)
}

// FP4Levels stores how many of the middles * by[i] are less than the size of x, for group
// i of count values, and adds 8 to what is not 0 if x is negative.
func FP4Levels(q []byte, x []float32, count int, by []float32, middles *[7]float32) {
	_ = q[:len(x)]
	active().fp4Levels(unsafe.SliceData(q), unsafe.SliceData(x), unsafe.SliceData(by[:len(x)/count]), len(x)/count, count/16, middles)
}
