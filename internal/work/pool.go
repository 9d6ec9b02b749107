package work

import (
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"qtool/internal/panics"
)

// Task is work in parts that may run at the same time.
type Task interface {
	// Do does one part; worker numbers those who run at the same time.
	Do(worker, part int)
}

// TaskFunc makes a Task of a function.
type TaskFunc func(worker, part int)

// Do calls f.
func (f TaskFunc) Do(worker, part int) { f(worker, part) }

// Pool is a fixed set of workers. One Do is in flight at a time; the caller's
// goroutine works along as worker 0. Every worker begins with a share of the parts
// that follow each other, the same whenever there are as many, so that what it wrote
// it finds in its own caches; who is done takes parts from the others. So the order
// in which parts run is not defined: a part must write only what is its own.
type Pool struct {
	workers int
	mu      sync.Mutex // held by the Do in flight
	job     job
	_       Padding
	// call is the Do in flight: its number, how many helpers it has (workers 1 to
	// that), whether nothing is left to join for, and how many have joined and not
	// finished. A helper that the system does not let run is not waited for.
	call     atomic.Uint64
	closed   atomic.Bool
	_        Padding
	limit    atomic.Pointer[Limit] // never nil
	helpers  []sleeper             // helpers[w-1] is worker w
	finished sleeper               // the caller
	running  sync.WaitGroup        // the helpers' goroutines

	rehearsing bool
	most       int64  // bytes that rehearsals may take; 0 is no limit
	spent      int64  // that they took
	unwound    func() // see OnUnwind
}

// The fields of Pool.call, from the lowest bits up.
const (
	joinedMask  = 1<<16 - 1
	overBit     = 1 << 16
	helperShift = 17
	helperMask  = 1<<15 - 1
	numberShift = 32
)

// Padding keeps what one worker writes off the cache lines of another, and off those
// that are fetched along with them.
type Padding [128]byte

// job is what the Do in flight shares with the workers.
type job struct {
	task   Task
	shares []remainder // of each worker
	limit  *Limit
	fault  atomic.Pointer[panics.Panic]
}

// remainder is the parts of a worker's share that nobody has taken: the first in
// the low half, the one behind the last in the high half.
type remainder struct {
	atomic.Uint64
	_ Padding
}

func (r *remainder) set(from, to int) { r.Store(uint64(to)<<32 | uint64(from)) }

// take takes the first part, or the last one, unless none is left.
func (r *remainder) take(last bool) (part int, ok bool) {
	for {
		now := r.Load()
		from, to := uint32(now), uint32(now>>32)
		if from >= to {
			return 0, false
		}
		next, part := now+1, from
		if last {
			next, part = now-1<<32, to-1
		}
		if r.CompareAndSwap(now, next) {
			return int(part), true
		}
	}
}

// run does parts until none is left, or until the job's time is over.
func (j *job) run(worker int) {
	defer func() {
		if r := recover(); r != nil {
			j.fault.CompareAndSwap(nil, panics.Of(r))
			for i := range j.shares {
				j.shares[i].set(0, 0)
			}
		}
	}()
	for i := range j.shares {
		from := &j.shares[(worker+i)%len(j.shares)]
		for {
			part, ok := from.take(i > 0)
			if !ok {
				break
			}
			if j.limit.over.Load() {
				return
			}
			j.task.Do(worker, part)
		}
	}
}

// sleeper is one goroutine that waits for another to change something.
type sleeper struct {
	asleep atomic.Bool
	wake   chan struct{} // one token for each asleep that a waker took back
}

// spins is how often a sleeper looks before it lies down: some tens of
// microseconds, about as long as waking up takes.
const spins = 1 << 15

// await returns when done has reported true, once. Whoever makes it true calls
// rouse afterwards.
func (s *sleeper) await(done func() bool) {
	for {
		for range spins {
			if done() {
				return
			}
		}
		s.asleep.Store(true)
		ready := done()
		if !ready || !s.asleep.CompareAndSwap(true, false) {
			<-s.wake
		}
		if ready {
			return
		}
	}
}

func (s *sleeper) rouse() {
	if s.asleep.Load() && s.asleep.CompareAndSwap(true, false) {
		s.wake <- struct{}{}
	}
}

