package gguf

import (
	"fmt"

	"qtool/internal/input"
)

// Counts reads the counts that the metadata of a model claims under an architecture's name:
// of layers, heads, experts, widths. None can be more than the model holds, so that whoever
// reads them here can take memory for as many.
type Counts struct {
	md   *Metadata
	arch string
	// What there can be of blocks, each of which has a tensor, of all that is the side of a
	// tensor or a part of one, and of experts, which are such a side too.
	blocks, sides, experts input.Limit
}

// CountsOf reads those of m under the name of its architecture.
func CountsOf(m Model, arch string) *Counts {
	largest := 0
	for _, t := range m.Tensors() {
		largest = max(largest, t.Elements())
	}
	sides := input.MostInt32().Lesser(input.Limit{Most: int64(largest), Why: fmt.Sprintf("its largest tensor has %d elements", largest)})
	return &Counts{
		md: m.Metadata(), arch: arch, sides: sides,
		blocks:  input.Limit{Most: int64(len(m.Tensors())), Why: fmt.Sprintf("the file has %d tensors", len(m.Tensors()))},
		experts: sides.Lesser(input.Limit{Most: maxExperts, Why: "no model has more"}),
	}
}

const maxExperts = 1 << 16

// Keys that count blocks or experts, and those that count nothing of the file: tokens, or kinds by number.
var (
	countBlocks  = map[string]bool{"block_count": true, "nextn_predict_layers": true, "leading_dense_block_count": true}
	countExperts = map[string]bool{
		"expert_count": true, "expert_used_count": true, "expert_shared_count": true, "n_zero_experts": true,
		"expert_group_count": true, "expert_group_used_count": true,
	}
	countNone = map[string]bool{
		"context_length": true, "rope.scaling.original_context_length": true,
		"attention.sliding_window": true, "attention.sliding_window_pattern": true,
		"attention.temperature_length": true, "expert_gating_func": true,
	}
)

func (c *Counts) limit(name string) input.Limit {
	switch {
	case countBlocks[name]:
		return c.blocks
	case countExperts[name]:
		return c.experts
	case countNone[name]:
		return input.MostInt32()
	}
	return c.sides
}

// Int is the count under ARCHITECTURE.name, from least to what the model holds. It fails
// with [ErrMissing] if it is not there, with [input.ErrCount] if there cannot be so many.
func (c *Counts) Int(name string, least int) (int, error) {
	key := c.arch + "." + name
	n, err := c.md.Int(key)
	if err != nil {
		return 0, err
	}
	return input.Count(key, n, least, c.limit(name))
}

// Ints is the list of counts under ARCHITECTURE.name, such as one for each layer.
func (c *Counts) Ints(name string, least int) ([]int, error) {
	key := c.arch + "." + name
	all, err := c.md.Ints(key)
	if err != nil {
		return nil, err
	}
	for i, n := range all {
		if _, err := input.Count(fmt.Sprintf("%s[%d]", key, i), n, least, c.limit(name)); err != nil {
			return nil, err
		}
	}
	return all, nil
}
