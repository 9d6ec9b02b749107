package kernel

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// stop cancels and returns once the pool knows.
func stop(p *Pool, cancel func()) {
	cancel()
	for !p.limit.Load().over.Load() {
		time.Sleep(time.Microsecond)
	}
}

func TestWorkStopsBetweenPartsWhenItsContextEnds(t *testing.T) {
	for _, workers := range []int{1, 2, 5} {
		p := NewPool(workers)
		defer p.Close()
		ctx, cancel := context.WithCancel(t.Context())
		var done atomic.Int32
		err := p.Within(ctx, func() error {
			p.Run(1000, func(_, part int) {
				if done.Add(1) == 1 {
					stop(p, cancel)
				}
				for !p.limit.Load().over.Load() { // others wait for the first
					time.Sleep(time.Microsecond)
				}
			})
			t.Error("went on")
			return nil
		})
		if !errors.Is(err, context.Canceled) || int(done.Load()) > workers {
			t.Errorf("%d workers: %v after %d parts", workers, err, done.Load())
		}
		all := make([]int32, 1000)
		p.Run(len(all), func(_, part int) { all[part]++ })
		if slices.ContainsFunc(all, func(n int32) bool { return n != 1 }) {
			t.Errorf("%d workers: the pool is not what it was", workers)
		}
	}
}

func TestWorkWhoseContextHasEndedDoesNotBegin(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, f := range map[string]func(){
		"do":       func() { p.Run(3, func(int, int) { t.Error("began") }) },
		"part":     func() { p.Run(1, func(int, int) { t.Error("began") }) },
		"nothing":  func() { p.Run(0, func(int, int) {}) },
		"product":  func() { Forward(p, make([]float32, 4), make([]float32, 6), 2, Float32Matrix(make([]float32, 6), 2, 3)) },
		"vector":   func() { MatVec(p, make([]float32, 2), make([]float32, 3), Float32Matrix(make([]float32, 6), 2, 3)) },
		"rehearse": func() { p.Rehearse(func() { p.Run(3, func(int, int) { t.Error("began") }) }) },
		"left open": func() {
			b := p.BeginOne(1)
			b.Forward(make([]float32, 2), false, Term{b.Rows(make([]float32, 3), 3), []Matrix{Float32Matrix(make([]float32, 6), 2, 3)}})
			b.Run()
			b.End()
		},
	} {
		if err := p.Within(ctx, func() error { f(); return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		if p.Rehearsing() {
			t.Errorf("%s: still rehearsing", name)
		}
		Forward(p, make([]float32, 4), make([]float32, 6), 2, Float32Matrix(make([]float32, 6), 2, 3))
	}
}

func TestWhatIsNotStoppedPassesThrough(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	ctx, cancel := context.WithCancel(t.Context())
	failed := errors.New("failed")
	if err := p.Within(ctx, func() error { return failed }); err != failed {
		t.Error(err)
	}
	cancel()
	begun := func() error {
		t.Error("began although the time is over")
		return nil
	}
	if err := p.Within(ctx, begun); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	ran := false
	p.Run(1, func(int, int) { ran = true }) // outside, the context does not count
	if !ran {
		t.Error("did not run")
	}
	defer func() {
		if r := recover(); r != "mine" {
			t.Error(r)
		}
	}()
	_ = p.Within(t.Context(), func() error { panic("mine") })
}

func TestTheInnermostContextCounts(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	ctx, cancel := context.WithCancel(t.Context())
	saved := false
	err := p.Within(ctx, func() error {
		stop(p, cancel)
		err := p.Within(context.WithoutCancel(ctx), func() error {
			p.Run(2, func(int, int) {})
			saved = true
			return nil
		})
		if err != nil || !saved {
			t.Error(err)
		}
		p.Run(1, func(int, int) { t.Error("the outer context was forgotten") })
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestAPoolThatWasStoppedAnywhereGivesTheSameBits(t *testing.T) {
	const tokens, rows, cols = 40, 300, 1030
	rng := rand.New(rand.NewPCG(5, 6))
	x, v := random(rng, tokens*cols), random(rng, rows*cols)
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

func TestBoundWorkDoesNotAllocate(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	task := TaskFunc(func(int, int) {})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_ = p.Within(ctx, func() error {
		if n := testing.AllocsPerRun(100, func() { p.Do(8, task) }); n > 0 {
			t.Errorf("%g allocations", n)
		}
		return nil
	})
}
