package quantize

import (
	"math"
	"math/bits"
	"sync"

	"qtool/internal/codebook"
	"qtool/internal/kernel/coding"
)

// A lattice is what encoding needs of a codebook: which of its points are nearest to any
// place of the whole lattice. Coordinates are packed as in the codebook; places that
// are no points have a list of those at the least distances.
type lattice struct {
	dims, bits int
	top        int32             // the greatest coordinate
	at         []int32           // by place: the index of a point, or -1 - where its list is
	near       []uint16          // lists: their length, then indices by distance, then by index
	nearPlaces []uint16          // the places of the same points
	levels     []float32         // dims for each point
	level      [8]float32        // of each coordinate
	repeated   [16]float32       // the same again and again, as often as bits say
	terms      [][8]uint8        // for each point of 8: where nearestOf8 finds the term of coordinate i
	lists      coding.PointLists // of points of 4, for all places
}

// The formats differ in how many distances a list reaches.
var (
	latticesIQ1   = sync.OnceValues(newLatticesIQ1)
	latticeIQ2XXS = sync.OnceValue(func() *lattice { return newLattice(codebook.IQ2XXS[:], 8, 2, 2) })
	latticeIQ2XS  = sync.OnceValue(func() *lattice { return newLattice(codebook.IQ2XS[:], 8, 2, 2) })
	latticeIQ2S   = sync.OnceValue(func() *lattice { return newLattice(codebook.IQ2S[:], 8, 2, 1) })
	latticeIQ3XXS = sync.OnceValue(func() *lattice { return newLattice(codebook.IQ3XXS[:], 4, 3, 2) })
	latticeIQ3S   = sync.OnceValue(func() *lattice { return newLattice(codebook.IQ3S[:], 4, 3, 3) })
)

// newLattice gives a point of coordinates c the levels 2*c + 1. Two bits hold
// coordinates of 0 to 2, three those of 0 to 7.
func newLattice(points []uint16, dims, bits, distances int) *lattice {
	l := &lattice{dims: dims, bits: bits, top: 7, at: make([]int32, 1<<(dims*bits))}
	if bits == 2 {
		l.top = 2
	}
	for i := range l.at {
		l.at[i] = -1
	}
	for i, p := range points {
		l.at[p] = int32(i)
	}
	l.setLevels(points, [8]float32{1, 3, 5, 7, 9, 11, 13, 15})
	if dims == 8 {
		l.terms = make([][8]uint8, len(points))
	}
	for i := range l.terms {
		for j := range 8 {
			l.terms[i][j] = uint8(points[i]>>(2*j)&3<<3) | uint8(j)
		}
	}
	distance := make([]uint8, len(points))
	for place := range l.at {
		if l.at[place] < 0 && l.reachable(uint16(place)) {
			l.at[place] = int32(-1 - len(l.near))
			l.listNearest(uint16(place), points, distance, distances)
		}
	}
	if dims == 4 {
		for place := range l.at {
			l.lists.Add(place, l.candidates(uint16(place)))
		}
	}
	return l
}

// newLatticesIQ1 gives the coordinates 0, 1, 2 the levels -1, 0, 1, shifted up or down.
func newLatticesIQ1() (up, down *lattice) {
	up = newLattice(codebook.IQ1[:], 8, 2, 3)
	shifted := *up
	up.setLevels(codebook.IQ1[:], iq1Levels[0])
	shifted.setLevels(codebook.IQ1[:], iq1Levels[1])
	return up, &shifted
}

func (l *lattice) setLevels(points []uint16, level [8]float32) {
	l.level = level
	for i := range l.repeated {
		l.repeated[i] = level[i&(1<<l.bits-1)]
	}
	l.levels = make([]float32, 0, len(points)*l.dims)
	for _, p := range points {
		for j := range l.dims {
			l.levels = append(l.levels, level[p>>(l.bits*j)&(1<<l.bits-1)])
		}
	}
}

// reachable: no coordinate is beyond the greatest.
func (l *lattice) reachable(place uint16) bool {
	return l.bits == 3 || place>>1&place&0x5555 == 0
}

