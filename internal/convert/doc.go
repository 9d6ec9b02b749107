// Package convert shows a Hugging Face folder as a GGUF model. It renames,
// reorders and stacks; bytes are computed when they are read.
//
// A family of architectures is a row of one table: which config.json fields
// become which keys, and how its blocks differ from those of the others. Of that
// follows a list of recipes, which say from which Hugging Face tensors each GGUF
// tensor is made.
//
// It may import gguf, safetensors, internal/half and internal/tokenizer. It
// never quantizes and never holds a whole tensor of the source in memory.
package convert
