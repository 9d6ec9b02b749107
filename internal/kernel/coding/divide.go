package coding

import "math"

// Divisions are all ways to divide the values of a group, in ascending order, among three
// levels: those before Low at the lowest, those before High at the middle, the others at the
// highest one. Each candidate has sums xl of weight * x * level and ll of weight * level²,
// and is better than the best so far if ll > 0 and xl² > Best * ll.
//
// Assembly knows the fields by name.

// Division32 is the search of 32 values with two sets of levels, which take turns in all
// arrays: number 2h+s is of High h and set s.
type Division32 struct {
	SumX, SumW   [74]float32   // of weight * x and of weights of the first h values
	TailX, TailW [74]float32   // xl and ll of the others at the highest level
	Level        [2][2]float32 // the lowest and the middle, of each set

	XL, LL  [8]float32 // what Next found
	Low, At int        // where: number At is the first of them
	Best    float32
}

// Begin begins the search, for which sums, tails and levels are there.
func (d *Division32) Begin() {
	d.Low, d.At, d.Best = 0, 0, -math.MaxFloat32
	nan := float32(math.NaN())
	for i := 66; i < 74; i++ {
		d.TailW[i] = nan // no candidate
	}
}

// Next goes on to eight candidates of one Low of which some are better than Best. It reports false if
// there are none. Those that were found are passed over by Skip.
func (d *Division32) Next() bool { return d.Low <= 32 && active().divide32(d) }

// Skip goes on behind what Next found.
func (d *Division32) Skip() {
	if d.At += 8; d.At >= 66 {
		d.Low++
		d.At = 2 * d.Low
	}
}

// Division16 is the search of 16 values with four sets of levels. Sums run over the
// values in order for each division. Vectors are four times xl and four times ll.
type Division16 struct {
	Terms [3][16][8]float32 // by level, of each value in order

	head, middle [8]float32 // of the values before low, before high
	Sums         [8]float32 // what Next found
	low, high    int
	Low, High    uint8 // where
	Best         float32
}

// Begin begins the search, for which the terms are there.
func (d *Division16) Begin() {
	d.head, d.middle = [8]float32{}, [8]float32{}
	d.low, d.high, d.Best = 0, 0, -math.MaxFloat32
}

// Next goes on to the next division of which some candidate is better than Best. It reports false if
// there is none.
func (d *Division16) Next() bool { return d.low <= 16 && active().divide16(d) }
