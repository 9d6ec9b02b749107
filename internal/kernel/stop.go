package kernel

import (
	"context"
	"sync/atomic"
)

// Within runs f and returns its error. When ctx ends meanwhile, the Do, batch or
// product of p that is in flight, or else the next one, unwinds f with a panic, which
// Within turns into the context's error. Parts that have begun are finished and the
// others left out, so what f computed is not to be used. The pool is fit for use
// afterwards; f puts right what else it changes in deferred calls, or the next user of it
// begins anew.
//
// f uses p in the goroutine of the caller. Of nested calls the innermost counts.
func (p *Pool) Within(ctx context.Context, f func() error) (err error) {
	b, outer := new(bound), p.bound.Load()
	b.over.Store(ctx.Err() != nil)
	release := context.AfterFunc(ctx, func() { b.over.Store(true) })
	p.bound.Store(b)
	defer func() {
		p.bound.Store(outer)
		release()
		switch r := recover(); r {
		case nil:
		case any((*stopped)(b)):
			if p.batch.begun {
				p.batch.End()
			}
			err = ctx.Err()
		default:
			panic(r)
		}
	}()
	return f()
}

// RunWithin is Run within ctx.
func (p *Pool) RunWithin(ctx context.Context, parts int, f func(worker, part int)) error {
	return p.Within(ctx, func() error {
		p.Run(parts, f)
		return nil
	})
}

// bound is the time that a pool may compute.
type bound struct {
	over atomic.Bool // never taken back
}

// stopped is the panic of a computation whose time is over.
type stopped bound

// check unwinds the caller if the time is over.
func (b *bound) check() {
	if b.over.Load() {
		panic((*stopped)(b))
	}
}
