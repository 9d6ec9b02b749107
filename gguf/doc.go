// Package gguf reads and writes GGUF, the container of llama.cpp and Ollama:
// typed metadata plus named tensors.
//
// It also defines [Model], the one view that every holder of tensors in qtool
// offers: a file, a split file, a Hugging Face folder, a quantization plan.
//
// It may import internal/atomicfile, internal/ggml, internal/mmap and internal/panics. It does no arithmetic on
// tensor data, knows no architecture and takes no policy decisions.
package gguf
