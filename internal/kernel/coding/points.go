package coding

import "unsafe"

// PointLanes divides the lengths of lists of points.
const PointLanes = 16

// NearestOf8 is the position in a list of lattice points of that for which the sum over
// i < 8 of weights[i] * (scale * level - x[i])² is least, the first of equals; 0 if all are
// infinite. Coordinate i is bits 2i and 2i+1 of a place, and levels has that of each
// coordinate four times over. The list is filled up to a multiple of 16, with any of its
// points.
func NearestOf8(places []uint16, x, weights *[8]float32, scale float32, levels *[16]float32) int {
	return active().nearestOf8(unsafe.SliceData(places), len(places)/active().lanes, &x[0], &weights[0], scale, levels)
}

// NearestOf4 is NearestOf8 for 4 coordinates of 3 bits; levels has that of each twice.
func NearestOf4(places []uint16, x, weights *[4]float32, scale float32, levels *[16]float32) int {
	return active().nearestOf4(unsafe.SliceData(places), len(places)/active().lanes, &x[0], &weights[0], scale, levels)
}
