package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"qtool/internal/kernel/product"
	"qtool/internal/kernel/vector"
)

// objectives are ways to score four rows.
func objectives() map[string]Targets {
	ids := []int32{3, NotScored, 149, 64}
	return map[string]Targets{
		"plain":               {IDs: ids},
		"weighted":            {IDs: ids, Weights: []float32{0.5, 0, 2, 1}},
		"smoothed":            {IDs: ids, Smoothing: 0.3},
		"weighted and smooth": {IDs: ids, Weights: []float32{3, 0, 0.25, 1}, Smoothing: 0.1},
	}
}

func TestGradientsOfCrossEntropyEqualCentralDifferences(t *testing.T) {
	const tokens, n, seed = 4, 5, 0.25
	for name, targets := range objectives() {
		for _, softcap := range []float32{0, 2} {
			rng := rand.New(rand.NewPCG(13, 14))
			x := randomParam(rng, "x", n, tokens)
			t.Run(fmt.Sprintf("%s, trained head, softcap %g", name, softcap), func(t *testing.T) {
				const vocabulary = 150
				w, b := randomParam(rng, "w", n, vocabulary), randomParam(rng, "bias", vocabulary)
				p := pairOf(rng, n, vocabulary, 2, 1)
				checkGradients(t, graph{[]*Param{x, w, b, p.A, p.B}, func(t *Tape) (*Var, float64) {
					h := &Head{&Linear{Weight: ParamWeight(w), Bias: b, Pair: p}, softcap}
					loss, _ := t.CrossEntropy(variable(t, x), h, targets, seed)
					return nil, loss * seed
				}})
			})
			// The gradient of a frozen head comes along with the loss, here over
			// several chunks of the vocabulary.
			t.Run(fmt.Sprintf("%s, frozen head, softcap %g", name, softcap), func(t *testing.T) {
				h := &Head{likelyTargets(rng, x, targets.IDs), softcap * 4}
				clear(x.Grad)
				checkGradients(t, graph{[]*Param{x}, func(t *Tape) (*Var, float64) {
					loss, _ := t.CrossEntropy(variable(t, x), h, targets, seed)
					return nil, loss * seed
				}})
			})
		}
	}
}

// likelyTargets is a frozen head of several chunks for which each target is so likely that
// its gradient is large, but not all of it.
func likelyTargets(rng *rand.Rand, x *Param, targets []int32) *Linear {
	const vocabulary = headChunkFloats/3 + 1
	n := x.Shape[0]
	w := randomParam(rng, "w", n, vocabulary)
	w.Grad = nil
	for i, target := range targets {
		if target != NotScored {
			row := w.Data[int(target)*n:][:n]
			copy(row, x.Data[i*n:][:n])
			scale(row, 8/vector.Dot(row, row))
		}
	}
	return &Linear{Weight: ParamWeight(w)}
}

func TestCrossEntropyIsWhatItsDefinitionSays(t *testing.T) {
	pool := product.NewPool(2)
	defer pool.Close()
	tape := NewTape(pool)
	rng := rand.New(rand.NewPCG(1, 2))
	const tokens, n, vocabulary = 4, 6, 150
	x, w := randomParam(rng, "x", n, tokens), randomParam(rng, "w", n, vocabulary)
	head := &Head{&Linear{Weight: ParamWeight(w)}, 0}
	for name, targets := range objectives() {
		t.Run(name, func(t *testing.T) {
			var wantSum, wantWeight float64
			for r, id := range targets.IDs {
				if id == NotScored {
					continue
				}
				logProbabilities := make([]float64, vocabulary)
				for c := range logProbabilities {
					logProbabilities[c] = float64(vector.Dot(x.Data[r*n:][:n], w.Data[c*n:][:n]))
				}
				var all float64
				for _, z := range logProbabilities {
					all += math.Exp(z)
				}
				var mean float64
				for c := range logProbabilities {
					logProbabilities[c] -= math.Log(all)
					mean -= logProbabilities[c] / vocabulary
				}
				smoothing := float64(targets.Smoothing)
				loss := -(1-smoothing)*logProbabilities[id] + smoothing*mean
				weight := float64(targets.weight(r))
				wantSum, wantWeight = wantSum+weight*loss, wantWeight+weight
			}
			tape.Reset(false)
			sum, weight := tape.CrossEntropy(Constant(x.Data, tokens, n), head, targets, 0)
			if math.Abs(sum-wantSum) > 1e-5*wantSum || weight != wantWeight {
				t.Errorf("sum %.7f of weight %g, want %.7f of %g", sum, weight, wantSum, wantWeight)
			}
		})
	}
}

func TestWeightsOfOneChangeNoBit(t *testing.T) {
	pool := product.NewPool(2)
	defer pool.Close()
	tape := NewTape(pool)
	rng := rand.New(rand.NewPCG(3, 4))
	x := randomParam(rng, "x", 5, 4)
	ids := []int32{3, NotScored, 149, 64}
	h := &Head{likelyTargets(rng, x, ids), 0}
	run := func(weights []float32) (float64, []float32) {
		clear(x.Grad)
		tape.Reset(true)
		sum, weight := tape.CrossEntropy(variable(tape, x), h, Targets{IDs: ids, Weights: weights}, 1.0/3)
		tape.Backward()
		return sum / weight, slices.Clone(x.Grad)
	}
	loss, grad := run(nil)
	same, sameGrad := run([]float32{1, 0, 1, 1})
	if loss != same || !slices.Equal(grad, sameGrad) {
		t.Errorf("loss %v and %v, gradients %v and %v", loss, same, grad, sameGrad)
	}
}
