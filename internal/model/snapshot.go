package model

import (
	"qtool/gguf"
	"qtool/internal/nn"
)

// MappedBytes is the size of the tensors that are used where the source holds
// them: in its mapping, if it is a file.
func (d *Decoder) MappedBytes() (n int64) {
	if len(d.params) > 0 {
		return 0 // all were copied
	}
	for _, t := range d.source.Tensors() {
		if t.Viewed() {
			n += t.Size()
		}
	}
	return n
}

// CopiedBytes is the size of the tensors that the source computes when they are read, as a
// Hugging Face folder does. They are kept in memory.
func (d *Decoder) CopiedBytes() int64 {
	if len(d.params) > 0 {
		return 0 // they are parameters
	}
	return d.SourceBytes() - d.MappedBytes()
}

// SourceBytes is the size of all tensors of the source.
func (d *Decoder) SourceBytes() (n int64) {
	for _, t := range d.source.Tensors() {
		n += t.Size()
	}
	return n
}

// Source is what the decoder was made of.
func (d *Decoder) Source() gguf.Source { return d.source.Model }

// Snapshot is the model with its trained weights, as F32 in their own memory; the
// other tensors are those of the source, without scales that trained weights hold.
func (d *Decoder) Snapshot() gguf.Model {
	trained := map[string]*nn.Param{}
	for _, p := range d.params {
		trained[p.Name] = p
	}
	md := d.source.Metadata().Clone()
	md.Set("general.file_type", uint32(0)) // all F32
	var tensors []*gguf.Tensor
	for _, t := range d.source.Tensors() {
		if d.dropped[t.Name] {
			continue
		}
		if p, ok := trained[t.Name]; ok {
			t = gguf.Float32Tensor(t.Name, t.Shape, p.Data)
		}
		tensors = append(tensors, t)
	}
	return gguf.Assemble(md, tensors, d.source)
}
