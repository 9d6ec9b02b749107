package train

import (
	"math"

	"qtool/internal/nn"
)

// AdamW is Adam with decoupled weight decay (Loshchilov and Hutter, 2019), as
// PyTorch computes it.
type AdamW struct {
	Beta1, Beta2, Epsilon, WeightDecay float64

	params  []*nn.Param
	updates int         // applied so far
	m, v    [][]float32 // running means of the gradient and its square
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
func (o *AdamW) Step(rate, gradScale float64) {
	o.updates++
	correct1 := 1 - math.Pow(o.Beta1, float64(o.updates))
	correct2 := math.Sqrt(1 - math.Pow(o.Beta2, float64(o.updates)))
	keep := 1 - rate*o.WeightDecay
	for i, p := range o.params {
		m, v := o.m[i], o.v[i]
		for k, g32 := range p.Grad {
			g := float64(g32) * gradScale
			mk := o.Beta1*float64(m[k]) + (1-o.Beta1)*g
			vk := o.Beta2*float64(v[k]) + (1-o.Beta2)*g*g
			m[k], v[k] = float32(mk), float32(vk)
			step := rate / correct1 * mk / (math.Sqrt(vk)/correct2 + o.Epsilon)
			p.Data[k] = float32(float64(p.Data[k])*keep - step)
		}
	}
}

// gradNorm is the Euclidean norm of all gradients together.
func gradNorm(params []*nn.Param) float64 {
	var sum float64
	for _, p := range params {
		for _, g := range p.Grad {
			sum += float64(g) * float64(g)
		}
	}
	return math.Sqrt(sum)
}
