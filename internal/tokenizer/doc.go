// Package tokenizer turns text into token ids and back, with the ids that
// llama.cpp gives: sentencepiece-like BPE driven by scores (model "llama") and
// byte-level BPE driven by merges (model "gpt2").
//
// A [Vocab] is plain data read from GGUF metadata or from a Hugging Face folder;
// a [Tokenizer] is built from it once and is then safe for concurrent use.
//
// It may import gguf, and regexp2 to run what a folder says of its own
// pre-tokenizer. It never guesses: a family or a pre-tokenizer that it does
// not know is refused by name.
package tokenizer
