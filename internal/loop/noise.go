package loop

import (
	"math"
	"slices"

	"qtool/internal/dataset"
	"qtool/internal/nn"
	"qtool/internal/splitmix"
)

// noise is that of NEFTune (Jain et al., 2023) on the embeddings of a step's rows: uniform,
// up to alpha/√(L·d) in a document of L tokens with embeddings of d elements. It is a pure
// function of the seed, the step, the number of the row in it and the place in the row, so
// that a resumed run meets the same.
type noise struct {
	alpha     float64
	seed      uint64
	step, row int // of the batch to come: its step, and the number of its first row
	tokens    nn.Noise
}

// of is the noise of the rows of a batch; nil if there is none.
func (n *noise) of(rows []dataset.Row, width int) *nn.Noise {
	if n.alpha == 0 {
		return nil
	}
	b := &n.tokens
	b.Keys, b.Magnitudes = b.Keys[:0], b.Magnitudes[:0]
	for i := range rows {
		key := splitmix.Mix(splitmix.Mix(splitmix.Mix(n.seed)+uint64(n.step)) + uint64(n.row+i))
		for place := range rows[i].Len() {
			b.Keys = append(b.Keys, splitmix.Mix(key+uint64(place)))
		}
		for d := range rows[i].Docs {
			length := rows[i].Docs[d].Len()
			b.Magnitudes = slices.Grow(b.Magnitudes, length)
			magnitude := float32(n.alpha / math.Sqrt(float64(length)*float64(width)))
			for range length {
				b.Magnitudes = append(b.Magnitudes, magnitude)
			}
		}
	}
	return b
}
