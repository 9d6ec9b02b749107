package train

import (
	"math"

	"qtool/internal/kernel"
	"qtool/internal/nn"
)

// AdamW is Adam with decoupled weight decay (Loshchilov and Hutter, 2019), as
// PyTorch computes it.
type AdamW struct {
	Beta1, Beta2, Epsilon, WeightDecay float64

	params  []*nn.Param
	spans   spans
	updates int         // applied so far
	m, v    [][]float32 // running means of the gradient and its square
	step    kernel.AdamWStep
}

// NewAdamW makes an optimizer with fresh moments for params.
func NewAdamW(params []*nn.Param, beta1, beta2, epsilon, weightDecay float64) *AdamW {
	o := &AdamW{Beta1: beta1, Beta2: beta2, Epsilon: epsilon, WeightDecay: weightDecay, params: params, spans: spansOf(params)}
	for _, p := range params {
		o.m = append(o.m, make([]float32, len(p.Data)))
		o.v = append(o.v, make([]float32, len(p.Data)))
	}
	return o
}

// Step applies the gradients, each multiplied by gradScale, at learning rate rate.
func (o *AdamW) Step(pool *kernel.Pool, rate, gradScale float64) {
	o.updates++
	o.step = kernel.AdamWStep{
		GradScale: gradScale,
		Beta1:     o.Beta1, Beta2: o.Beta2, Rest1: 1 - o.Beta1, Rest2: 1 - o.Beta2,
		Keep:      1 - rate*o.WeightDecay,
		Rate:      rate / (1 - math.Pow(o.Beta1, float64(o.updates))),
		RootScale: 1 / math.Sqrt(1-math.Pow(o.Beta2, float64(o.updates))),
		Epsilon:   o.Epsilon,
	}
	pool.Do(len(o.spans), (*adamWTask)(o))
}

type adamWTask AdamW

func (o *adamWTask) Do(_, part int) {
	s := o.spans[part]
	p := o.params[s.param]
	o.step.Apply(p.Data[s.from:s.to], p.Grad[s.from:s.to], o.m[s.param][s.from:s.to], o.v[s.param][s.from:s.to])
}

// span is a part of a parameter that one worker takes at a time.
type span struct{ param, from, to int }

type spans []span

// spanElements is the size of a span: part of what defines the sum of a norm.
const spanElements = 1 << 15

func spansOf(params []*nn.Param) (all spans) {
	for i, p := range params {
		for from := 0; from < len(p.Data); from += spanElements {
			all = append(all, span{i, from, min(from+spanElements, len(p.Data))})
		}
	}
	return all
}

// gradients are those of all parameters together.
type gradients struct {
	params []*nn.Param
	spans  spans
	sums   []float64 // of the squares of each span
}

func newGradients(params []*nn.Param) *gradients {
	g := &gradients{params: params, spans: spansOf(params)}
	g.sums = make([]float64, len(g.spans))
	return g
}

func (g *gradients) of(part int) []float32 {
	s := g.spans[part]
	return g.params[s.param].Grad[s.from:s.to]
}

// clear sets all to zero.
func (g *gradients) clear(pool *kernel.Pool) { pool.Do(len(g.spans), (*clearTask)(g)) }

type clearTask gradients

func (c *clearTask) Do(_, part int) { clear((*gradients)(c).of(part)) }

// norm is their Euclidean norm.
func (g *gradients) norm(pool *kernel.Pool) float64 {
	pool.Do(len(g.spans), (*squareTask)(g))
	var sum float64
	for _, s := range g.sums {
		sum += s
	}
	return math.Sqrt(sum)
}

type squareTask gradients

func (s *squareTask) Do(_, part int) {
	v := (*gradients)(s).of(part)
	s.sums[part] = kernel.Dot64(v, v)
}
