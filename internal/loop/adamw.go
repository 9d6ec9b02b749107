package loop

import (
	"math"

	"qtool/internal/kernel/product"
	"qtool/internal/kernel/vector"
)

// adamW is Adam with decoupled weight decay (Loshchilov and Hutter, 2019), as
// PyTorch computes it.
type adamW struct {
	beta1, beta2, epsilon, weightDecay float64

	// The step at hand.
	on     *trained
	kernel vector.AdamWStep
}

func newAdamW(c *Config) optimizer {
	return &adamW{beta1: c.Beta1, beta2: c.Beta2, epsilon: c.Epsilon, weightDecay: c.WeightDecay}
}

// states are the running means of the gradient and of its square.
func (o *adamW) states() []string { return []string{"m", "v"} }

func (o *adamW) step(pool *product.Pool, w *trained, s stepSize) {
	o.on = w
	o.kernel = vector.AdamWStep{
		GradScale: s.gradScale,
		Beta1:     o.beta1, Beta2: o.beta2, Rest1: 1 - o.beta1, Rest2: 1 - o.beta2,
		Keep:      1 - s.rate*o.weightDecay,
		Rate:      s.rate / (1 - math.Pow(o.beta1, float64(s.update))),
		RootScale: 1 / math.Sqrt(1-math.Pow(o.beta2, float64(s.update))),
		Epsilon:   o.epsilon,
	}
	pool.Do(len(w.spans), o)
}

// Do implements [work.Task].
func (o *adamW) Do(_, part int) {
	w, s := o.on, o.on.spans[part]
	o.kernel.Apply(w.Data[s.from:s.to], w.Grad[s.from:s.to], w.states[0][s.from:s.to], w.states[1][s.from:s.to])
}
