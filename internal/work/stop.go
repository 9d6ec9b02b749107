package work

import (
	"context"
	"sync/atomic"
)

// Within runs f and returns its error. When ctx ends meanwhile, the Do of p that is in
// flight, or else the next one, unwinds f with a panic, which
// Within turns into the context's error. Parts that have begun are finished and the
// others left out, so what f computed is not to be used. The pool is fit for use
// afterwards; f puts right what else it changes in deferred calls, or the next user of it
// begins anew.
//
// f uses p in the goroutine of the caller. Of nested calls the innermost counts.
func (p *Pool) Within(ctx context.Context, f func() error) error {
	l := Until(ctx)
	defer l.Release()
	return p.Under(l, f)
}

// Under is Within, for many calls within the same context: it allocates nothing.
func (p *Pool) Under(l *Limit, f func() error) (err error) {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	outer := p.limit.Load()
	p.limit.Store(l)
	defer func() {
		p.limit.Store(outer)
		switch r := recover(); r {
		case nil:
		case any((*stopped)(l)):
			p.unwound()
			err = l.ctx.Err()
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

// OnUnwind has f called whenever a computation is unwound: it puts right what the
// computation left half done with the pool. It must not be called while p works.
func (p *Pool) OnUnwind(f func()) { p.unwound = f }

// Limit is the time that a pool may compute.
type Limit struct {
	ctx     context.Context
	over    atomic.Bool // never taken back
	release func() bool
}

// Until is the time until ctx ends. It must be released.
func Until(ctx context.Context) *Limit {
	l := &Limit{ctx: ctx}
	l.release = context.AfterFunc(ctx, func() { l.over.Store(true) })
	return l
}

// Release lets go of the context.
func (l *Limit) Release() { l.release() }

// stopped is the panic of a computation whose time is over.
type stopped Limit

// check unwinds the caller if the time is over.
func (l *Limit) check() {
	if l.over.Load() {
		panic((*stopped)(l))
	}
}
