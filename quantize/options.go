package quantize

import "qtool/gguf"

// Options say what to make of a model. Types are named as llama-quantize does, in any
// case.
type Options struct {
	FileType string // one of [FileTypes]
	// Pure gives every weight the base type of FileType, without its mix.
	Pure bool
	// OutputType and EmbeddingType replace the choice for the output head and for the
	// token embedding; "" keeps it. An embedding that serves as head too follows
	// EmbeddingType, TensorTypes and OutputType, in this order.
	OutputType, EmbeddingType string
	// TensorTypes replace the choice for the weights that their patterns find; the first
	// that finds one decides. OutputType and EmbeddingType go before them.
	TensorTypes []TypePattern
	// LeaveOutput keeps output.weight as it is.
	LeaveOutput bool
	// AllowRequantize permits a quantized source, which loses more than a float one.
	AllowRequantize bool
	// PruneLayers are layers to leave out, by number from 0. The others are numbered anew,
	// in tensor names and in what the metadata says of each layer.
	PruneLayers []int
	// Overrides change metadata before anything else looks at it; a later one of the same
	// key wins.
	Overrides []Override
	// Metadata is set as it is, after the overrides.
	Metadata []gguf.KV
	// KeepOrder keeps the tensors in the order of the source. Otherwise they are sorted by
	// layer and name, as llama-quantize does.
	KeepOrder bool
	// Importance is that of the source's weights. nil is no importance at all, which some
	// rules of a mix look at.
	Importance Importance
	// Stored names tensors of the source that hold computed values and the types that they are
	// stored as in the model whose values were computed with. To keep their types means these,
	// for which no importance is asked.
	Stored map[string]gguf.Type
	// Inputs are files beside the model that the plan is made with, such as that of Importance.
	Inputs []gguf.Source
	// DryRun makes a plan also of what would be refused: quantized weights without
	// AllowRequantize, and types that need importance. The notes of the tensors tell.
	DryRun bool
	// Threads is the number of workers; 0 takes one for each CPU. The result does not
	// depend on it.
	Threads int

	free func(*gguf.Tensor) gguf.Type // chooses for what no option decides; nil: the mix
}

// storedAs is the type that t is stored as.
func (o *Options) storedAs(t *gguf.Tensor) gguf.Type {
	if typ, ok := o.Stored[t.Name]; ok {
		return typ
	}
	return t.Type
}
