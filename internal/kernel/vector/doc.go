// Package vector holds the loops over plain vectors of float32: sums of products, activations
// and their gradients, the step of AdamW, transposing.
//
// It may import internal/half and internal/kernel/simd. It has no workers.
package vector
