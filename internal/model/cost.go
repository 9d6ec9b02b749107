package model

import (
	"math"

	"qtool/internal/arch"
)

// Cost is how many bytes a pass reads, by the shapes of tensors. Tokens are taken to spread
// evenly over all experts, identity experts included.
type Cost struct {
	// PassBytes is what one pass reads of the base's blocks, HeadBytes of the head, and
	// LookupBytes of the embedding.
	PassBytes, HeadBytes, LookupBytes float64
}

// Cost is that of batches of rows documents of seq tokens.
func (d *Decoder) Cost(rows, seq int) Cost {
	var c Cost
	tokens := float64(rows) * float64(seq)
	for _, p := range d.sections()[:len(d.blocks)] {
		c.PassBytes += float64(p.bytes)
		if len(p.experts) > 0 {
			c.PassBytes += d.met(tokens) * float64(d.Experts) * float64(p.expertBytes) // without an expert of zeros
		}
	}
	embedding, _ := d.source.Tensor(arch.TokenEmbedding)
	c.LookupBytes = tokens * float64(embedding.RowBytes())
	head, own := d.source.Tensor(arch.Output)
	if !own {
		head = embedding
	}
	c.HeadBytes = float64(head.Size())
	return c
}

// met is the share of the experts that at least one of so many tokens chooses.
func (d *Decoder) met(tokens float64) float64 {
	chosen := float64(d.ExpertsUsed) / float64(d.Experts+d.Router.Identity)
	return 1 - math.Pow(1-chosen, tokens)
}
