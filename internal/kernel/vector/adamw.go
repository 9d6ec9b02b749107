package vector

import (
	"math"
	"unsafe"
)

// AdamWStep are the numbers of one step of AdamW that all elements share.
type AdamWStep struct {
	GradScale    float64 // what gradients are multiplied with first
	Beta1, Beta2 float64 // how much of the running means is kept
	Rest1, Rest2 float64 // 1-Beta1, 1-Beta2
	Keep         float64 // of a weight: 1 - rate·decay
	Rate         float64 // divided by the correction of the first mean
	RootScale    float64 // 1 / sqrt(correction of the second mean)
	Epsilon      float64
}

// Apply takes the step for weights w with gradients g and running means m of
// the gradient and v of its square, all of one length. In float64, unfused:
//
//	g' = g·GradScale
//	m = m·Beta1 + Rest1·g',  v = v·Beta2 + Rest2·g'·g'
//	w = w·Keep - Rate·m / (sqrt(v)·RootScale + Epsilon)
func (s *AdamWStep) Apply(w, g, m, v []float32) {
	n := len(w)
	whole := 0
	if f := active().adamW; f != nil {
		whole = n &^ (adamWLanes - 1)
		f(s, start(w, whole), start(g, whole), start(m, whole), start(v, whole), whole)
	}
	adamWGo(s, start(w, n), start(g, n), start(m, n), start(v, n), whole, n)
}

// adamWLanes divides the lengths that assembly is given.
const adamWLanes = 8

// adamWGo is the step for elements from to n-1.
func adamWGo(s *AdamWStep, w, g, m, v *float32, from, n int) {
	ws, gs, ms, vs := unsafe.Slice(w, n), unsafe.Slice(g, n), unsafe.Slice(m, n), unsafe.Slice(v, n)
	for i := from; i < n; i++ {
		grad := float64(gs[i]) * s.GradScale
		mean := float64(float64(ms[i])*s.Beta1) + float64(s.Rest1*grad)
		square := float64(float64(vs[i])*s.Beta2) + float64(float64(s.Rest2*grad)*grad)
		ms[i], vs[i] = float32(mean), float32(square)
		step := float64(s.Rate*mean) / (float64(math.Sqrt(square)*s.RootScale) + s.Epsilon)
		ws[i] = float32(float64(float64(ws[i])*s.Keep) - step)
	}
}
