package model

import (
	"math"
	"strings"

	"qtool/gguf"
)

// Cost is what passes over a decoder cost, by its shapes and by how its router is
// meant to spread tokens: evenly over all experts, identity experts included.
type Cost struct {
	BlockWeights float64 // of the blocks' weights, those that one token is multiplied with
	HeadWeights  float64 // and those of the head
	// Attention is the multiplications of one token with keys and values, on average.
	Attention float64
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
			weights, read := d.share(t, tokens)
			c.BlockWeights += weights
			c.PassBytes += read
		}
	}
	for l := range d.Layers {
		seen := float64(seq+1) / 2
		if w := float64(d.Window); d.windowed(l) && w < float64(seq) {
			seen = w - w*(w-1)/2/float64(seq)
		}
		c.Attention += seen * float64(d.Heads[l]) * float64(d.HeadDim+d.ValueDim)
	}
	c.HeadWeights = float64(d.Vocabulary) * float64(d.Embedding)
	embedding, _ := d.source.Tensor("token_embd.weight")
	c.LookupBytes = tokens * float64(embedding.RowBytes())
	head, own := d.source.Tensor("output.weight")
	if !own {
		head = embedding
	}
	c.HeadBytes = float64(head.Size())
	return c
}

// share is how many weights of t one token is multiplied with, and how many bytes of t
// a batch reads.
func (d *Decoder) share(t *gguf.Tensor, tokens float64) (weights, read float64) {
	size := float64(t.Size())
	switch {
	case len(t.Shape) < 2 || strings.HasSuffix(t.Name, ".bias"):
		return 0, size
	case len(t.Shape) < 3 || !strings.Contains(t.Name, "_exps."):
		return float64(t.Elements()), size
	}
	chosen := float64(d.ExpertsUsed) / float64(d.Experts+d.Router.Identity)
	met := 1 - math.Pow(1-chosen, tokens)
	stack := float64(d.Experts) / float64(t.Shape[2]) // without an expert of zeros
	return float64(t.Elements()) * stack * chosen, size * stack * met
}
