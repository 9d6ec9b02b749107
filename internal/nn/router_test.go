package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"qtool/internal/kernel/product"
)

// routerCases are specifications for 8 experts of which the last may be identity.
func routerCases() map[string]RouterSpec {
	bias := NewParam("bias", 8)
	for e := range bias.Data {
		bias.Data[e] = 0.2 * float32(e%3)
	}
	odd := NewParam("bias", 8)
	for e := 1; e < 8; e += 2 {
		odd.Data[e] = 2
	}
	return map[string]RouterSpec{
		"softmax":             {Used: 2},
		"softmax, normalized": {Used: 3, Normalize: true, Scale: 1.5},
		"sigmoid":             {Gating: GateSigmoid, Used: 2, Scale: 0.5},
		"sigmoid, normalized": {Gating: GateSigmoid, Used: 3, Normalize: true},
		"sigmoid in groups":   {Gating: GateSigmoid, Used: 3, Normalize: true, Scale: 2.5, Bias: bias, Groups: 4, GroupsUsed: 2},
		"softmax in groups":   {Used: 2, Scale: 16, Groups: 2, GroupsUsed: 1},
		"of the chosen":       {Gating: GateChosen, Used: 3},
		"identity":            {Used: 4, Identity: 3, Bias: odd, Scale: 6},
	}
}

// routerLogits are so far apart that no small difference changes a choice.
func routerLogits(tokens int) *Param {
	p := NewParam("logits", 8, tokens)
	p.Train()
	for i := range p.Data {
		p.Data[i] = 0.31*float32((i*5)%8) - 0.13*float32((i*3)%7)
	}
	return p
}

func TestGradientsOfExpertsEqualCentralDifferences(t *testing.T) {
	for name, s := range routerCases() {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(11, 12))
			const tokens, n = 6, 4
			x, w, b := randomParam(rng, "x", n, tokens), randomParam(rng, "w", n, n, 8-s.Identity), randomParam(rng, "bias", n, 8-s.Identity)
			logits := routerLogits(tokens)
			checkGradients(t, graph{[]*Param{x, w, b, logits}, func(t *Tape) (*Var, float64) {
				x := variable(t, x)
				r := t.Route(variable(t, logits), s)
				return t.Combine(t.ExpertLinears(t.Gather(x, r), r.Groups, &Linear{Weight: ParamWeight(w), Bias: b})[0], x, r), 0
			}})
		})
	}
}

func TestGradientsOfRouterLossesEqualCentralDifferences(t *testing.T) {
	for name, s := range routerCases() {
		for _, l := range []RouterLoss{{Balance: 0.7}, {Z: 0.3}, {Balance: 1.1, Z: 0.2}} {
			t.Run(fmt.Sprint(name, l.Balance, l.Z), func(t *testing.T) {
				pool := product.NewPool(2)
				defer pool.Close()
				tape, logits := NewTape(pool), routerLogits(5)
				loss := func() float64 {
					tape.Reset(true)
					tape.RouterLoss = &RouterLoss{Balance: l.Balance, Z: l.Z}
					tape.Route(variable(tape, logits), s)
					return l.Balance*tape.RouterLoss.BalanceSum + l.Z*tape.RouterLoss.ZSum
				}
				loss()
				tape.Backward()
				for i := range logits.Data {
					const h = 1e-2
					was := logits.Data[i]
					logits.Data[i] = was + h
					up := loss()
					logits.Data[i] = was - h
					down := loss()
					logits.Data[i] = was
					if want := (up - down) / (2 * h); math.Abs(float64(logits.Grad[i])-want) > 1e-4*(1+math.Abs(want)) {
						t.Fatalf("d loss / d logits[%d] = %g, central difference %g", i, logits.Grad[i], want)
					}
				}
			})
		}
	}
}

