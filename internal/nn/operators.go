package nn

import "reflect"

// An operator is one file: a method of [Tape] that computes, and a type of what it remembers
// for its gradient, an [op]. Nothing else has to know it: the tape keeps memory for it by its
// types, see [newOp], [perWorker] and [kept].

// op is one recorded step. backward adds to the gradients of its inputs, given
// that of its output.
type op interface{ backward(t *Tape) }

// newOp is a zeroed value that lives until the tape is reset. A loop that repeats its
// computation gets the same memory again.
func newOp[O any](t *Tape) *O {
	key := reflect.TypeFor[O]()
	p, ok := t.pools[key].(*objects[O])
	if !ok {
		p = &objects[O]{}
		t.pools[key] = p
	}
	return p.take()
}

// operatorPool is memory for the values of one type.
type operatorPool interface{ reset() }

// perWorker is one W for each worker of the pool, the same for the life of the tape. If *W is
// a [measured], it counts in what the tape tells of itself. It must not be called by tasks
// of the pool.
func perWorker[W any](t *Tape) []W {
	key := reflect.TypeFor[W]()
	w, ok := t.works[key].(*workers[W])
	if !ok {
		w = &workers[W]{make([]W, t.Pool.Workers())}
		t.works[key] = w
	}
	return w.all
}

// workers are the values of all workers of one type.
type workers[W any] struct{ all []W }

// measured is a value of a worker that says what it holds and has done.
type measured interface {
	bytes() int64             // of its own memory
	multiplications() float64 // that the pool does not count, so far
}

// bytes is the memory of worker 0.
func (w *workers[W]) bytes() int64 {
	if m, ok := any(&w.all[0]).(measured); ok {
		return m.bytes()
	}
	return 0
}

// multiplications are those of all workers.
func (w *workers[W]) multiplications() (n float64) {
	for i := range w.all {
		if m, ok := any(&w.all[i]).(measured); ok {
			n += m.multiplications()
		}
	}
	return n
}

// kept is one K, the same for the life of the tape: lists that a call leaves to the next.
func kept[K any](t *Tape) *K {
	key := reflect.TypeFor[K]()
	k, ok := t.kept[key].(*K)
	if !ok {
		k = new(K)
		t.kept[key] = k
	}
	return k
}
