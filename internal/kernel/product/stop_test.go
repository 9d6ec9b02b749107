package product

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"qtool/internal/kernel/kerneltest"
)

func TestAProductWhoseContextEndsLeavesThePoolFitForUse(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	w := Float32Matrix(make([]float32, 6), 2, 3)
	product := func() { Forward(p, make([]float32, 4), make([]float32, 6), 2, w) }
	for name, f := range map[string]func(){
		"product": product,
		"vector":  func() { MatVec(p, make([]float32, 2), make([]float32, 3), w) },
		"batch left open": func() {
			b := p.BeginOne(1)
			for {
				b.Forward(make([]float32, 2), false, Term{b.Rows(make([]float32, 3), 3), []Matrix{w}})
				b.Run()
			}
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		err := p.Within(ctx, func() error {
			cancel()
			for {
				f() // until the pool knows
			}
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		product()
	}
}

func TestAPoolThatWasStoppedAnywhereGivesTheSameBits(t *testing.T) {
	const tokens, rows, cols = 40, 300, 1030
	rng := rand.New(rand.NewPCG(5, 6))
	x, v := kerneltest.Random(rng, tokens*cols), kerneltest.Random(rng, rows*cols)
	w := encoded(v, rows, cols)
	pass := func(p *Pool) []float32 {
		y := make([]float32, tokens*rows)
		Forward(p, y, x, tokens, w)
		dw := make([]float32, rows*cols)
		AddOuter(p, dw, y, x, tokens, rows, cols)
		one := make([]float32, rows)
		MatVec(p, one, x[:cols], w)
		return slices.Concat(y, dw, one)
	}
	for _, workers := range []int{1, 3} {
		p := NewPool(workers)
		defer p.Close()
		begin := time.Now()
		want := pass(p)
		longest := time.Since(begin)
		for stops := 0; stops < 20; {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rng.Int64N(int64(longest))))
			if err := p.Within(ctx, func() error { pass(p); return nil }); err != nil {
				stops++
			} else { // it was faster than when it was timed
				longest = longest*3/4 + 1
			}
			cancel()
			if !slices.Equal(pass(p), want) {
				t.Fatalf("%d workers: other bits after a stop", workers)
			}
		}
	}
}