func (l *lattice) listNearest(place uint16, points []uint16, distance []uint8, distances int) {
	var seen [256]bool
	for i, p := range points {
		distance[i] = l.distance(p, place)
		seen[distance[i]] = true
	}
	start := len(l.near)
	l.near = append(l.near, 0)
	for d := 0; distances > 0 && d < len(seen); d++ {
		if !seen[d] {
			continue
		}
		distances--
		for i := range points {
			if distance[i] == uint8(d) {
				l.near = append(l.near, uint16(i))
			}
		}
	}
	l.near[start] = uint16(len(l.near) - start - 1)
	for last := len(l.near) - 1; (len(l.near)-start-1)%coding.PointLanes > 0; {
		l.near = append(l.near, l.near[last]) // for those who look at many at once
	}
	l.nearPlaces = append(l.nearPlaces, 0)
	for _, i := range l.near[start+1:] {
		l.nearPlaces = append(l.nearPlaces, points[i])
	}
}

// candidates are the places of the points among which find chooses.
func (l *lattice) candidates(place uint16) []uint16 {
	at := l.at[place]
	if at >= 0 {
		return []uint16{place}
	}
	return l.nearPlaces[-at:][:l.near[-at-1]]
}

// distance is the squared one.
func (l *lattice) distance(p, q uint16) (sum uint8) {
	if l.bits == 2 { // 0 and 2 differ in the high bit alone, neighbours in the low one
		odd, two := (p^q)&0x5555, (p^q)>>1&0x5555
		return uint8(bits.OnesCount16(odd) + 4*bits.OnesCount16(two&^odd))
	}
	for j := 0; j < 12; j += 3 {
		d := int8(p>>j&7) - int8(q>>j&7)
		sum += uint8(d * d)
	}
	return sum
}

// find is the index of the point at a place, or of the one in its list that is nearest to
// x when scaled.
func (l *lattice) find(place uint16, x, weights []float32, scale float32) (index uint16, onGrid bool) {
	at := l.at[place]
	if at >= 0 {
		return uint16(at), true
	}
	first := -at
	count := int(l.near[first-1])
	list := l.near[first:][:count]
	if coding.CanSearch() {
		places := l.nearPlaces[first:][:(count+coding.PointLanes-1)&^(coding.PointLanes-1)]
		if l.dims == 4 {
			return list[coding.NearestOf4(places, (*[4]float32)(x), (*[4]float32)(weights), scale, &l.repeated)], false
		}
		return list[coding.NearestOf8(places, (*[8]float32)(x), (*[8]float32)(weights), scale, &l.repeated)], false
	}
	if l.dims == 4 {
		return l.nearestOf4(list, (*[4]float32)(x), (*[4]float32)(weights), scale), false
	}
	return l.nearestOf8(list, (*[8]float32)(x), (*[8]float32)(weights), scale), false
}

// nearestOf4 is the point of the list for which the weighted sum of squared differences of
// scale * level and x is least, the first of equals.
func (l *lattice) nearestOf4(list []uint16, x, weights *[4]float32, scale float32) (index uint16) {
	index = list[0]
	best := float32(math.MaxFloat32)
	for _, p := range list {
		var sum float32
		for i, level := range (*[4]float32)(l.levels[4*int(p):]) {
			diff := float32(scale*level) - x[i]
			sum += float32(float32(weights[i]*diff) * diff)
		}
		if sum < best {
			best, index = sum, p
		}
	}
	return index
}

// nearestOf8 does the same for longer lists of points with three levels. They share
// coordinates, so the terms of the sums are computed first: that of coordinate c for
// value i at 8*c + i.
func (l *lattice) nearestOf8(list []uint16, x, weights *[8]float32, scale float32) (index uint16) {
	var term [32]float32
	for c := range 3 {
		level := float32(scale * l.level[c])
		for i, v := range x {
			diff := level - v
			term[8*c+i] = float32(float32(weights[i]*diff) * diff)
		}
	}
	index = list[0]
	best := float32(math.MaxFloat32)
	for _, p := range list {
		at := &l.terms[p]
		sum := term[at[0]&31] + term[at[1]&31] + term[at[2]&31] + term[at[3]&31] +
			term[at[4]&31] + term[at[5]&31] + term[at[6]&31] + term[at[7]&31]
		if sum < best {
			best, index = sum, p
		}
	}
	return index
}
