package model

import (
	"encoding/binary"
	"math"
	"slices"

	"qtool/gguf"
	"qtool/internal/nn"
)

// Snapshot is the model with the current values of trained weights, as F32; the
// other tensors are those of the source.
func (d *Decoder) Snapshot() gguf.Model {
	trained := map[string]*nn.Param{}
	for _, p := range d.params {
		trained[p.Name] = p
	}
	md := d.source.Metadata().Clone()
	md.Set("general.file_type", uint32(0)) // all F32
	var tensors []*gguf.Tensor
	for _, t := range d.source.Tensors() {
		if p, ok := trained[t.Name]; ok {
			data := make([]byte, 0, 4*len(p.Data))
			for _, v := range p.Data {
				data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
			}
			t = &gguf.Tensor{Name: t.Name, Type: gguf.F32, Shape: slices.Clone(t.Shape), Data: gguf.Memory(data)}
		}
		tensors = append(tensors, t)
	}
	return gguf.Assemble(md, tensors)
}
