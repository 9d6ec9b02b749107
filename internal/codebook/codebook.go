// Package codebook lists the lattice points that ggml's IQ1, IQ2 and IQ3 formats
// store indices of. They are facts of the formats, chosen by their author to fit
// real weights. It imports nothing.
//
// A point of IQ1 and IQ2 has eight coordinates of 2 bits, one of IQ3 four of 3
// bits; a coordinate stands for a level.
package codebook

// What coordinates stand for.
var (
	LevelsIQ1    = [3]int8{-1, 0, 1}
	LevelsIQ2    = [3]int8{8, 25, 43}
	LevelsIQ3XXS = [8]int8{4, 12, 20, 28, 36, 44, 52, 62}
	LevelsIQ3S   = [8]int8{1, 3, 5, 7, 9, 11, 13, 15}
)