func TestTheBalanceLossIsOneForEqualLoad(t *testing.T) {
	pool := product.NewPool(1)
	defer pool.Close()
	tape := NewTape(pool)
	tape.Reset(true)
	tape.RouterLoss = &RouterLoss{}
	// Every token prefers another expert, all by as much.
	logits := NewParam("logits", 8, 8)
	for tok := range 8 {
		logits.Data[tok*8+tok] = 3
	}
	tape.Route(variable(tape, logits), RouterSpec{Used: 1})
	if l := tape.RouterLoss; math.Abs(l.BalanceSum-1) > 1e-6 || l.Routers != 1 {
		t.Errorf("the balance loss is %g over %d routers", l.BalanceSum, l.Routers)
	}
}

func TestExpertsAreChosenByBiasedScoresWithinTheBestGroups(t *testing.T) {
	pool := product.NewPool(1)
	defer pool.Close()
	tape := NewTape(pool)
	logits := []float32{3, -9, 2, 2, 1, 0, 0.5, 0.5}
	bias := &Param{Data: []float32{0, 0, 0, 0, 0, 0, 0.9, 0}}
	for _, c := range []struct {
		spec RouterSpec
		want []int32
	}{
		{RouterSpec{Used: 3}, []int32{0, 2, 3}}, // of equals the first
		{RouterSpec{Gating: GateChosen, Used: 8}, []int32{0, 2, 3, 4, 6, 7, 5, 1}},
		{RouterSpec{Gating: GateSigmoid, Used: 2, Bias: bias}, []int32{6, 0}},
		// Expert 0 is the best, but two good ones make a better group than it with a bad one.
		{RouterSpec{Gating: GateChosen, Used: 2, Groups: 4, GroupsUsed: 1}, []int32{2, 3}},
		{RouterSpec{Gating: GateSigmoid, Used: 3, Groups: 4, GroupsUsed: 2, Bias: bias}, []int32{6, 2, 3}},
	} {
		tape.Reset(false)
		load := &Load{Unrecorded: true}
		c.spec.Load = load
		r := tape.Route(Constant(logits, 1, 8), c.spec)
		if !slices.Equal(r.Expert, c.want) {
			t.Errorf("%+v chooses %v, want %v", c.spec, r.Expert, c.want)
		}
		if load.Tokens != 1 || load.Chosen[c.want[0]] != 1 {
			t.Errorf("%+v counts %+v", c.spec, load)
		}
	}
}

// The three forms of what attention with latent keys and values computes with a
// matrix per head.
func TestKeysOfALatentScoreAsQueriesTakenToTheLatent(t *testing.T) {
	pool := product.NewPool(2)
	defer pool.Close()
	tape := NewTape(pool)
	tape.Reset(false)
	rng := rand.New(rand.NewPCG(3, 4))
	const heads, nope, latent, rotated, rows = 3, 5, 7, 2, 40
	k, v := randomParam(rng, "k", nope, latent, heads), randomParam(rng, "v", latent, 4, heads)
	c, kp := randomParam(rng, "c", latent, rows), randomParam(rng, "kp", rotated, rows)
	qn, qp := randomParam(rng, "qn", heads*nope, rows), randomParam(rng, "qp", heads*rotated, rows)
	spec := AttentionSpec{Heads: heads, KVHeads: heads, HeadDim: nope + rotated, ValueDim: 4, Scale: 0.3, First: make([]int32, rows)}
	wk, wv := ParamWeight(k), ParamWeight(v)
	x := variable(tape, c)
	expanded := tape.Attention(
		tape.JoinHeads(variable(tape, qn), variable(tape, qp), heads, rotated),
		tape.JoinHeads(tape.HeadLinear(x, wk, true), variable(tape, kp), heads, rotated),
		tape.HeadLinear(x, wv, false), spec)
	spec.KVHeads, spec.HeadDim, spec.ValueDim = 1, latent+rotated, latent
	absorbed := tape.HeadLinear(tape.Attention(
		tape.JoinHeads(tape.HeadLinear(variable(tape, qn), wk, false), variable(tape, qp), heads, rotated),
		tape.JoinHeads(x, variable(tape, kp), 1, rotated), x, spec), wv, false)
	for i, want := range expanded.Data {
		if math.Abs(float64(absorbed.Data[i]-want)) > 1e-5 {
			t.Fatalf("element %d: %g and %g", i, absorbed.Data[i], want)
		}
	}
}
