// Package product multiplies: activations with weights in any ggml type, decoded as they
// are needed, forward, backward and for gradients, on all workers of a pool.
//
// It may import internal/ggml, internal/half, internal/work and the packages beside it. On
// one tier, results never depend on the number of workers, nor on how many tokens are
// multiplied together. It knows no models, no files and no tape.
package product
