package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
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
// goroutine works along as worker 0. Parts are handed out one by one, so the
// order in which they run is not defined: a part must write only what is its own.
type Pool struct {
	workers int
	start   chan struct{}
	mu      sync.Mutex // held by the Do in flight
	job     job

	// What a multiplication needs, kept so that none of it is allocated again.
	precision    Precision
	operation    sync.Mutex
	products     []product
	packed       []float32
	scratch      []scratch // one per worker
	packTask     TaskFunc
	multiplyTask TaskFunc
	vectorTask   TaskFunc
}

// job is what the Do in flight shares with the workers.
type job struct {
	task  Task
	parts int64
	next  atomic.Int64
	done  sync.WaitGroup
	fault atomic.Pointer[fault]
}

type fault struct{ value any }

func (j *job) work(worker int) {
	defer j.done.Done()
	defer func() {
		if r := recover(); r != nil {
			j.fault.CompareAndSwap(nil, &fault{r})
			j.next.Store(j.parts)
		}
	}()
	for {
		part := j.next.Add(1) - 1
		if part >= j.parts {
			return
		}
		j.task.Do(worker, int(part))
	}
}

// NewPool starts a pool of the given number of workers; 0 means GOMAXPROCS.
func NewPool(workers int) *Pool {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	p := &Pool{workers: workers, start: make(chan struct{}), scratch: make([]scratch, workers)}
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
			for range p.start {
				p.job.work(w)
			}
		}()
	}
	return p
}

// Workers is the number of workers; worker numbers run from 0 to Workers-1.
func (p *Pool) Workers() int { return p.workers }

// Run is Do with a function.
func (p *Pool) Run(parts int, f func(worker, part int)) { p.Do(parts, TaskFunc(f)) }

// Do does parts 0 to parts-1 of task and returns when all are done. A panic in
// one is raised again in the caller. task must not use the pool. Do allocates
// nothing.
func (p *Pool) Do(parts int, task Task) {
	if p.workers == 1 || parts <= 1 {
		for part := range parts {
			task.Do(0, part)
		}
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	j := &p.job
	j.task, j.parts = task, int64(parts)
	j.next.Store(0)
	j.fault.Store(nil)
	helpers := min(p.workers, parts) - 1
	j.done.Add(helpers + 1)
	for range helpers {
		p.start <- struct{}{}
	}
	j.work(0)
	j.done.Wait()
	j.task = nil
	if f := j.fault.Load(); f != nil {
		panic(f.value)
	}
}

// Close stops the workers. The pool must not be used afterwards.
func (p *Pool) Close() { close(p.start) }
