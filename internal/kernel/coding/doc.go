// Package coding turns rows of float32 into ggml's blocks and back with the instructions of
// a tier: decoders, encoders, and the searches that the encoders of package quantize call.
// Their results are those of package quantize, bit for bit.
//
// It may import internal/codebook, internal/ggml, internal/kernel/simd and
// internal/kernel/vector. It has no workers.
package coding
