package peft

import (
	"fmt"

	"qtool/gguf"
	"qtool/internal/convert"
)

// Pairs are those of an adapter in GGUF, for the weights of a folder.
type Pairs struct {
	layout *convert.Layout
	of     map[*convert.Target][]*pair
}

// Matrix is a pair on one matrix: B·A is added to it, with the scale in B.
type Matrix struct {
	Rank int
	A, B []float32 // [rank rows of in] and [out rows of rank]
}

// ReadPairs reads an adapter as [FromGGUF] does.
func ReadPairs(l *convert.Layout, adapter gguf.Model) (*Pairs, error) {
	of, err := readTargets(l, adapter)
	if err != nil {
		return nil, fmt.Errorf("converting the adapter to the folder's weights: %w", err)
	}
	return &Pairs{l, of}, nil
}

// On is the change of each matrix of a weight, all of one rank; nil if none changes.
func (p *Pairs) On(x *convert.Weight) []Matrix {
	var out []Matrix
	for _, q := range onWeight(x, p.of) {
		q.scaled(1, 1)
		out = append(out, Matrix{q.rank, q.a, q.b})
	}
	return out
}

// Missing is a tensor of which some rows have a pair and are in none of the given weights; "" if
// there is none.
func (p *Pairs) Missing(weights []*convert.Weight) string {
	rows := map[*convert.Target][]int{}
	for _, w := range weights {
		for _, c := range w.Overlaps {
			if rows[c.Target] == nil {
				rows[c.Target] = make([]int, max(1, c.Target.Matrices))
			}
			n := c.N
			if c.Transposed { // it has columns of the matrix, each with all rows
				n = c.Target.Rows()
			}
			rows[c.Target][c.Matrix] += n
		}
	}
	for _, t := range p.layout.Targets {
		for m, q := range p.of[t] {
			ofZeros := t.Zeros > 0 && m >= t.Matrices-t.Zeros
			if q != nil && !ofZeros && (rows[t] == nil || rows[t][m] < t.Rows()) {
				return t.Name
			}
		}
	}
	return ""
}
