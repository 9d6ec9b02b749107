// Package convert shows a Hugging Face folder as a GGUF model. It renames,
// reorders and stacks; bytes are computed when they are read.
//
// A family of architectures is a row of one table: which config.json fields
// become which keys, and how its blocks differ from those of the others. Of that
// follows a list of recipes, which say from which Hugging Face tensors each GGUF
// tensor is made.
//
// The same recipes say which rows of which weight are which rows of which tensor
// ([Layout]); by that internal/peft carries LoRA adapters from PEFT's form to GGUF and back.
//
// It may import gguf, safetensors, internal/half and internal/tokenizer. It never quantizes
// and never holds a whole tensor in memory.
package convert
