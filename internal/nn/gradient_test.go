package nn

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"qtool/internal/kernel/product"
	"qtool/internal/kernel/vector"
)

// graph is a small computation with the parameters whose gradients are checked.
type graph struct {
	params []*Param
	// forward returns the output; the loss is its weighted sum, plus extra.
	forward func(t *Tape) (y *Var, extra float64)
}

func randomParam(rng *rand.Rand, name string, shape ...int) *Param {
	p := NewParam(name, shape...)
	for i := range p.Data {
		p.Data[i] = float32(rng.NormFloat64()) * 0.7
	}
	p.Train()
	return p
}

// variable makes a copy of p's data an activation whose gradient lands in p.Grad.
func variable(t *Tape, p *Param) *Var {
	return &Var{Rows: p.Shape[1], Cols: p.Shape[0], Data: slices.Clone(p.Data), needs: true, grad: p.Grad}
}

type blockFunc func(t *Tape, x *Var) *Var

func (f blockFunc) Forward(t *Tape, x *Var) *Var { return f(t, x) }
func (f blockFunc) BeginBackward(*Tape)          {}

// checkGradients compares every gradient with central differences.
func checkGradients(t *testing.T, g graph) {
	t.Helper()
	pool := product.NewPool(2)
	defer pool.Close()
	tape := NewTape(pool)
	coefficients := map[int]float32{}
	rng := rand.New(rand.NewPCG(9, 9))
	coefficient := func(i int) float32 {
		if _, ok := coefficients[i]; !ok {
			coefficients[i] = float32(rng.NormFloat64())
		}
		return coefficients[i]
	}
	loss := func() float64 {
		tape.Reset(true) // what is differentiated
		y, s := g.forward(tape)
		if y != nil {
			for i, v := range y.Data {
				s += float64(v) * float64(coefficient(i))
			}
		}
		return s
	}
	loss()
	tape.Reset(true)
	if y, _ := g.forward(tape); y != nil {
		y.grad = make([]float32, len(y.Data))
		for i := range y.grad {
			y.grad[i] = coefficient(i)
		}
	}
	tape.Backward()
	for _, p := range g.params {
		for i := range p.Data {
			const h = 1e-2
			was := p.Data[i]
			p.Data[i] = was + h
			up := loss()
			p.Data[i] = was - h
			down := loss()
			p.Data[i] = was
			want := (up - down) / (2 * h)
			if got := float64(p.Grad[i]); math.Abs(got-want) > 4e-3*(1+math.Abs(want)) {
				t.Fatalf("d loss / d %s[%d] = %g, central difference %g", p.Name, i, got, want)
			}
		}
	}
}

func pairOf(rng *rand.Rand, in, out, rank, experts int) *LoRAPair {
	return &LoRAPair{
		A: randomParam(rng, "lora_a", in, rank, experts), B: randomParam(rng, "lora_b", rank, out, experts),
		Rank: rank, Scale: 0.5,
	}
}

