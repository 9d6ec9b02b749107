// Package convert shows a Hugging Face folder as a GGUF model. It renames,
// reorders and stacks; bytes are computed when they are read.
//
// A family of architectures is one file: which config.json fields become which
// keys, and a list of recipes that say from which Hugging Face tensors each
// GGUF tensor is made.
//
// It may import gguf, safetensors, internal/half and internal/tokenizer. It
// never quantizes and never holds a whole tensor of the source in memory.
package convert
