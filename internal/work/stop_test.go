package work

import (
	"context"
	"errors"
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
	unwound := 0
	p.OnUnwind(func() { unwound++ })
	ctx, cancel := context.WithCancel(t.Context())
	for name, f := range map[string]func(){
		"do":       func() { p.Run(3, func(int, int) { t.Error("began") }) },
		"part":     func() { p.Run(1, func(int, int) { t.Error("began") }) },
		"nothing":  func() { p.Run(0, func(int, int) {}) },
		"rehearse": func() { p.Rehearse(func() { p.Run(3, func(int, int) { t.Error("began") }) }) },
	} {
		unwound = 0
		ctx, cancel := context.WithCancel(ctx)
		err := p.Within(ctx, func() error {
			stop(p, cancel)
			f()
			return nil
		})
		if !errors.Is(err, context.Canceled) || unwound != 1 {
			t.Errorf("%s: %v, unwound %d times", name, err, unwound)
		}
		if p.Rehearsing() {
			t.Errorf("%s: still rehearsing", name)
		}
	}
	cancel()
	if err := p.Within(ctx, func() error { t.Error("began"); return nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
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
