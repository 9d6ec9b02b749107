// Package infer runs a loaded model: it generates text, scores text, gives raw logits
// and collects the importance of weights.
//
// It may import internal/model, internal/nn, the packages of internal/kernel, internal/tokenizer,
// quantize/imatrix and gguf. It opens no files and prints nothing; results that stream
// go to a function of the caller. It never records a tape.
package infer
