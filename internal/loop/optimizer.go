package loop

import (
	"fmt"
	"maps"
	"slices"

	"qtool/internal/kernel/product"
)

// optimizer changes weights by their gradients. What it remembers of them from step to
// step is not its own: the run keeps it, copies it, and writes it to checkpoints.
type optimizer interface {
	// states names what is remembered of each weight. Checkpoints append the names to
	// those of parameters, so that they never change.
	states() []string
	// step changes the weights and their states.
	step(pool *product.Pool, w *trained, s stepSize)
}

// stepSize is how far one step goes.
type stepSize struct {
	update    int // it is the update-th that is applied, from 1
	rate      float64
	gradScale float64 // what gradients are multiplied with first
}

// optimizers makes those that Config.Optimizer names; "" is AdamW.
var optimizers = map[string]func(*Config) optimizer{
	"":      newAdamW,
	"adamw": newAdamW,
}

func checkOptimizer(name string) error {
	if optimizers[name] == nil {
		return fmt.Errorf("optimizer %q is not one of %q", name, slices.Sorted(maps.Keys(optimizers))[1:])
	}
	return nil
}

// weightCost is the bytes that are kept of each trained weight, in memory and in a
// checkpoint, and those that a step moves.
type weightCost struct {
	weight, gradient, states, lastGood int64
	checkpoint                         int64
	step                               int64 // read and written, besides what computing the gradient takes
}

// weightCostOf is that of a run with this configuration.
func weightCostOf(c *Config) weightCost {
	const float = 4
	states := float * int64(len(optimizers[c.Optimizer](c).states()))
	w := weightCost{weight: float, gradient: float, states: states, lastGood: float + states}
	w.checkpoint = w.weight + w.states + w.lastGood
	// Weight, gradient and states are read, all but the gradient are written; norm and
	// clearing pass over the gradient once more each.
	w.step = w.weight + w.gradient + w.states + w.weight + w.states + 2*w.gradient
	return w
}

// memory is all that is kept of a weight while the run lasts.
func (w weightCost) memory() int64 { return w.weight + w.gradient + w.states + w.lastGood }

// BytesPerWeight is the memory that a run with this configuration keeps of each trained
// weight.
func BytesPerWeight(c *Config) int64 { return weightCostOf(c).memory() }
