package nn

import (
	"math"
	"math/rand/v2"
	"testing"

	"qtool/internal/kernel/product"
)

// One token with the experts that it chose, with biases and with pairs of all experts
// or of some, gives what products of many tokens give, but for rounding.
func TestOneTokenIsMultipliedAsManyAre(t *testing.T) {
	const in, out, rank, experts = 48, 70, 16, 5
	groups := []int32{0, 1, 1, 2, 3} // the last expert is one that no group has
	for _, some := range []bool{false, true} {
		rng := rand.New(rand.NewPCG(41, 42))
		pair := pairOf(rng, in, out, rank, experts)
		if some {
			pair = pairOf(rng, in, out, rank, 2)
			pair.Experts = []int32{0, 2}
		}
		l := &Linear{Weight: ParamWeight(randomParam(rng, "w", in, out, experts)), Bias: randomParam(rng, "bias", out, experts), Pair: pair}
		x := randomParam(rng, "x", in, 3)
		pool := product.NewPool(2)
		defer pool.Close()
		tape := NewTape(pool)
		results := func(oneToken bool) []float32 {
			tape.Reset(false)
			v := Constant(x.Data, 3, in)
			v.oneToken = oneToken
			return append([]float32(nil), tape.ExpertLinears(v, groups, l)[0].Data...)
		}
		one, many := results(true), results(false)
		for i := range one {
			if math.Abs(float64(one[i]-many[i])) > 1e-5*(1+math.Abs(float64(many[i]))) {
				t.Fatalf("pairs of some %v: element %d is %g alone and %g among others", some, i, one[i], many[i])
			}
		}
	}
}
