package coding

// TrialLanes is how many scales can be tried side by side.
const TrialLanes = 32

// PointTrials are 32 values, every 4 of which take the nearest of the lattice points listed
// for the place they have at some scale: at up to 32 scales, one in each lane. The order
// of operations at one scale is that of package quantize.
//
// Assembly knows the fields by name.
type PointTrials struct {
	//lint:ignore U1000 assembly uses them
	terms [4][8]Lane // of the sum of squares, for each coordinate at each level

	X, Root, W, WX [32]float32 // values, roots of their weights, weights, weight * value

	// Results: the weighted sums of value * level and level * level, the scale that is
	// their quotient, and Scale * XL.
	XL, LL, Scale, Gain [TrialLanes]float32

	//lint:ignore U1000 assembly uses them
	scaled [8]Lane // levels; not 4096 bytes from where terms are written

	// Places have 3 bits for each coordinate, Points 3 bits on top of a byte.
	Places, Points [8][TrialLanes]uint32

	//lint:ignore U1000 assembly uses them
	runs [8][4]uint32 // the first of each: bits of lanes whose place is not that of the one before
}

// PointLists are the lists of points for each place of 4 coordinates of 3 bits. The
// first words say where lists begin: with the number of their units.
type PointLists []uint32

const (
	places   = 1 << 12
	listUnit = 3  // points
	listBits = 24 // where a list begins; above, how many units it has
)

// Add sets the list of a place, which is not empty. Points are packed as places are.
func (l *PointLists) Add(place int, points []uint16) {
	if *l == nil {
		*l = make(PointLists, places)
	}
	units := (len(points) + listUnit - 1) / listUnit
	(*l)[place] = uint32(units<<listBits | len(*l))
	for i := range units * listUnit {
		*l = append(*l, spread(points[min(i, len(points)-1)]))
	}
}

// spread gives each coordinate a byte.
func spread(p uint16) uint32 {
	u := uint32(p)
	return u&7<<5 | u>>3&7<<13 | u>>6&7<<21 | u>>9<<29
}

// Point is the place of the point that the values from 4*k on took at a scale.
func (t *PointTrials) Point(k, scale int) uint16 {
	u := t.Points[k][scale]
	return uint16(u>>5&7 | u>>13&7<<3 | u>>21&7<<6 | u>>29<<9)
}

// Try fills the results for the scales of which numerators[i] / top is the inverse, i <
// count ≤ TrialLanes; what lies beyond is tried too, but not of use. It needs [CanSearch] and
// lists of all places.
func (t *PointTrials) Try(lists PointLists, numerators *[TrialLanes]float32, count int, top float32) {
	k := active()
	k.tryPoints(t, &lists[0], numerators, top, (count+k.lanes-1)/k.lanes)
}
