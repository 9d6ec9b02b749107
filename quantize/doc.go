// Package quantize turns rows of float32 into ggml's block formats and back,
// chooses a type for every tensor of a model, and runs that choice as a stream.
//
// It may import gguf, internal/codebook, internal/ggml, internal/half, internal/work and internal/kernel (coding). Its
// encoders give the bytes of ggml's reference on every platform: products and
// sums are rounded separately (float32(a*b) + c) and sums keep ggml's order. It
// writes no files and knows no architecture beyond the names of tensors.
package quantize
