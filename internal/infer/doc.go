// Package infer runs a loaded model: it generates text, scores text and gives raw
// logits.
//
// It may import internal/model, internal/nn, internal/kernel and
// internal/tokenizer. It opens no files and prints nothing; results that stream
// go to a function of the caller. It never records a tape.
package infer
