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
	updates int         // applied so far
	m, v    [][]float32 // running means of the gradient and its square
	step    adamStep    // at hand
}

// adamStep is one update as a task over the parameters.
type adamStep struct {
	*AdamW
	rate, gradScale    float64
	correct1, correct2 float64 // of the moments, which began at zero
}

// NewAdamW makes an optimizer with fresh moments for params.
func NewAdamW(params []*nn.Param, beta1, beta2, epsilon, weightDecay float64) *AdamW {
	o := &AdamW{Beta1: beta1, Beta2: beta2, Epsilon: epsilon, WeightDecay: weightDecay, params: params}
	for _, p := range params {
		o.m = append(o.m, make([]float32, len(p.Data)))
		o.v = append(o.v, make([]float32, len(p.Data)))
	}
	return o
}

// Step applies the gradients, each multiplied by gradScale, at learning rate rate.
func (o *AdamW) Step(pool *kernel.Pool, rate, gradScale float64) {
	o.updates++
	o.step = adamStep{
		AdamW: o, rate: rate, gradScale: gradScale,
		correct1: 1 - math.Pow(o.Beta1, float64(o.updates)),
		correct2: math.Sqrt(1 - math.Pow(o.Beta2, float64(o.updates))),
	}
	pool.Do(len(o.params), &o.step)
}

// Do updates one parameter.
func (s *adamStep) Do(_, param int) {
	keep := 1 - s.rate*s.WeightDecay
	p, m, v := s.params[param], s.m[param], s.v[param]
	for k, g32 := range p.Grad {
		g := float64(g32) * s.gradScale
		mk := s.Beta1*float64(m[k]) + (1-s.Beta1)*g
		vk := s.Beta2*float64(v[k]) + (1-s.Beta2)*g*g
		m[k], v[k] = float32(mk), float32(vk)
		step := s.rate / s.correct1 * mk / (math.Sqrt(vk)/s.correct2 + s.Epsilon)
		p.Data[k] = float32(float64(p.Data[k])*keep - step)
	}
}

// gradNorm is the Euclidean norm of all gradients together.
func gradNorm(params []*nn.Param) float64 {
	var sum float64
	for _, p := range params {
		sum += kernel.Dot64(p.Grad, p.Grad)
	}
	return math.Sqrt(sum)
}
