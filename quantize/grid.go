package quantize

import (
	"math"
	"math/bits"

	"qtool/internal/codebook"
)

// The IQ1, IQ2 and IQ3 formats store an index into a codebook of lattice points in
// place of 8 or 4 values, and the signs apart from it. Here the codebooks are unfolded
// to levels, once, at start.
var (
	gridIQ1    = unfold8(codebook.IQ1[:], codebook.LevelsIQ1)
	gridIQ2XXS = unfold8(codebook.IQ2XXS[:], codebook.LevelsIQ2)
	gridIQ2XS  = unfold8(codebook.IQ2XS[:], codebook.LevelsIQ2)
	gridIQ2S   = unfold8(codebook.IQ2S[:], codebook.LevelsIQ2)
	gridIQ3XXS = unfold4(codebook.IQ3XXS[:], codebook.LevelsIQ3XXS)
	gridIQ3S   = unfold4(codebook.IQ3S[:], codebook.LevelsIQ3S)
)

// unfold8 maps points of eight 2-bit coordinates to their levels.
func unfold8(points []uint16, levels [3]int8) [][8]float32 {
	grid := make([][8]float32, len(points))
	for i, p := range points {
		for j := range grid[i] {
			grid[i][j] = float32(levels[p>>(2*j)&3])
		}
	}
	return grid
}

// unfold4 maps points of four 3-bit coordinates to their levels.
func unfold4(points []uint16, levels [8]int8) [][4]float32 {
	grid := make([][4]float32, len(points))
	for i, p := range points {
		for j := range grid[i] {
			grid[i][j] = float32(levels[p>>(3*j)&7])
		}
	}
	return grid
}

// evenSigns completes 7 stored signs with the eighth, which makes their number even.
func evenSigns(s uint32) uint32 {
	s &= 127
	return s | uint32(bits.OnesCount32(s)&1)<<7
}

// negateIf flips the sign of v if bit j of signs is set.
func negateIf(v float32, signs uint32, j int) float32 {
	return math.Float32frombits(math.Float32bits(v) ^ signs>>j<<31)
}

// scaled8 stores a codebook point times d with signs.
func scaled8(y, point *[8]float32, d float32, signs uint32) {
	for j := range y {
		y[j] = negateIf(d*point[j], signs, j)
	}
}

// scaled4 stores two codebook points times d with signs.
func scaled4(y *[8]float32, p1, p2 *[4]float32, d float32, signs uint32) {
	for j := range p1 {
		y[j] = negateIf(d*p1[j], signs, j)
		y[j+4] = negateIf(d*p2[j], signs, j+4)
	}
}
