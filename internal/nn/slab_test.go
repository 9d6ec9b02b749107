package nn

import (
	"slices"
	"testing"

	"qtool/internal/kernel/product"
)

// A weight and a pair are multiplied with the values that lie in the slab, whether they
// were used before or not.
func TestOperatorsFollowParametersIntoASlab(t *testing.T) {
	const in, out, rank, experts = 5, 3, 2, 2
	pool := product.NewPool(1)
	defer pool.Close()
	fill := func(p *Param) *Param {
		for i := range p.Data {
			p.Data[i] = float32(i%7) - 3
		}
		return p
	}
	weight := fill(NewParam("w", in, out, experts))
	a, b := fill(NewParam("a", in, rank, experts)), fill(NewParam("b", rank, out, experts))
	l := &Linear{Weight: ParamWeight(weight), Pair: &LoRAPair{A: a, B: b, Rank: rank, Scale: 1}}
	l.Pair.view(l.Weight)
	s := NewSlab([]*Param{weight, a, b})
	for e := range experts {
		for _, p := range s.Params {
			n := len(p.Data) / experts
			for i := range n {
				p.Data[e*n+i] = float32(100*e + i)
			}
		}
		for r, m := range []*product.Matrix{&l.Expert[e], &l.Pair.a[e], &l.Pair.b[e]} {
			n := m.Rows * m.Cols
			if got := m.Row(m.Rows-1, make([]float32, m.Cols))[m.Cols-1]; got != float32(100*e+n-1) {
				t.Errorf("expert %d of %s: the last element is %g", e, s.Params[r].Name, got)
			}
		}
	}
}

func TestASlabHoldsEachParameterAtARangeOfItsOwn(t *testing.T) {
	var params []*Param
	for i, n := range []int{1, 16, 17, 0, 33} {
		p := NewParam(string(rune('a'+i)), n)
		for k := range p.Data {
			p.Data[k] = float32(i + 1)
		}
		params = append(params, p)
	}
	s := NewSlab(params)
	if again := NewSlab(params); again != s {
		t.Error("parameters that are a slab were moved")
	}
	owners := make([]int, len(s.Data))
	for i, p := range params {
		from, to := s.Range(i)
		if to-from != len(p.Data) || from%16 != 0 || !p.Trainable() {
			t.Errorf("parameter %d lies at %d to %d", i, from, to)
		}
		p.Data = append(p.Data, 99) // cannot reach into the next one
		for k := from; k < to; k++ {
			owners[k]++
			s.Grad[k] = float32(i + 1)
		}
		if slices.ContainsFunc(p.Grad, func(g float32) bool { return g != float32(i+1) }) {
			t.Errorf("the gradient of parameter %d lies elsewhere", i)
		}
	}
	for k, n := range owners {
		if n > 1 || n == 0 && s.Data[k] != 0 {
			t.Errorf("element %d belongs to %d parameters and is %g", k, n, s.Data[k])
		}
	}
}
