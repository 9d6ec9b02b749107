// Package imatrix holds importance matrices: for every weight matrix of a model, the
// squares of what its columns were multiplied with while text ran through the model.
// It reads and writes both of llama.cpp's forms, merges files and describes them.
//
// It may import gguf and internal/atomicfile. It runs no model and chooses no type: internal/infer collects
// what is in here, package quantize uses it.
package imatrix