// NewPool starts a pool of the given number of workers; 0 means GOMAXPROCS.
func NewPool(workers int) *Pool {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	workers = min(workers, helperMask)
	p := &Pool{workers: workers, job: job{shares: make([]remainder, workers)}, helpers: make([]sleeper, workers-1), unwound: func() {}}
	p.finished.wake = make(chan struct{}, 1)
	p.limit.Store(new(Limit))
	for w := range p.helpers {
		p.helpers[w].wake = make(chan struct{}, 1)
		p.running.Go(func() { p.help(w + 1) })
	}
	return p
}

// help is the life of a worker.
func (p *Pool) help(worker int) {
	// Weights may lie in a file that others can cut.
	debug.SetPanicOnFault(true)
	me, seen := &p.helpers[worker-1], uint64(0)
	// A call that this worker takes no part in may pass unseen.
	called := func() bool {
		call := p.call.Load()
		if call>>numberShift == seen {
			return false
		}
		seen = call >> numberShift
		return int(call>>helperShift&helperMask) >= worker || p.closed.Load()
	}
	for {
		me.await(called)
		if p.closed.Load() {
			return
		}
		if !p.join(seen) {
			continue
		}
		p.job.run(worker)
		if p.call.Add(^uint64(0))&(overBit|joinedMask) == overBit {
			p.finished.rouse()
		}
	}
}

// join makes the Do of that number wait for the caller, unless it is over.
func (p *Pool) join(number uint64) bool {
	for {
		call := p.call.Load()
		if call>>numberShift != number || call&overBit != 0 {
			return false
		}
		if p.call.CompareAndSwap(call, call+1) {
			return true
		}
	}
}

// Workers is the number of workers; worker numbers run from 0 to Workers-1.
func (p *Pool) Workers() int { return p.workers }

// Run is Do with a function.
func (p *Pool) Run(parts int, f func(worker, part int)) { p.Do(parts, TaskFunc(f)) }

// Do does parts 0 to parts-1 of task and returns when all are done. A panic in
// one is raised again in the caller, as a [panics.Panic]. task must not use the pool. Do allocates
// nothing. [Pool.Within] ends it early.
func (p *Pool) Do(parts int, task Task) { p.DoFrom(parts, nil, task) }

// DoFrom is Do where worker w begins with parts starts[w] to starts[w+1]-1; without
// starts, with as many as the others.
func (p *Pool) DoFrom(parts int, starts []int, task Task) {
	within := p.limit.Load()
	within.check()
	if p.rehearsing {
		p.rehearse(parts, task)
		return
	}
	if p.workers == 1 || parts <= 1 {
		for part := range parts {
			within.check()
			task.Do(0, part)
		}
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	j := &p.job
	j.task, j.limit = task, within
	for w := range j.shares {
		if starts != nil {
			j.shares[w].set(starts[w], starts[w+1])
		} else {
			j.shares[w].set(ShareOfSome(w, parts, min(p.workers, parts)))
		}
	}
	j.fault.Store(nil)
	p.announce(min(p.workers, parts) - 1)
	j.run(0)
	p.call.Or(overBit)
	p.finished.await(p.idle)
	j.task = nil
	if f := j.fault.Load(); f != nil {
		panic(f)
	}
	within.check()
}

func (p *Pool) idle() bool { return p.call.Load()&joinedMask == 0 }

// announce begins the next call.
func (p *Pool) announce(helpers int) {
	p.call.Store((p.call.Load()>>numberShift+1)<<numberShift | uint64(helpers)<<helperShift)
	for w := range helpers {
		p.helpers[w].rouse()
	}
}

// Close stops the workers and waits until they are gone, so that nothing holds the pool's
// memory. The pool must not be used afterwards.
func (p *Pool) Close() {
	p.closed.Store(true)
	p.announce(len(p.helpers))
	p.running.Wait()
}

// Share is where part i begins and ends if m things are cut into n parts.
func Share(i, m, n int) (from, to int) { return i * m / n, (i + 1) * m / n }

// ShareOfSome is Share for any i, where those from n on get nothing.
func ShareOfSome(i, m, n int) (from, to int) {
	if i >= n {
		return m, m
	}
	return Share(i, m, n)
}