func TestGradientsOfOperatorsEqualCentralDifferences(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	const tokens, in, out = 5, 6, 7
	x := randomParam(rng, "x", in, tokens)
	cases := map[string]func() graph{
		"Linear": func() graph {
			w, b, p := randomParam(rng, "w", in, out), randomParam(rng, "bias", out), pairOf(rng, in, out, 2, 1)
			return graph{[]*Param{x, w, b, p.A, p.B}, func(t *Tape) (*Var, float64) {
				return t.Linear(variable(t, x), &Linear{Weight: ParamWeight(w), Bias: b, Pair: p}), 0
			}}
		},
		"ExpertLinears": func() graph {
			w, b, p := randomParam(rng, "w", in, out, 3), randomParam(rng, "bias", out, 3), pairOf(rng, in, out, 2, 3)
			return graph{[]*Param{x, w, b, p.A, p.B}, func(t *Tape) (*Var, float64) {
				return t.ExpertLinears(variable(t, x), []int32{0, 2, 2, 5}, &Linear{Weight: ParamWeight(w), Bias: b, Pair: p})[0], 0
			}}
		},
		"ExpertLinears, pairs of some": func() graph {
			w, p := randomParam(rng, "w", in, out, 4), pairOf(rng, in, out, 2, 2)
			p.Experts = []int32{1, 3}
			return graph{[]*Param{x, w, p.A, p.B}, func(t *Tape) (*Var, float64) {
				return t.ExpertLinears(variable(t, x), []int32{0, 1, 3, 4, 5}, &Linear{Weight: ParamWeight(w), Pair: p})[0], 0
			}}
		},
		"Add": func() graph {
			b := randomParam(rng, "b", in, tokens)
			return graph{[]*Param{x, b}, func(t *Tape) (*Var, float64) { return t.Add(variable(t, x), variable(t, b)), 0 }}
		},
		"Scale": func() graph {
			return graph{[]*Param{x}, func(t *Tape) (*Var, float64) { return t.Scale(variable(t, x), -1.7), 0 }}
		},
		"ScaleEach": func() graph {
			each := make([]float32, tokens)
			for i := range each {
				each[i] = float32(i) - 1.5
			}
			return graph{[]*Param{x}, func(t *Tape) (*Var, float64) { return t.ScaleEach(variable(t, x), each), 0 }}
		},
		"Softcap": func() graph {
			return graph{[]*Param{x}, func(t *Tape) (*Var, float64) { return t.Softcap(variable(t, x), 1.5), 0 }}
		},
		"Columns": func() graph {
			return graph{[]*Param{x}, func(t *Tape) (*Var, float64) { return t.Columns(variable(t, x), 2, 5), 0 }}
		},
		"SwiGLU": func() graph {
			u := randomParam(rng, "up", in, tokens)
			return graph{[]*Param{x, u}, func(t *Tape) (*Var, float64) { return t.Gated(variable(t, x), variable(t, u), SwiGLU), 0 }}
		},
		"ClampedSwiGLU": func() graph {
			g, u := randomParam(rng, "gate", in, tokens), randomParam(rng, "up", in, tokens)
			scale(g.Data, 8) // some beyond the bounds
			scale(u.Data, 8)
			return graph{[]*Param{g, u}, func(t *Tape) (*Var, float64) { return t.Gated(variable(t, g), variable(t, u), ClampedSwiGLU), 0 }}
		},
		"SigmoidGate": func() graph {
			z := randomParam(rng, "gate", 1, tokens)
			return graph{[]*Param{x, z}, func(t *Tape) (*Var, float64) { return t.SigmoidGate(variable(t, x), variable(t, z)), 0 }}
		},
		"HeadColumns": func() graph {
			return graph{[]*Param{x}, func(t *Tape) (*Var, float64) { return t.HeadColumns(variable(t, x), 2, 1, 3), 0 }}
		},
		"JoinHeads": func() graph {
			b := randomParam(rng, "b", 4, tokens)
			return graph{[]*Param{x, b}, func(t *Tape) (*Var, float64) { return t.JoinHeads(variable(t, x), variable(t, b), 2, 2), 0 }}
		},
		"JoinHeads, shared": func() graph {
			b := randomParam(rng, "b", 3, tokens)
			return graph{[]*Param{x, b}, func(t *Tape) (*Var, float64) { return t.JoinHeads(variable(t, x), variable(t, b), 2, 3), 0 }}
		},
		"GeGLU": func() graph {
			u := randomParam(rng, "up", in, tokens)
			return graph{[]*Param{x, u}, func(t *Tape) (*Var, float64) { return t.Gated(variable(t, x), variable(t, u), GeGLU), 0 }}
		},
		"RMSNorm": func() graph {
			w := randomParam(rng, "w", in)
			return graph{[]*Param{x, w}, func(t *Tape) (*Var, float64) { return t.RMSNorm(variable(t, x), w, 1e-5), 0 }}
		},
		"RMSNorm of heads": func() graph {
			w := randomParam(rng, "w", in/2)
			return graph{[]*Param{x, w}, func(t *Tape) (*Var, float64) { return t.RMSNorm(variable(t, x), w, 1e-5), 0 }}
		},
		"Embed": func() graph {
			w, a, b := randomParam(rng, "w", in, 9), randomParam(rng, "lora_a", 2, 9), randomParam(rng, "lora_b", 2, in)
			l := &Linear{Weight: ParamWeight(w), Pair: &LoRAPair{A: a, B: b, Rank: 2, Scale: 2}}
			return graph{[]*Param{w, a, b}, func(t *Tape) (*Var, float64) { return t.Embed([]int32{3, 8, 3, 0}, l), 0 }}
		},
	}
	for _, recompute := range []bool{false, true} {
		cases[fmt.Sprint("Block, recompute ", recompute)] = func() graph {
			w := randomParam(rng, "w", in, in)
			return graph{[]*Param{x, w}, func(t *Tape) (*Var, float64) {
				l := &Linear{Weight: ParamWeight(w)}
				block := blockFunc(func(t *Tape, x *Var) *Var { return t.Add(x, t.Gated(t.Linear(x, l), x, SwiGLU)) })
				return t.Block(t.Block(variable(t, x), block, recompute), block, recompute), 0
			}}
		}
	}
	for _, transposed := range []bool{false, true} {
		for _, heads := range []int{1, 3} {
			for _, shared := range []bool{false, true} {
				cases[fmt.Sprint("HeadLinear ", heads, transposed, shared)] = func() graph {
					w, n := randomParam(rng, "w", 4, 3, heads), 4
					if transposed {
						n = 3
					}
					if !shared {
						n *= heads
					}
					v := randomParam(rng, "x", n, tokens)
					return graph{[]*Param{v, w}, func(t *Tape) (*Var, float64) {
						return t.HeadLinear(variable(t, v), ParamWeight(w), transposed), 0
					}}
				}
			}
		}
	}
	for _, pairing := range []RopePairing{RopeNorm, RopeNeox} {
		cases[fmt.Sprint("Rope ", pairing)] = func() graph {
			q := randomParam(rng, "q", 2*6, tokens)
			r := NewRope(RopeOptions{Pairing: pairing, Dims: 4, Last: pairing == RopeNorm, Base: 100, FreqScale: 0.5, ExtFactor: 1, AttnFactor: 1.2,
				BetaFast: 32, BetaSlow: 1, OriginalContext: 8})
			r.Reserve(8)
			return graph{[]*Param{q}, func(t *Tape) (*Var, float64) {
				return t.Rope(variable(t, q), r, 6, []int32{0, 1, 2, 0, 7}), 0
			}}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(cases)) { // each draws the same numbers every time
		t.Run(name, func(t *testing.T) {
			clear(x.Grad)
			checkGradients(t, cases[name]())
		})
	}
}

func TestRecomputingGivesTheSameBitsInLessMemory(t *testing.T) {
	run := func(recompute bool) ([]float32, int64) {
		pool := product.NewPool(2)
		defer pool.Close()
		rng := rand.New(rand.NewPCG(5, 6))
		w := randomParam(rng, "w", 16, 16)
		x := randomParam(rng, "x", 16, 32)
		scale(w.Data, 0.2)
		l := &Linear{Weight: ParamWeight(w)}
		tape := NewTape(pool)
		tape.Reset(true)
		v := variable(tape, x)
		for range 6 {
			v = tape.Block(v, blockFunc(func(t *Tape, x *Var) *Var { return t.Add(x, t.Gated(t.Linear(x, l), t.Linear(x, l), SwiGLU)) }), recompute)
		}
		v.grad = make([]float32, len(v.Data))
		for i := range v.grad {
			v.grad[i] = 1e-3 * float32(i%7)
		}
		tape.Backward()
		return append(w.Grad, x.Grad...), tape.PeakBytes()
	}
	kept, much := run(false)
	again, less := run(true)
	for i := range kept {
		if kept[i] != again[i] {
			t.Fatalf("gradient %d differs: %g and %g", i, kept[i], again[i])
		}
	}
	if less >= much {
		t.Errorf("recomputing took %d bytes, keeping %d", less, much)
	}
}

func TestTheArenaHoldsLittleMoreThanItEverGaveOut(t *testing.T) {
	var a arena[float32]
	for round := range 12 {
		for range 4 {
			a.take((round + 1) << 20)
		}
		a.release(mark{})
		if a.wasteful() {
			a.compact()
		}
	}
	held := 0
	for _, s := range a.slabs {
		held += len(s)
	}
	if held > a.peak+a.peak/4 {
		t.Errorf("%d elements are held, at most %d were given out at once", held, a.peak)
	}
}

func TestGeluIsRoundedUnlessGradientsWillBeAskedFor(t *testing.T) {
	pool := product.NewPool(1)
	defer pool.Close()
	tape := NewTape(pool)
	gate, up := Constant([]float32{0.3, -1.2, 4}, 1, 3), Constant([]float32{1, 2, 3}, 1, 3)
	smooth, rounded := make([]float32, 3), make([]float32, 3)
	vector.GeGLU(smooth, gate.Data, up.Data)
	vector.RoundedGeGLU(rounded, gate.Data, up.Data)
	check := func(what string, want []float32) {
		t.Helper()
		if got := tape.Gated(gate, up, GeGLU).Data; !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	check("a new tape", rounded)
	tape.Reset(true)
	check("recording", smooth)
	tape.Scoped(func() { check("not recorded, between what is", smooth) }) // as in checkpointing
	tape.Reset(false)
	check("not recording", rounded)
}
