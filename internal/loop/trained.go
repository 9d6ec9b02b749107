package loop

import (
	"math"

	"qtool/internal/kernel/product"
	"qtool/internal/kernel/vector"
	"qtool/internal/nn"
)

// trained is what a run changes: the weights, which lie in a slab with their gradients, and
// what the optimizer remembers of them.
type trained struct {
	*nn.Slab
	optimizer optimizer
	states    [][]float32 // of each name in optimizer.states(): one value for each element of the slab
	updates   int         // steps that were applied
	cost      weightCost
	spans     []span
	squares   []float64 // of each span: the sum of the squares of its gradient
}

// newTrained moves parameters into a slab, with an optimizer that remembers nothing yet.
func newTrained(params []*nn.Param, c *Config) *trained {
	w := &trained{Slab: nn.NewSlab(params), optimizer: optimizers[c.Optimizer](c), cost: weightCostOf(c)}
	for range w.optimizer.states() {
		w.states = append(w.states, make([]float32, len(w.Data)))
	}
	for i := range params {
		from, to := w.Range(i)
		for ; from < to; from += spanElements {
			w.spans = append(w.spans, span{from, min(from+spanElements, to)})
		}
	}
	w.squares = make([]float64, len(w.spans))
	return w
}

// span is a part of the slab that one worker takes at a time, all of one parameter.
type span struct{ from, to int }

// spanElements is the most that a span has: part of what defines the sum of a norm.
const spanElements = 1 << 15

// elements counts the weights.
func (w *trained) elements() (n int64) {
	for _, p := range w.Params {
		n += int64(len(p.Data))
	}
	return n
}

// step applies the gradients, each multiplied by gradScale.
func (w *trained) step(pool *product.Pool, rate, gradScale float64) {
	w.updates++
	w.optimizer.step(pool, w, stepSize{w.updates, rate, gradScale})
}

// clearGradients sets all gradients to zero.
func (w *trained) clearGradients(pool *product.Pool) { pool.Do(len(w.spans), (*clearTask)(w)) }

type clearTask trained

func (w *clearTask) Do(_, part int) {
	s := w.spans[part]
	clear(w.Grad[s.from:s.to])
}

// gradientNorm is the Euclidean norm of all gradients together.
func (w *trained) gradientNorm(pool *product.Pool) float64 {
	pool.Do(len(w.spans), (*squareTask)(w))
	var sum float64
	for _, s := range w.squares {
		sum += s
	}
	return math.Sqrt(sum)
}

type squareTask trained

func (w *squareTask) Do(_, part int) {
	s := w.spans[part]
	v := w.Grad[s.from:s.to]
	w.squares[part] = vector.Dot64(v, v)
}

// snapshot is a copy of what a run changes.
type snapshot struct {
	step    int // after which it was taken
	updates int
	values  [][]float32 // in the order of [trained.values]
}

// values lists the weights and their states.
func (w *trained) values() [][]float32 { return append([][]float32{w.Data}, w.states...) }

// valueNames are what checkpoints append to the names of parameters, in the order of
// values.
func (w *trained) valueNames() []string {
	names := []string{""}
	for _, state := range w.optimizer.states() {
		names = append(names, "."+state)
	}
	return names
}

// capture copies w as it is after a step.
func (s *snapshot) capture(w *trained, step int) {
	values := w.values()
	if s.values == nil {
		s.values = make([][]float32, len(values))
	}
	for i, v := range values {
		s.values[i] = append(s.values[i][:0], v...)
	}
	s.step, s.updates = step, w.updates
}

// restore puts the copy back.
func (s *snapshot) restore(w *trained) {
	for i, v := range w.values() {
		copy(v, s.values[i])
	}
	w.updates = s.updates
}

// exchange swaps the weights with those of the copy, to compute with them for a moment; the
// states stay. A second call swaps them back.
func (s *snapshot) exchange(w *trained) {
	other := s.values[0]
	for i, v := range w.Data {
		w.Data[i], other[i] = other[i], v
	}
}
