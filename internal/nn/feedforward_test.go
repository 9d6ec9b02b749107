package nn

import (
	"math/rand/v2"
	"slices"
	"testing"

	bf16 "qtool/internal/half"
	"qtool/internal/kernel/product"
	"qtool/internal/sharedtest"
)

// encodedLinear is a random weight stored as bfloat16, with a LoRA pair that is trained.
func encodedLinear(rng *rand.Rand, name string, in, out, rank int) *Linear {
	p := randomParam(rng, name, in, out)
	data := make([]byte, 2*len(p.Data))
	for i, v := range p.Data {
		b := bf16.ToBFloat16(v)
		data[2*i], data[2*i+1] = byte(b), byte(b>>8)
	}
	m := product.EncodedMatrix(data, out, in, 2*in, func(dst []float32, src []byte) {
		for i := range dst {
			dst[i] = bf16.FromBFloat16(uint16(src[2*i]) | uint16(src[2*i+1])<<8)
		}
	})
	return &Linear{Weight: FrozenWeight(name, m), Pair: &LoRAPair{
		A: randomParam(rng, name+".A", in, rank), B: randomParam(rng, name+".B", rank, out), Rank: rank, Scale: 0.5,
	}}
}

// What is kept in bfloat16 would be rounded to it later anyway; only the gradient of the
// activation sees a difference.
func TestAFeedForwardNetworkKeptInBFloat16IsTheOneOfItsOperators(t *testing.T) {
	pool := product.NewPool(2)
	defer pool.Close()
	pool.SetPrecision(product.Auto)
	if !pool.Rounds() {
		t.Skip("this tier has no bfloat16")
	}
	const tokens, n, width = 33, 48, 1100
	for name, a := range map[string]Activation{"SwiGLU": SwiGLU, "GeGLU": GeGLU, "ClampedSwiGLU": ClampedSwiGLU} {
		limit := 2e-5
		if name == "ClampedSwiGLU" { // rounding takes some arguments to the bound, where the slope jumps
			limit = 5e-3
		}
		rng := rand.New(rand.NewPCG(41, 42))
		gate, up, down := encodedLinear(rng, "gate", n, width, 4), encodedLinear(rng, "up", n, width, 4), encodedLinear(rng, "down", width, n, 4)
		x, w, dy := randomParam(rng, "x", n, tokens), randomParam(rng, "norm", n), randomParam(rng, "dy", n, tokens).Data
		params := []*Param{x, w}
		for _, l := range []*Linear{gate, up, down} {
			params = append(params, l.Pair.A, l.Pair.B)
		}
		run := func(f func(t *Tape, x *Var) *Var) (y []float32, grads [][]float32) {
			return passes(pool, params, x, dy, f)
		}
		y, grads := run(func(t *Tape, x *Var) *Var {
			return t.FeedForward(t.RMSNormFor([]*Linear{gate, up}, x, w, 1e-5), gate, up, down, a)
		})
		want, wantGrads := run(func(t *Tape, x *Var) *Var {
			h := t.Linears(t.RMSNorm(x, w, 1e-5), gate, up)
			return t.Linear(t.Gated(h[0], h[1], a), down)
		})
		if !slices.Equal(y, want) {
			t.Errorf("%s: another result", name)
		}
		for i, p := range params {
			if e := sharedtest.NMSE(grads[i], wantGrads[i]); !(e < limit) {
				t.Errorf("%s: NMSE of the gradient of %s %.2g", name, p.Name, e)
			}
		}
	}
}

// passes runs f forward and, from dy, backward, and returns its result and the gradients.
func passes(pool *product.Pool, params []*Param, x *Param, dy []float32, f func(t *Tape, x *Var) *Var) (y []float32, grads [][]float32) {
	for _, p := range params {
		clear(p.Grad)
	}
	tape := NewTape(pool)
	tape.Reset(true)
	v := f(tape, variable(tape, x))
	y = slices.Clone(v.Data)
	v.grad = slices.Clone(dy)
	tape.Backward()
	for _, p := range params {
		grads = append(grads, slices.Clone(p.Grad))
	}
	return y, grads
}

func TestAFeedForwardNetworkInFloat32IsTheOneOfItsOperatorsBitForBit(t *testing.T) {
	pool := product.NewPool(2)
	defer pool.Close()
	const tokens, n, width = 33, 48, 1100
	rng := rand.New(rand.NewPCG(43, 44))
	gate, up, down := encodedLinear(rng, "gate", n, width, 4), encodedLinear(rng, "up", n, width, 4), encodedLinear(rng, "down", width, n, 4)
	x, dy := randomParam(rng, "x", n, tokens), randomParam(rng, "dy", n, tokens).Data
	pair := down.Pair
	for _, trained := range []string{"all", "all but down", "down"} {
		params, in := []*Param{pair.A, pair.B}, variable
		if down.Pair = pair; trained == "all but down" {
			down.Pair, params = nil, nil
		}
		if trained == "down" { // no gradient flows through the activation
			gate.Pair, up.Pair = nil, nil
			in = func(_ *Tape, p *Param) *Var { return Constant(p.Data, tokens, n) }
		} else {
			params = append(params, x, gate.Pair.A, gate.Pair.B, up.Pair.A, up.Pair.B)
		}
		y, grads := passes(pool, params, x, dy, func(t *Tape, _ *Var) *Var {
			return t.FeedForward(in(t, x), gate, up, down, SwiGLU)
		})
		want, wantGrads := passes(pool, params, x, dy, func(t *Tape, _ *Var) *Var {
			h := t.Linears(in(t, x), gate, up)
			return t.Linear(t.Gated(h[0], h[1], SwiGLU), down)
		})
		if !slices.Equal(y, want) {
			t.Errorf("%s: another result", trained)
		}
		for i, p := range params {
			if !slices.Equal(grads[i], wantGrads[i]) {
				t.Errorf("%s: another gradient of %s", trained, p.Name)
			}
		}
	}
}
