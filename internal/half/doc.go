// Package half converts between float32 and the two 16-bit formats, IEEE
// binary16 and bfloat16, exactly as ggml does. It imports nothing and knows no
// tensors.
package half
