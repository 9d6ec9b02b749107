package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Pool is a fixed set of workers. One Run is in flight at a time; the caller's
// goroutine works along as worker 0. Tasks are handed out one by one, so the
// order in which they run is not defined: a task must write only what is its own.
type Pool struct {
	workers int
	start   chan *batch
	mu      sync.Mutex
	current batch // of the Run in flight

	// What a multiplication needs, kept so that none of it is allocated again.
	precision    Precision
	operation    sync.Mutex
	products     []product
	packed       []float32
	scratch      []scratch // one per worker
	packTask     func(worker, task int)
	multiplyTask func(worker, task int)
	vectorTask   func(worker, task int)
}

type batch struct {
	tasks int64
	next  atomic.Int64
	f     func(worker, task int)
	done  sync.WaitGroup
	fault atomic.Pointer[fault]
}

type fault struct{ value any }

func (b *batch) work(worker int) {
	defer b.done.Done()
	defer func() {
		if r := recover(); r != nil {
			b.fault.CompareAndSwap(nil, &fault{r})
			b.next.Store(b.tasks)
		}
	}()
	for {
		t := b.next.Add(1) - 1
		if t >= b.tasks {
			return
		}
		b.f(worker, int(t))
	}
}

// NewPool starts a pool of the given number of workers; 0 means GOMAXPROCS.
func NewPool(workers int) *Pool {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	p := &Pool{workers: workers, start: make(chan *batch), scratch: make([]scratch, workers)}
	p.packTask = func(worker, panel int) {
		q := p.find(panel, firstPanel)
		q.packPanel(&p.scratch[worker], p.packed, panel-q.firstPanel)
	}
	p.multiplyTask = func(worker, task int) {
		q := p.find(task, firstTask)
		q.run(&p.scratch[worker], p.packed, task-q.firstTask)
	}
	p.vectorTask = func(worker, task int) { p.products[0].multiplyVector(&p.scratch[worker], task) }
	for w := 1; w < workers; w++ {
		go func() {
			for b := range p.start {
				b.work(w)
			}
		}()
	}
	return p
}

// Workers is the number of workers; worker numbers run from 0 to Workers-1.
func (p *Pool) Workers() int { return p.workers }

// Run calls f(worker, task) for every task from 0 to tasks-1 and returns when
// all are done. A panic in f is raised again in the caller. f must not call Run.
func (p *Pool) Run(tasks int, f func(worker, task int)) {
	if tasks <= 0 {
		return
	}
	if p.workers == 1 || tasks == 1 {
		for t := range tasks {
			f(0, t)
		}
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	b := &p.current
	b.tasks, b.f = int64(tasks), f
	b.next.Store(0)
	b.fault.Store(nil)
	helpers := min(p.workers, tasks) - 1
	b.done.Add(helpers + 1)
	for range helpers {
		p.start <- b
	}
	b.work(0)
	b.done.Wait()
	b.f = nil
	if ft := b.fault.Load(); ft != nil {
		panic(ft.value)
	}
}

// Close stops the workers. The pool must not be used afterwards.
func (p *Pool) Close() { close(p.start) }
