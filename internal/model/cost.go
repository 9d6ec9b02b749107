package model

import (
	"math"
	"strings"

	"qtool/gguf"
)

// Cost is what passes over a decoder read, by its shapes and by how its router is
// meant to spread tokens: evenly over all experts, identity experts included.
type Cost struct {
	// PassBytes is what one pass reads of the base's blocks, HeadBytes of the head, and
	// LookupBytes of the embedding.
	PassBytes, HeadBytes, LookupBytes float64
}

// Cost is that of batches of rows documents of seq tokens.
func (d *Decoder) Cost(rows, seq int) Cost {
	var c Cost
	tokens := float64(rows) * float64(seq)
	for _, p := range d.parts()[:len(d.blocks)] {
		for _, t := range p.tensors {
			c.PassBytes += d.read(t, tokens)
		}
	}
	embedding, _ := d.source.Tensor("token_embd.weight")
	c.LookupBytes = tokens * float64(embedding.RowBytes())
	head, own := d.source.Tensor("output.weight")
	if !own {
		head = embedding
	}
	c.HeadBytes = float64(head.Size())
	return c
}

// read is how many bytes of t a batch reads.
func (d *Decoder) read(t *gguf.Tensor, tokens float64) float64 {
	size := float64(t.Size())
	if len(t.Shape) < 3 || !strings.Contains(t.Name, "_exps.") {
		return size
	}
	chosen := float64(d.ExpertsUsed) / float64(d.Experts+d.Router.Identity)
	met := 1 - math.Pow(1-chosen, tokens)
	return size * float64(d.Experts) / float64(t.Shape[2]) * met // without an expert of zeros
}
