// Package ggml holds what is known of ggml's tensor types: one row of the table traits
// for each type, which parsers, codecs, kernels and the generator of assembly all read.
// Package gguf offers the types to users of the module.
//
// It imports nothing of the module, and does no arithmetic on weights.
package ggml
