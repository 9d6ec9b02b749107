package arch

import (
	"errors"
	"fmt"
	"slices"

	"qtool/gguf"
	"qtool/internal/input"
)

// Counts reads the counts that the metadata of a model claims under an architecture's name:
// of layers, heads, experts, widths. None can be more than the model holds, so that whoever
// reads them here can take memory for as many.
type Counts struct {
	md   *gguf.Metadata
	arch string
	// What there can be of blocks, each of which has a tensor, of all that is the side of a
	// tensor or a part of one, and of experts, which are such a side too.
	blocks, sides, experts input.Limit
}

// CountsOf reads those of m under the name of its architecture.
func CountsOf(m gguf.Model, name string) *Counts {
	largest := 0
	for _, t := range m.Tensors() {
		largest = max(largest, t.Elements())
	}
	sides := input.MostInt32().Lesser(input.Limit{Most: int64(largest), Why: fmt.Sprintf("its largest tensor has %d elements", largest)})
	return &Counts{
		md: m.Metadata(), arch: name, sides: sides,
		blocks:  input.Limit{Most: int64(len(m.Tensors())), Why: fmt.Sprintf("the file has %d tensors", len(m.Tensors()))},
		experts: sides.Lesser(input.Limit{Most: maxExperts, Why: "no model has more"}),
	}
}

const maxExperts = 1 << 16

// Keys that count blocks or experts, and those that count nothing of the file: tokens, or kinds by number.
var (
	countBlocks  = map[string]bool{KeyBlockCount: true, KeyNextNPredictLayers: true, KeyLeadingDenseBlockCount: true}
	countExperts = map[string]bool{
		KeyExpertCount: true, KeyExpertUsedCount: true, KeyExpertSharedCount: true, KeyNZeroExperts: true,
		KeyExpertGroupCount: true, KeyExpertGroupUsedCount: true,
	}
	countNone = map[string]bool{
		KeyContextLength: true, KeyRopeScalingOriginalContextLength: true,
		KeyAttentionSlidingWindow: true, KeyAttentionSlidingWindowPattern: true,
		KeyAttentionTemperatureLength: true, KeyExpertGatingFunc: true,
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
// with [gguf.ErrMissing] if it is not there, with [input.ErrCount] if there cannot be so many.
func (c *Counts) Int(name string, least int) (int, error) {
	key := c.arch + "." + name
	n, err := c.md.Int(key)
	if err != nil {
		return 0, err
	}
	return input.Count(key, n, least, c.limit(name))
}

// ErrLayers is in the chain of the error about a list that does not have one element for
// each layer.
var ErrLayers = errors.New("not one for each layer")

// PerLayer is the count under ARCHITECTURE.name of each layer: files have one for all, or
// a list. One for all is at least least, in a list there may be zeros. With 0 layers a list
// may have any length but 0, and one for all is a list of one. It fails as Int does, or with
// [ErrLayers].
func (c *Counts) PerLayer(name string, layers, least int) ([]int, error) {
	key := c.arch + "." + name
	list, err := c.md.Ints(key)
	if err != nil {
		n, err := c.Int(name, least)
		return slices.Repeat([]int{n}, max(1, layers)), err
	}
	if len(list) == 0 || layers > 0 && len(list) != layers {
		return nil, fmt.Errorf("%w: %s has %d elements for %d layers", ErrLayers, key, len(list), layers)
	}
	for i, n := range list {
		if _, err := input.Count(fmt.Sprintf("%s[%d]", key, i), n, 0, c.limit(name)); err != nil {
			return nil, err
		}
	}
	return list, nil
}
